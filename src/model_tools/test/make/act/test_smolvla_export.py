# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""SmolVLA policies from their checkpoints: what is exported, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from model_tools.errors import ToolError
from model_tools.files.arrays import read_tensors
from model_tools.files.observation_sources import DatasetSource
from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.builder import PREFIX, Weights
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, Language, read_smolvla_config
from model_tools.make.act.smolvla_graphs import KEYS, write_smolvla_graphs
from model_tools.make.act.unet_graphs import ENCODER, STEP
from model_tools.prove.calibration.graph_samples import collect_samples
from model_tools.ship.model_repository import write_repository
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.chunks import NORMALISED_CHUNK, PATH, play_chunks
from policy_inference.comparison.rows import Rows
from policy_inference.core.chunks.normalise import VectorNormaliser
from policy_inference.errors import BundleError
from policy_inference.interfaces import F32, F64
from testkit.wording import refusal

from ...files.lerobot.small_dataset import HEIGHT, JOINTS, WIDTH, write_dataset
from . import words
from .plain_smolvla import PlainSmolvla
from .small_checkpoints import config_of, random_statistics, write_checkpoint

PROMPT, OTHER = "reach the cube", "reach the square"
EMPTY = "observation.images.empty_camera_0"
LANGUAGE = Language(prompt=PROMPT, patch_positions="counted")
VLM: dict[str, Any] = {
    "model_type": "smolvlm",
    "scale_factor": 2,
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "rms_norm_eps": 1e-5,
        "vocab_size": 12,
    },
    "vision_config": {
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
    },
}


@pytest.fixture(autouse=True)
def tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Need no package that only makes tokens."""
    monkeypatch.setitem(sys.modules, "tokenizers", words)


def smolvla_config(**changed: Any) -> dict[str, Any]:
    """Return the `config.json` of a small policy."""
    return {
        **config_of(cameras={"front": (12, 16), "wrist": (12, 16)}, type="smolvla"),
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "max_state_dim": 7,
        "max_action_dim": 8,
        "resize_imgs_with_padding": [16, 16],
        "empty_cameras": 0,
        "adapt_to_pi_aloha": False,
        "use_delta_joint_actions_aloha": False,
        "tokenizer_max_length": 6,
        "num_steps": 5,
        "vlm_model_name": "vlm",
        "add_image_special_tokens": False,
        "attention_mode": "cross_attn",
        "prefix_length": -1,
        "num_expert_layers": -1,
        "num_vlm_layers": 3,
        "self_attn_every_n_layers": 2,
        "expert_width_multiplier": 0.75,
        "min_period": 0.004,
        "max_period": 4.0,
        **changed,
    }


class DrawnWeights(Weights):
    """Weights that are drawn as they are asked for, and kept for a file."""

    def __init__(self) -> None:
        super().__init__(Path("drawn"), {}, PREFIX)
        self.drawn = dict[str, F32]()
        self._random = np.random.default_rng(4)

    def take(self, name: str, *shape: int) -> F32:
        key = f"{PREFIX}{name}"
        if key not in self.drawn:
            size = float(np.prod(shape[1:])) if len(shape) > 1 else 4.0
            values = self._random.normal(0.0, 1.5 * size**-0.5, shape)
            self.drawn[key] = values.astype(np.float32)
        return self.drawn[key]


def write_vlm(folder: Path, **changed: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**VLM, **changed}))
    words.write_words(folder / "tokenizer.json", ("reach", "the", "cube", "square"))


def checkpoint_of(folder: Path, **changed: Any) -> Path:
    """Write a checkpoint with the weights that its configuration asks for, and its model."""
    config = smolvla_config(**changed)
    write_vlm(folder / "vlm")
    (folder / "config.json").write_text(json.dumps(config))
    weights = DrawnWeights()
    write_smolvla_graphs(read_smolvla_config(folder, LANGUAGE), weights, opset=17)
    made = write_checkpoint(
        folder, config, tensors=weights.drawn, statistics=random_statistics(config)
    )
    file = folder / "policy_preprocessor.json"
    steps = json.loads(file.read_text())
    steps["steps"][1:1] = [
        {"registry_name": "smolvla_new_line_processor", "config": {}},
        {"registry_name": "tokenizer_processor", "config": {"max_length": 6}},
    ]
    file.write_text(json.dumps(steps))
    return made


def request(checkpoint: Path, **changed: Any) -> ActRequest:
    return ActRequest(
        **{
            "checkpoint": checkpoint,
            "output": checkpoint.parent / "bundle",
            "robot": "so101",
            "units": "degrees",
            "rate_hz": 30.0,
            "name": "reach",
            "language": LANGUAGE,
            **changed,
        }
    )


def exported(checkpoint: Path, **changed: Any) -> ChunkBundle:
    asked = request(checkpoint, **changed)
    export_checkpoint(asked)
    return load_bundle(asked.output, kind=ChunkBundle)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return checkpoint_of(tmp_path / "c")


def played(bundle: ChunkBundle, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bundle's files answer on the observations of rows."""
    given = {name: array for name, array in rows.items() if name != "chunk"}
    with open_models(bundle.models, ["onnx"]) as models:
        return dict(
            play_chunks(bundle.contract, models, Rows(source="golden", inputs=given, outputs={}))
        )


