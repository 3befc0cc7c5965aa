# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all kinds that cannot be exported: why, and nothing is left behind."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model_tools.errors import ToolError
from model_tools.make.act.smolvla_config import Language
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from testkit.wording import refusal

from .conftest import CopyCheckpoint
from .exports import CONFIGS, LANGUAGE, PROMPT, VLM, exported, write_vlm
from .small_checkpoints import ACTION, NORMALISER, STATE, UNNORMALISER

FRONT, EMPTY = "observation.images.front", "observation.images.empty_camera_0"
WEIGHTS = "model.safetensors"
FEATURES = {
    **CONFIGS["smolvla"]()["input_features"],
    EMPTY: {"type": "VISUAL", "shape": [3, 480, 640]},
}


def edit_tensors(file: Path, **changed: Any) -> None:
    """Replace tensors of a file, which may be a link; None takes one out."""
    merged = {**load_file(file), **changed}
    file.unlink()
    save_file({name: value for name, value in merged.items() if value is not None}, file)


def visual(height: int, width: int) -> dict[str, Any]:
    return {"type": "VISUAL", "shape": [3, height, width]}


CONFIGURATIONS: dict[str, list[dict[str, Any]]] = {
    "act": [
        {"type": "multi_task_dit"},
        {"n_obs_steps": 2},
        {"n_action_steps": 8},
        {"vision_backbone": "vit_b_16"},
        {"feedforward_activation": "swish"},
        {"n_heads": 3},
        {"output_features": {}},
        {"dim_model": None},
        {"pre_norm": 1},
        {"input_features": {FRONT: visual(100_000, 40)}},
        {"input_features": {STATE: {"type": "STATE", "shape": [6]}}},
    ],
    "diffusion": [
        {"horizon": 1 << 20},
        {"n_action_steps": 8},
        {"noise_scheduler_type": "PNDM"},
        {"prediction_type": "v_prediction"},
        {"beta_schedule": "cosine"},
        {"objective": "consistency"},
        {"vision_backbone": "vit"},
        {"diffusion_step_embed_dim": 7},
    ],
    "smolvla": [
        {"n_obs_steps": 2},
        {"n_action_steps": 8},
        {"chunk_size": 1e300},
        {"num_steps": 10_000_000},
        {"adapt_to_pi_aloha": True},
        {"add_image_special_tokens": True},
        {"use_peft": True},
        {"attention_mode": "both"},
        {"num_expert_layers": 1},
        {"num_vlm_layers": 4},
        {"max_state_dim": 5},
        {"expert_width_multiplier": 1.7e308},
        {"resize_imgs_with_padding": [32, 32]},
        {"vlm_model_name": "a; reboot"},
        {"tokenizer_max_length": 3},
        {"input_features": {EMPTY: FEATURES[EMPTY], STATE: FEATURES[STATE]}},
        {"input_features": {FRONT: visual(1, 17), STATE: FEATURES[STATE]}},
    ],
}


@pytest.mark.parametrize(
    ("kind", "changed"),
    [(kind, changed) for kind, rows in CONFIGURATIONS.items() for changed in rows],
)
def test_configurations_that_cannot_be_exported_are_refused(
    checkpoint_like: CopyCheckpoint, kind: str, changed: dict[str, Any]
) -> None:
    checkpoint = checkpoint_like(kind)
    (checkpoint / "config.json").write_text(json.dumps(CONFIGS[kind](**changed)))
    with refusal(ToolError):
        exported(checkpoint)
    assert not (checkpoint.parent / "bundle").exists()


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, NORMALISER, UNNORMALISER])
def test_missing_files_are_named(checkpoint_like: CopyCheckpoint, name: str) -> None:
    checkpoint = checkpoint_like("act")
    (checkpoint / name).unlink()
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("kind", "file", "name", "value"),
    [
        ("act", NORMALISER, f"{STATE}.std", None),
        ("act", NORMALISER, f"{FRONT}.mean", np.full((3, 1, 1), np.inf, np.float32)),
        ("act", UNNORMALISER, f"{ACTION}.mean", np.full(6, np.nan, np.float32)),
        ("act", UNNORMALISER, f"{ACTION}.std", np.ones(5, np.float32)),
        ("act", WEIGHTS, "model.action_head.weight", np.ones((6, 16), np.int32)),
        ("act", WEIGHTS, "model.backbone.layer2.0.bn1.running_var", -np.ones(128, np.float32)),
        ("smolvla", WEIGHTS, "model.action_in_proj.bias", np.full(12, np.inf)),
    ],
)
def test_a_broken_tensor_is_named(
    checkpoint_like: CopyCheckpoint, kind: str, file: str, name: str, value: Any
) -> None:
    checkpoint = checkpoint_like(kind)
    edit_tensors(checkpoint / file, **{name: value})
    with refusal(ToolError):
        exported(checkpoint)
    assert not (checkpoint.parent / "bundle").exists()


