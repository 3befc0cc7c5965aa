# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checked configuration of a SmolVLA checkpoint, and its prompt.

`config.json` names the vision-language model that the network started from; that model's sizes are
in its own `config.json`. Keys missing there have the defaults of transformers, which wrote that
file.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, read_json
from model_tools.files.lerobot.checkpoint import Config
from model_tools.make.act.checkpoint_config import (
    LARGEST_STEPS,
    CheckpointConfig,
    common_fields,
    count,
    flag,
)
from model_tools.make.act.choices import PATCH_POSITIONS
from model_tools.make.act.llama import LlamaSizes
from model_tools.make.act.unet_graphs import NOISY, TIME
from policy_core.bundle.chunk_contract import Denoising, StepTime

LANGUAGE_MODEL = "LanguageModel"
"""Name of the graph that runs once per chunk."""
_EMPTY = "observation.images.empty_camera_"
_WIDEST = 8192
"""Maximum width of the expert and thus of the time embedding, which a contract limits."""
_KEYS = """
    chunk_size max_state_dim max_action_dim resize_imgs_with_padding empty_cameras
    adapt_to_pi_aloha use_delta_joint_actions_aloha tokenizer_max_length num_steps use_cache
    freeze_vision_encoder train_expert_only train_state_proj optimizer_betas optimizer_eps
    optimizer_grad_clip_norm scheduler_warmup_steps scheduler_decay_steps scheduler_decay_lr
    vlm_model_name load_vlm_weights add_image_special_tokens attention_mode prefix_length
    pad_language_to num_expert_layers num_vlm_layers self_attn_every_n_layers
    expert_width_multiplier min_period max_period rtc_config compile_model compile_mode
"""
"""Keys that LeRobot saves for this policy only."""
_ADAPTER, _TOKENIZER, _CONFIG = "adapter_config.json", "tokenizer.json", "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Options that state what the checkpoint of a policy with a language model does not.

    Attributes:
        prompt: The task in words, as in the training dataset.
        vlm: Folder with `config.json` and `tokenizer.json` of the vision-language model.
        patch_positions: One of `choices.PATCH_POSITIONS`.
    """

    prompt: str | None = None
    vlm: Path | None = None
    patch_positions: str | None = None


NO_LANGUAGE = Language()


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSizes:
    """Sizes of the vision transformer."""

    width: int
    layers: int
    heads: int
    feedforward: int
    patch: int
    """Size of a patch in pixels per side."""
    side: int
    """Number of learned positions per row or column of patches."""
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmolvlaConfig(CheckpointConfig):
    """Hyperparameters of a SmolVLA network."""

    denoising: Denoising
    prompt: str
    tokens: tuple[int, ...]
    """Tokens of the prompt."""
    patch_positions: str
    vision: VisionSizes
    text: LlamaSizes
    words: int
    """Size of the language model's vocabulary."""
    expert: LlamaSizes
    shuffle: int
    """Number of patches per side that are merged into one token."""
    canvas: tuple[int, int] | None
    """Height and width to which images are resized; None keeps their size."""
    cross_layers: frozenset[int]
    """Expert layers that attend only to the prefix; the other layers also attend to the actions."""
    state_columns: int
    """Number of columns of the network's state input."""

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of an image at the vision transformer's input."""
        return self.canvas or (height, width)

    def image_tokens(self, height: int, width: int) -> int:
        rows, columns = self.canvas_size(height, width)
        side = self.vision.patch * self.shuffle
        return (rows // side) * (columns // side)


def read_smolvla_config(config: Config, language: Language) -> SmolvlaConfig:
    """Return the checked configuration of a SmolVLA policy, with the prompt's tokens.

    Also reads the vision-language model's sizes and tokenizer from its files.
    """
    folder = config.file.parent
    if (folder / _ADAPTER).is_file():
        raise ToolError(
            f"{folder / _ADAPTER}: expected the weights of a complete policy, found an adapter "
            "(LoRA); merge it with peft's merge_and_unload and save the policy again"
        )
    root, features = config.root, _seen(config)
    _require_usual(root, features)
    vlm_folder = _vlm_folder(folder, root["vlm_model_name"].text(), language.vlm)
    # Messages name the file with its folder, since the checkpoint has a file of the same name.
    vlm = dataclasses.replace(read_json(vlm_folder / _CONFIG), file=str(vlm_folder / _CONFIG))
    if vlm["model_type"].text() != "smolvlm":
        raise vlm["model_type"].wrong("smolvlm (SmolVLA's vision-language model)")
    text = _text_sizes(root, vlm)
    expert, words = _expert_sizes(root, text), count(vlm["text_config"]["vocab_size"])
    checked = SmolvlaConfig(
        **features,
        chunk_size=count(root["chunk_size"], LARGEST_STEPS),
        n_action_steps=count(root["n_action_steps"]),
        denoising=_denoising(root, expert),
        prompt=_prompt(language),
        tokens=_tokens(root, language, vlm_folder, words),
        patch_positions=_patch_positions(root, language),
        vision=_vision_sizes(vlm),
        text=text,
        words=words,
        expert=expert,
        shuffle=_number(vlm, "scale_factor", 2),
        canvas=_canvas(root),
        cross_layers=_cross_layers(root, text.layers),
        state_columns=count(root["max_state_dim"]),
    )
    _require_fit(root, checked)
    return checked


def _seen(config: Config) -> dict[str, Any]:
    """Return the features that the network uses; empty cameras are masked out."""
    features = common_fields(config, _KEYS)
    if features["environment"] is not None:
        features["ignored"] = (*features["ignored"], features["environment"])
        features["environment"] = None
    cameras, empty = list[Any](), list[Any]()
    for camera in features["cameras"]:
        (empty if camera.feature.name.startswith(_EMPTY) else cameras).append(camera)
    features["cameras"] = tuple(cameras)
    features["ignored"] = (*features["ignored"], *(camera.feature for camera in empty))
    return features


def _require_usual(root: Node, features: dict[str, Any]) -> None:
    for name in (
        "adapt_to_pi_aloha",
        "use_delta_joint_actions_aloha",
        "add_image_special_tokens",
    ):
        if flag(root, name):
            raise root[name].wrong("false (no other value can be exported)")
    if flag(root, "use_peft"):
        raise root["use_peft"].wrong("false (merge the adapter with peft's merge_and_unload)")
    if features["state"] is None:
        raise root["input_features"].wrong("observation.state (the network needs it)")
    if not features["cameras"]:
        raise root["input_features"].wrong("a camera that is not empty")
    if root["n_obs_steps"].whole() != 1:
        raise root["n_obs_steps"].wrong("1 (SmolVLA uses one observation)")
    if root["n_action_steps"].whole() > root["chunk_size"].whole():
        raise root["n_action_steps"].wrong(f"at most chunk_size ({root['chunk_size'].value})")


def _require_fit(root: Node, config: SmolvlaConfig) -> None:
    """Check sizes against each other where no weight's shape would reveal a mismatch."""
    assert config.state is not None
    for name, size in (
        ("max_state_dim", config.state.shape[0]),
        ("max_action_dim", config.action.shape[0]),
    ):
        if root[name].whole() < size:
            raise root[name].wrong(f"at least the {size} values of the feature")
    side = config.vision.patch * config.shuffle
    for height, width in config.sizes:
        rows, columns = config.canvas_size(height, width)
        if rows != columns or rows % side or rows // config.vision.patch > config.vision.side:
            raise ToolError(
                f"{root.file}: resize_imgs_with_padding: expected square images whose side is a "
                f"multiple of {side} pixels, at most {config.vision.side * config.vision.patch}, "
                f"found {columns} x {rows}"
            )
        if config.canvas is not None and min(height, width) * rows < max(height, width):
            raise ToolError(
                f"{root.file}: input_features: expected images that keep at least one pixel when "
                f"they are scaled to {columns} x {rows}, found {width} x {height}"
            )


def _vlm_folder(checkpoint: Path, name: str, given: Path | None) -> Path:
    """Return the vision-language model's folder: --vlm, or the folder that the name points to."""
    places = [given] if given else [checkpoint / name, Path(name)]
    for place in places:
        if (place / _CONFIG).is_file():
            return place
    raise ToolError(
        f"--vlm: expected the folder of {name} with {_CONFIG} and {_TOKENIZER}, found none in "
        f"{places[0]}; this command downloads nothing: run `hf download {shlex.quote(name)} "
        f"{_CONFIG} {_TOKENIZER} --local-dir vlm`, then pass --vlm vlm"
    )


def _prompt(language: Language) -> str:
    if not (language.prompt or "").strip():
        raise ToolError(
            "--prompt: expected the task in the words of the training dataset, found none; the "
            "exported graphs contain the prompt, so each task needs its own export"
        )
    assert language.prompt is not None
    return language.prompt


def _tokens(root: Node, language: Language, vlm: Path, words: int) -> tuple[int, ...]:
    """Return the tokens of the prompt, which ends with a line break as in training."""
    # Imported here, since only an export of SmolVLA needs it.
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ToolError(
            "tokenizers: expected this package (to turn --prompt into tokens), found no "
            "such package; run "
            "`pip install tokenizers` in the environment of model_tools"
        ) from error
    file, prompt = vlm / _TOKENIZER, _prompt(language)
    if not file.is_file():
        raise ToolError(f"{file}: expected the tokenizer of the vision-language model, found none")
    try:
        tokenizer = Tokenizer.from_file(str(file))
        # LeRobot pads and truncates. Padding is masked out, and a truncated prompt is a different
        # one.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokens = tuple(tokenizer.encode(prompt if prompt.endswith("\n") else f"{prompt}\n").ids)
    except Exception as error:  # the library raises bare Exception
        raise ToolError(f"{file}: expected a tokenizer for --prompt, found: {error}") from error
    most = count(root["tokenizer_max_length"])
    if not 0 < len(tokens) <= most:
        raise ToolError(
            f"--prompt: expected at most {most} tokens (tokenizer_max_length), found "
            f"{len(tokens)}; LeRobot truncates longer prompts: use the part that the policy saw "
            "in training"
        )
    if max(tokens) >= words:
        raise ToolError(
            f"{file}: expected tokens below {words} (vocab_size of {_CONFIG}), found "
            f"{max(tokens)}; the two files belong to different models"
        )
    return tokens


def _patch_positions(root: Node, language: Language) -> str:
    """Return the numbering of patch positions; LeRobot 0.6 uses transformers 5."""
    if language.patch_positions is not None:
        return language.patch_positions
    if "pretrained_revision" in root.mapping():
        return "counted"
    raise ToolError(
        f"--patch-positions: expected {' or '.join(PATCH_POSITIONS)} ({root.file} does not "
        "show which version of transformers the policy was trained with), found none; "
        "transformers 4 in float32 uses repeated (0, 0, 1, 2, ...), transformers 5 uses counted "
        "(0, 1, 2, 3, ...)"
    )


def _number(node: Node, name: str, default: int) -> int:
    found = node.get(name)
    return default if found is None else count(found)


def _eps(node: Node, name: str) -> float:
    found = node.get(name)
    return 1e-6 if found is None else found.positive()


def _require(node: Node, name: str, wanted: Any) -> None:
    """Require a key to have its default, the only value that can be exported."""
    found = node.get(name)
    if found is not None and found.value != wanted:
        raise found.wrong(str(wanted).lower())


def _vision_sizes(vlm: Node) -> VisionSizes:
    node = vlm["vision_config"]
    _require(node, "hidden_act", "gelu_pytorch_tanh")
    _require(node, "num_channels", 3)
    width, heads = _number(node, "hidden_size", 1152), _number(node, "num_attention_heads", 16)
    patch = _number(node, "patch_size", 32)
    return VisionSizes(
        width=width,
        layers=_number(node, "num_hidden_layers", 12),
        heads=heads,
        feedforward=_number(node, "intermediate_size", 3072),
        patch=patch,
        side=_number(node, "image_size", 224) // patch,
        eps=_eps(node, "layer_norm_eps"),
    )


def _text_sizes(root: Node, vlm: Node) -> LlamaSizes:
    node = vlm["text_config"]
    _require(node, "hidden_act", "silu")
    _require(node, "attention_bias", False)
    _require(node, "mlp_bias", False)
    width, heads = count(node["hidden_size"]), count(node["num_attention_heads"])
    layers, whole = root["num_vlm_layers"].whole(), count(node["num_hidden_layers"])
    return LlamaSizes(
        width=width,
        layers=layers if layers > 0 else whole,
        heads=heads,
        groups=_number(node, "num_key_value_heads", heads),
        head=_number(node, "head_dim", width // heads),
        feedforward=count(node["intermediate_size"]),
        eps=_eps(node, "rms_norm_eps"),
    )


def _expert_sizes(root: Node, text: LlamaSizes) -> LlamaSizes:
    layers = root["num_expert_layers"].whole()
    if layers > 0 and layers != text.layers:
        raise root["num_expert_layers"].wrong(
            f"num_vlm_layers ({text.layers}; no other number can be exported)"
        )
    multiplier = root["expert_width_multiplier"]
    width = math.floor(min(text.width * multiplier.positive(), _WIDEST + 1))
    if not 4 <= width <= _WIDEST or width % 2:
        raise multiplier.wrong(
            f"a factor that turns {text.width} into an even width of at most {_WIDEST}"
        )
    return LlamaSizes(
        width=width,
        layers=text.layers,
        heads=text.heads,
        groups=text.groups,
        head=text.head,
        # Two thirds of four times the width, rounded up to a multiple of 256.
        feedforward=256 * math.ceil(int(4 * int(2 * width / 3)) / 256),
        eps=text.eps,
    )


def _cross_layers(root: Node, layers: int) -> frozenset[int]:
    mode, every = root["attention_mode"], root["self_attn_every_n_layers"].whole()
    if mode.text() not in ("cross_attn", "self_attn"):
        raise mode.wrong("cross_attn or self_attn")
    if mode.text() == "self_attn":
        return frozenset()
    return frozenset(layer for layer in range(layers) if every <= 0 or layer % every)


def _canvas(root: Node) -> tuple[int, int] | None:
    found = root.get("resize_imgs_with_padding")
    if found is None:
        return None
    sides = [count(side) for side in found.elements()]
    if len(sides) != 2:
        raise found.wrong("width and height")
    return sides[1], sides[0]


def _denoising(root: Node, expert: LlamaSizes) -> Denoising:
    first, last = (2 * math.pi / root[f"{end}_period"].positive() for end in ("min", "max"))
    return Denoising(
        method="flow",
        steps=count(root["num_steps"], LARGEST_STEPS),
        tensor=NOISY,
        time=StepTime(tensor=TIME, size=expert.width, first_frequency=first, last_frequency=last),
        condition=LANGUAGE_MODEL,
        columns=count(root["max_action_dim"]),
    )