@pytest.mark.parametrize("opset", [11, 17, 19])
@pytest.mark.parametrize(
    "changed",
    [{}, {"attention_mode": "self_attn"}, {"self_attn_every_n_layers": 0, "num_vlm_layers": 2}],
)
def test_a_bundle_answers_its_golden_rows(
    tmp_path: Path, changed: dict[str, Any], opset: int
) -> None:
    bundle = exported(checkpoint_of(tmp_path / "c", **changed), opset=opset)
    golden: Any = bundle.golden()

    found = played(bundle, golden)

    np.testing.assert_allclose(found["chunk"], golden["chunk"], rtol=0.0, atol=1e-3)
    assert np.abs(np.diff(found[NORMALISED_CHUNK], axis=0)).max() > 0.01
    assert found[PATH].shape[2:] == (7, 8)
    np.testing.assert_array_equal(found[PATH][:, -1, :, :6], found[NORMALISED_CHUNK])


@pytest.mark.parametrize(
    "changed", [{}, {"attention_mode": "self_attn"}, {"self_attn_every_n_layers": 3}]
)
def test_a_chunk_is_that_of_the_network_in_plain_numpy(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """With padding and masks, which the graphs leave out."""
    inputs = smolvla_config()["input_features"]
    for name in ("front", "wrist"):
        inputs[f"observation.images.{name}"]["shape"] = [3, 16, 16]
    folder = checkpoint_of(tmp_path / "c", input_features=inputs, **changed)
    bundle = exported(folder)
    golden: Any = bundle.golden()
    contract = bundle.contract
    assert contract.state is not None
    plain = PlainSmolvla(
        read_tensors(folder / "model.safetensors"),
        json.loads((folder / "config.json").read_text()),
        VLM,
    )
    images = [golden[f"cameras.{name}"][0].transpose(2, 0, 1) / 255.0 for name in contract.cameras]
    state = VectorNormaliser(contract.state.normalisation, 6).apply(
        golden["state"][0].astype(np.float64)
    )
    tokens = list(read_smolvla_config(folder, LANGUAGE).tokens)
    assert len(tokens) < plain.config["tokenizer_max_length"]

    actions = plain.chunk(images, tokens, state, golden["noise"][0, 0].astype(np.float64))

    found = played(bundle, golden)
    np.testing.assert_allclose(found[PATH][0, -1], actions, rtol=0.0, atol=2e-5)


def test_opsets_are_the_same_function(checkpoint: Path) -> None:
    old, new = (
        exported(checkpoint, opset=opset, output=checkpoint.parent / f"b{opset}")
        for opset in (11, 19)
    )
    golden = new.golden()
    np.testing.assert_allclose(
        played(old, golden)[NORMALISED_CHUNK], played(new, golden)[NORMALISED_CHUNK], atol=1e-5
    )


def test_the_contract_states_what_checkpoint_and_prompt_say(checkpoint: Path) -> None:
    contract = exported(checkpoint).contract
    denoising = contract.denoising
    assert denoising is not None
    assert (denoising.method, denoising.steps, denoising.columns) == ("flow", 5, 8)
    assert (contract.policy_graph, contract.observing_graph) == (STEP, LANGUAGE_MODEL)
    assert list(contract.graphs) == [ENCODER, LANGUAGE_MODEL, STEP]
    assert contract.prompt == PROMPT
    assert "counted" in contract.description
    np.testing.assert_allclose(denoising.time.first_frequency, 2 * np.pi / 0.004)
    np.testing.assert_allclose(denoising.time.last_frequency, 2 * np.pi / 4.0)
    # Two images of 2 x 2 tokens, four of the prompt with its line break, and the state.
    assert contract.graphs[LANGUAGE_MODEL].outputs[KEYS].shape == (1, 3 * 2, 2 * 4 + 4 + 1, 4)


def test_camera_order_prompt_and_state_change_the_chunk(checkpoint: Path) -> None:
    bundle = exported(checkpoint)
    golden: Any = bundle.golden()
    chunk = played(bundle, golden)[NORMALISED_CHUNK]
    swapped = {
        **golden,
        "cameras.front": golden["cameras.wrist"],
        "cameras.wrist": golden["cameras.front"],
    }
    assert np.abs(played(bundle, swapped)[NORMALISED_CHUNK] - chunk).max() > 1e-3
    moved = {**golden, "state": golden["state"] + np.float32(10.0)}
    assert np.abs(played(bundle, moved)[NORMALISED_CHUNK] - chunk).max() > 1e-3
    told = Language(prompt=OTHER, patch_positions="counted")
    other = exported(checkpoint, language=told, output=checkpoint.parent / "other")
    assert np.abs(played(other, golden)[NORMALISED_CHUNK] - chunk).max() > 1e-3


def test_a_prompt_with_its_line_break_is_the_same(checkpoint: Path) -> None:
    one = exported(checkpoint)
    told = Language(prompt=f"{PROMPT}\n", patch_positions="counted")
    other = exported(checkpoint, language=told, output=checkpoint.parent / "other")
    np.testing.assert_array_equal(one.golden()["chunk"], other.golden()["chunk"])


def test_images_are_resized_and_lie_at_the_bottom_right(tmp_path: Path) -> None:
    inputs = smolvla_config()["input_features"]
    del inputs["observation.images.wrist"]
    inputs["observation.images.front"]["shape"] = [3, 8, 12]
    bundle = exported(checkpoint_of(tmp_path / "c", input_features=inputs))
    model = onnx.load(str(bundle.path / ENCODER / f"{ENCODER}.onnx"))
    matrices = {
        tuple(each.dims): onnx.numpy_helper.to_array(each) for each in model.graph.initializer
    }
    image = np.random.default_rng(0).uniform(0.0, 1.0, (8, 12))

    found = matrices[16, 8] @ image @ matrices[12, 16]

    # 12 x 8 pixels become 16 x 10, below six rows that are empty.
    assert not found[:6].any()
    np.testing.assert_allclose(found[6:], interpolated(image, 10, 16), atol=1e-6)


def interpolated(image: F64, height: int, width: int) -> F64:
    """Return an image in another size, each pixel between its four nearest."""
    found = np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        places = [
            max((at + 0.5) * old / new - 0.5, 0.0)
            for at, old, new in ((row, image.shape[0], height), (column, image.shape[1], width))
        ]
        low = [int(place) for place in places]
        high = [min(one + 1, size - 1) for one, size in zip(low, image.shape, strict=True)]
        down, across = (place - one for place, one in zip(places, low, strict=True))
        above = image[low[0], low[1]] * (1 - across) + image[low[0], high[1]] * across
        below = image[high[0], low[1]] * (1 - across) + image[high[0], high[1]] * across
        found[row, column] = above * (1 - down) + below * down
    return found


def test_positions_of_patches_are_as_chosen(checkpoint: Path) -> None:
    repeated = Language(prompt=PROMPT, patch_positions="repeated")
    one = exported(checkpoint)
    other = exported(checkpoint, language=repeated, output=checkpoint.parent / "other")
    golden = one.golden()
    chunks = [played(bundle, golden)[NORMALISED_CHUNK] for bundle in (one, other)]
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-3
    assert "repeated" in other.contract.description


def test_a_checkpoint_of_lerobot_06_says_its_patch_positions(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "c", pretrained_revision=None)
    assert "counted" in exported(checkpoint, language=Language(prompt=PROMPT)).contract.description


def test_empty_cameras_are_left_out(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["input_features"][EMPTY] = {"type": "VISUAL", "shape": [3, 480, 640]}
    golden = exported(checkpoint).golden()
    (checkpoint / "config.json").write_text(json.dumps({**config, "empty_cameras": 1}))
    bundle = exported(checkpoint, force=True)
    assert list(bundle.contract.cameras) == ["front", "wrist"]
    np.testing.assert_array_equal(bundle.golden()["chunk"], golden["chunk"])


def test_cameras_of_two_sizes_have_an_encoder_each(tmp_path: Path) -> None:
    inputs = smolvla_config()["input_features"]
    inputs["observation.images.wrist"]["shape"] = [3, 24, 32]
    bundle = exported(checkpoint_of(tmp_path / "c", input_features=inputs))
    encoders = [camera.encoder for camera in bundle.contract.cameras.values()]
    assert encoders == [f"{ENCODER}_12x16", f"{ENCODER}_24x32"]


def test_weights_in_bfloat16_are_read(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    whole = load_file(file)
    upper = {name: (array.view("<u4") >> 16).astype("<u2") for name, array in whole.items()}
    header, end = dict[str, Any](), 0
    for name, array in upper.items():
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header).encode()
    content = b"".join(array.tobytes() for array in upper.values())
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    for name, array in read_tensors(file).items():
        np.testing.assert_array_equal(array, (upper[name].astype("<u4") << 16).view("<f4"))
    exported(checkpoint)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"n_obs_steps": 2}, "n_obs_steps: expected 1, since SmolVLA sees one moment"),
        ({"n_action_steps": 8}, "n_action_steps: expected at most chunk_size, 7"),
        ({"chunk_size": 1e300}, r"chunk_size: expected at most 10000, found 1e\+300"),
        ({"num_steps": 10_000_000}, "num_steps: expected at most 10000, found 10000000"),
        ({"adapt_to_pi_aloha": True}, "adapt_to_pi_aloha: expected false"),
        ({"add_image_special_tokens": True}, "add_image_special_tokens: expected false"),
        ({"use_peft": True}, "use_peft: expected false: merge the adapter"),
        ({"attention_mode": "both"}, "attention_mode: expected cross_attn or self_attn"),
        ({"num_vlm_layers": 6}, "num_vlm_layers: expected at most the 5 layers of .*config.json"),
        ({"num_expert_layers": 1}, "num_expert_layers: expected as many as num_vlm_layers, 3"),
        ({"num_vlm_layers": 4}, r"layers.3.*: expected a tensor .*found none"),
        ({"num_vlm_layers": 2}, r"expected the tensors of the network.*layers\.2"),
        ({"max_state_dim": 5}, "max_state_dim: expected at least the 6 values"),
        ({"max_action_dim": 5}, "max_action_dim: expected at least the 6 values"),
        ({"expert_width_multiplier": 0.1}, "expert_width_multiplier: expected a number that makes"),
        ({"expert_width_multiplier": 1.7e308}, "an even width of 16, at most 8192, found 1.7e"),
        ({"resize_imgs_with_padding": [16, 12]}, "resize_imgs_with_padding: expected images of a "),
        ({"resize_imgs_with_padding": None}, "expected images of a square .* found 16 x 12"),
        ({"resize_imgs_with_padding": [32, 32]}, "of 8 pixels, at most 16, found 32 x 32"),
        ({"vlm_model_name": "HF/Smol"}, "--vlm: expected the folder of HF/Smol .*nothing is down"),
        ({"vlm_model_name": "a; reboot"}, "`hf download 'a; reboot' config.json tokenizer.json"),
        ({"tokenizer_max_length": 3}, "--prompt: expected at most 3 tokens .*found 4"),
    ],
)
def test_configurations_that_cannot_be_exported_are_refused(
    checkpoint: Path, changed: dict[str, Any], found: str
) -> None:
    (checkpoint / "config.json").write_text(json.dumps(smolvla_config(**changed)))
    with pytest.raises(ToolError, match=found):
        exported(checkpoint)
    assert not (checkpoint.parent / "bundle").exists()


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ([EMPTY, "observation.state"], "input_features: expected a camera that is not empty"),
        (["observation.images.front"], "input_features: expected observation.state"),
    ],
)
def test_policies_that_lack_an_input_are_refused(
    checkpoint: Path, inputs: list[str], found: str
) -> None:
    features = smolvla_config()["input_features"]
    features[EMPTY] = {"type": "VISUAL", "shape": [3, 480, 640]}
    config = smolvla_config(input_features={name: features[name] for name in inputs})
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ToolError, match=found):
        exported(checkpoint)