@pytest.mark.parametrize("where", ["../{}", "sub/{}", "..\\{}", "{folder}/{}"])
def test_statistics_outside_of_the_checkpoint_are_not_read(
    checkpoint_like: CopyCheckpoint, where: str
) -> None:
    checkpoint = checkpoint_like("act")
    for place in (checkpoint.parent, checkpoint / "sub"):
        place.mkdir(exist_ok=True)
        (place / NORMALISER).write_bytes((checkpoint / NORMALISER).read_bytes())
    file = checkpoint / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"][1]["state_file"] = where.format(NORMALISER, folder=checkpoint)
    file.write_text(json.dumps(content))
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        (None, {"model_type": "idefics3"}),
        ("text_config", {"vocab_size": 5}),
        ("text_config", {"attention_bias": True}),
        ("vision_config", {"hidden_act": "relu"}),
    ],
)
def test_other_language_models_are_refused(
    checkpoint_like: CopyCheckpoint, part: str | None, changed: dict[str, Any]
) -> None:
    checkpoint = checkpoint_like("smolvla")
    write_vlm(checkpoint / "vlm", **({part: {**VLM[part], **changed}} if part else changed))
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize(
    "language",
    [
        Language(patch_positions="counted"),
        Language(prompt=PROMPT),
        Language(prompt=PROMPT, vlm=Path("nowhere"), patch_positions="counted"),
    ],
)
def test_what_a_checkpoint_does_not_contain_must_be_said(
    checkpoint_like: CopyCheckpoint, language: Language
) -> None:
    with refusal(ToolError):
        exported(checkpoint_like("smolvla"), language=language)


def test_an_adapter_is_refused(checkpoint_like: CopyCheckpoint) -> None:
    checkpoint = checkpoint_like("smolvla")
    (checkpoint / "adapter_config.json").write_text("{}")
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("act", {"language": LANGUAGE}),
        ("act", {"steps": 8}),
        ("act", {"robot": "panda"}),
        ("diffusion", {"graphs": "one"}),
    ],
)
def test_what_the_policy_cannot_do_is_refused(
    checkpoint_like: CopyCheckpoint, kind: str, asked: dict[str, Any]
) -> None:
    with refusal(ToolError):
        exported(checkpoint_like(kind), **asked)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("diffusion", "steps", "101"),
        ("diffusion", "method", "flow"),
        ("diffusion", "size", "7"),
        ("smolvla", "condition", "Nothing"),
        ("smolvla", "columns", "9"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(
    checkpoint_like: CopyCheckpoint, kind: str, key: str, value: str
) -> None:
    bundle = exported(checkpoint_like(kind))
    text = bundle.file.read_text()
    changed = re.sub(rf"(denoising:.*?\b{key}: )\w+", rf"\g<1>{value}", text, count=1, flags=re.S)
    assert changed != text
    bundle.file.write_text(changed)
    with refusal(BundleError):
        load_bundle(bundle.path, kind=ChunkBundle)
