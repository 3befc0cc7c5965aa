# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints of all policies of LeRobot, and bundles of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.files.lerobot.checkpoint import read_config
from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.builder import PREFIX
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.make.act.smolvla_config import NO_LANGUAGE, Language, read_smolvla_config
from model_tools.make.act.smolvla_graphs import write_smolvla_graphs
from model_tools.make.act.unet_graphs import PREFIX as UNET_PREFIX
from model_tools.make.act.unet_graphs import check_unet_config, write_unet_graphs
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_models
from policy_inference.comparison.chunks import play_chunks
from policy_inference.comparison.rows import Rows

from ...files.lerobot.small_dataset import JOINTS
from . import words
from .small_checkpoints import DrawnWeights, config_of, random_statistics, write_checkpoint

PROMPT = "reach the cube"
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


def unet_config(**changed: Any) -> dict[str, Any]:
    return {
        **config_of(cameras={}, outside=3, type="diffusion", n_obs_steps=2),
        "normalization_mapping": {"STATE": "MIN_MAX", "ENV": "MIN_MAX", "ACTION": "MIN_MAX"},
        "horizon": 8,
        "n_action_steps": 4,
        "down_dims": [8, 16],
        "kernel_size": 3,
        "n_groups": 4,
        "diffusion_step_embed_dim": 8,
        "use_film_scale_modulation": True,
        "noise_scheduler_type": "DDIM",
        "num_train_timesteps": 100,
        "num_inference_steps": 5,
        "beta_schedule": "squaredcos_cap_v2",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
        "clip_sample": True,
        "clip_sample_range": 1.0,
        "resize_shape": None,
        "crop_shape": None,
        "crop_ratio": 1.0,
        "use_group_norm": True,
        "spatial_softmax_num_keypoints": 4,
        "use_separate_rgb_encoder_per_camera": False,
        **changed,
    }


def smolvla_config(**changed: Any) -> dict[str, Any]:
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


CONFIGS = {"act": config_of, "diffusion": unet_config, "smolvla": smolvla_config}


def write_vlm(folder: Path, **changed: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**VLM, **changed}))
    words.write_words(folder / "tokenizer.json", ("reach", "the", "cube", "square"))


def written_checkpoint_of(kind: str, folder: Path, **changed: Any) -> Path:
    """Write a checkpoint with the weights that its configuration asks for."""
    config = CONFIGS[kind](**changed)
    if kind == "act":
        return write_checkpoint(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if kind == "diffusion":
        weights = DrawnWeights(UNET_PREFIX)
        write_unet_graphs(check_unet_config(read_config(folder)), weights, opset=17)
    else:
        weights = DrawnWeights(PREFIX)
        write_vlm(folder / "vlm")
        checked = read_smolvla_config(read_config(folder), LANGUAGE)
        write_smolvla_graphs(checked, weights, opset=17)
    statistics = random_statistics(config)
    write_checkpoint(folder, config, tensors=weights.drawn, statistics=statistics)
    if kind == "smolvla":
        file = folder / "policy_preprocessor.json"
        steps = json.loads(file.read_text())
        steps["steps"][1:1] = [
            {"registry_name": "smolvla_new_line_processor", "config": {}},
            {"registry_name": "tokenizer_processor", "config": {"max_length": 6}},
        ]
        file.write_text(json.dumps(steps))
    return folder


def ask(checkpoint: Path, language: Language | None = None, **changed: Any) -> ActRequest:
    """Return the request to export a checkpoint beside itself, with what its kind needs."""
    usual = LANGUAGE if (checkpoint / "vlm").is_dir() else NO_LANGUAGE
    request: dict[str, Any] = {
        "checkpoint": read_checkpoint(checkpoint, language or usual),
        "output": checkpoint.parent / "bundle",
        "robot": "so101",
        "units": "degrees",
        "rate_hz": 30.0,
        "name": "reach",
    }
    return ActRequest(**{**request, **changed})


def exported(checkpoint: Path, **changed: Any) -> ChunkBundle:
    asked = ask(checkpoint, **changed)
    export_checkpoint(asked)
    return load_bundle(asked.output, kind=ChunkBundle)


def played_rows(bundle: ChunkBundle, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bundle's files answer on the observations of rows."""
    given = {name: array for name, array in rows.items() if name != "chunk"}
    with open_models(bundle.models, ["onnx"]) as models:
        return dict(
            play_chunks(bundle.contract, models, Rows(source="golden", inputs=given, outputs={}))
        )


def small_arm(folder: Path) -> Path:
    """Return the file of a robot with the joints of the small datasets, the last a gripper."""
    joint = (
        "position_min: -1, position_max: 1, velocity_limit: 2, effort_limit: 3, "
        "stiffness: 4, damping: 5"
    )
    lines = [f"  {name}: {{{joint}, gripper: {str(name == 'gripper').lower()}}}" for name in JOINTS]
    (folder / "arm.yaml").write_text("\n".join(["source: mine", "joints:", *lines]))
    return folder / "arm.yaml"