def test_an_image_too_narrow_for_a_pixel_is_refused(checkpoint: Path) -> None:
    inputs = smolvla_config()["input_features"]
    inputs["observation.images.wrist"]["shape"] = [3, 1, 17]
    (checkpoint / "config.json").write_text(json.dumps(smolvla_config(input_features=inputs)))
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("part", "changed", "found"),
    [
        (None, {"model_type": "idefics3"}, r"vlm/config\.json: model_type: expected smolvlm"),
        ("text_config", {"vocab_size": 5}, "tokenizer.json: expected tokens below .* 5, found 6"),
        ("text_config", {"attention_bias": True}, "attention_bias: expected false"),
        ("text_config", {"num_key_value_heads": 3}, "expected a multiple of num_key_value_heads"),
        ("vision_config", {"hidden_act": "relu"}, "hidden_act: expected gelu_pytorch_tanh"),
        ("vision_config", {"num_attention_heads": 3}, "hidden_size: expected a multiple"),
        ("vision_config", {"num_hidden_layers": 1}, "expected the tensors of the network"),
    ],
)
def test_other_language_models_are_refused(
    checkpoint: Path, part: str | None, changed: dict[str, Any], found: str
) -> None:
    write_vlm(checkpoint / "vlm", **({part: {**VLM[part], **changed}} if part else changed))
    with pytest.raises(ToolError, match=found):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("language", "found"),
    [
        (Language(patch_positions="counted"), "--prompt: expected the task in words"),
        (Language(prompt=" \n", patch_positions="counted"), "--prompt: expected the task in words"),
        (
            Language(prompt="reach\x1b[2J", patch_positions="counted"),
            r"--prompt: expected text without control characters.*found 'reach\\x1b\[2J'",
        ),
        (
            Language(prompt="reach \udcff", patch_positions="counted"),
            "--prompt: expected text without control characters",
        ),
        (Language(prompt=PROMPT), "--patch-positions: expected repeated or counted"),
        (
            Language(prompt=PROMPT, vlm=Path("nowhere"), patch_positions="counted"),
            "--vlm: expected the folder of vlm .*found none in nowhere",
        ),
    ],
)
def test_what_a_checkpoint_does_not_contain_must_be_said(
    checkpoint: Path, language: Language, found: str
) -> None:
    with pytest.raises(ToolError, match=found):
        exported(checkpoint, language=language)


def test_the_folder_of_the_language_model_may_lie_anywhere(
    tmp_path: Path, checkpoint: Path
) -> None:
    (checkpoint / "vlm").rename(tmp_path / "elsewhere")
    told = Language(prompt=PROMPT, vlm=tmp_path / "elsewhere", patch_positions="counted")
    assert exported(checkpoint, language=told).contract.prompt == PROMPT


def test_a_missing_tokenizer_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint / "vlm" / "tokenizer.json").unlink()
    with refusal(ToolError):
        exported(checkpoint)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with refusal(ToolError):
        exported(checkpoint)


def test_a_tokenizer_that_cannot_make_tokens_of_the_prompt_is_named(checkpoint: Path) -> None:
    file = checkpoint / "vlm" / "tokenizer.json"
    content = json.loads(file.read_text())
    del content["model"]["vocab"]["<unk>"]
    file.write_text(json.dumps(content))
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_weight_that_float32_cannot_hold_is_named(checkpoint: Path, value: float) -> None:
    file = checkpoint / "model.safetensors"
    tensors = {name: array.astype(np.float64) for name, array in load_file(file).items()}
    tensors["model.action_in_proj.bias"][3] = value
    file.unlink()
    save_file(tensors, file)
    with refusal(ToolError):
        exported(checkpoint)


def test_a_type_that_numpy_lacks_is_named(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    header = json.dumps({"model.x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}})
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0\0")
    with refusal(ToolError):
        exported(checkpoint)


def test_an_adapter_is_refused(checkpoint: Path) -> None:
    (checkpoint / "adapter_config.json").write_text("{}")
    with refusal(ToolError):
        exported(checkpoint)


def test_a_prompt_for_a_policy_without_language_is_refused(tmp_path: Path) -> None:
    act = write_checkpoint(tmp_path / "act", config_of())
    with refusal(ToolError):
        export_checkpoint(request(act))


def test_one_graph_of_everything_is_refused(checkpoint: Path) -> None:
    with refusal(ToolError):
        exported(checkpoint, graphs="one")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("condition", "Nothing", "denoising.condition: expected one of the graphs"),
        ("columns", "5", "denoising.columns: expected at least the 6 joints, found 5"),
        ("columns", "9", r"noisy_actions.shape: expected \[1, 7, 9\]"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(
    checkpoint: Path, key: str, value: str, found: str
) -> None:
    bundle = exported(checkpoint)
    text = bundle.file.read_text()
    changed = re.sub(rf"(denoising:.*?\b{key}: )\w+", rf"\g<1>{value}", text, count=1, flags=re.S)
    assert changed != text
    bundle.file.write_text(changed)
    with pytest.raises(BundleError, match=found):
        load_bundle(bundle.path, kind=ChunkBundle)


def test_calibration_samples_follow_the_denoising_path(tmp_path: Path) -> None:
    robot = tmp_path / "arm.yaml"
    figures = "position_min: -4, position_max: 4, velocity_limit: 5, effort_limit: 2, "
    lines = [f"  {joint}: {{{figures}stiffness: 17, damping: 1}}" for joint in JOINTS]
    robot.write_text("\n".join(["source: a test", "joints:", *lines, ""]))
    shape = {"type": "VISUAL", "shape": [3, HEIGHT, WIDTH]}
    inputs = {
        "observation.state": {"type": "STATE", "shape": [3]},
        "observation.images.laptop": shape,
        "observation.images.phone": shape,
    }
    outputs = {"action": {"type": "ACTION", "shape": [3]}}
    folder = checkpoint_of(tmp_path / "c", input_features=inputs, output_features=outputs)
    bundle = exported(folder, robot=str(robot))
    source = DatasetSource(bundle.contract, write_dataset(tmp_path / "dataset"))
    (tmp_path / "samples").mkdir()

    samples = collect_samples(bundle, source, 10, tmp_path / "samples")

    with open_models(bundle.models, ["onnx"]) as models:
        language = models[f"graphs.{LANGUAGE_MODEL}"]
        for sample in range(10):
            for name, array in samples[LANGUAGE_MODEL].inputs.items():
                language.inputs[name][0] = array[sample]
            language.run()
            for name, made in language.outputs.items():
                np.testing.assert_array_equal(samples[STEP].inputs[name][sample], made[0])
    times = samples[STEP].inputs["time"]
    np.testing.assert_array_equal(times[:5], times[5:])
    assert len(np.unique(times[:5], axis=0)) == 5
    assert samples[STEP].inputs["noisy_actions"].shape == (10, 7, 8)
    assert len(samples[ENCODER].inputs["images"]) == 20


def test_a_server_gets_each_graph_and_no_ensemble(tmp_path: Path, checkpoint: Path) -> None:
    """One request would run the language model again for each denoising step."""
    names = write_repository(exported(checkpoint), tmp_path / "served")
    assert sorted(names) == [f"reach_{name}" for name in (STEP, LANGUAGE_MODEL, ENCODER)]


def test_the_double_of_tokenizers_is_like_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tokenizers")
    package = pytest.importorskip("tokenizers")
    words.write_words(tmp_path / "t.json", ("reach", "the", "cube"))
    real, double = (
        each.from_file(str(tmp_path / "t.json")) for each in (package.Tokenizer, words.Tokenizer)
    )
    for text in ("reach the cube\n", "the  red cube\n", "\n"):
        assert real.encode(text).ids == double.encode(text).ids
