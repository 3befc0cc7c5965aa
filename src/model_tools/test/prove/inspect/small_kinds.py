# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small file or folder of each kind that can be inspected without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from policy_core.interfaces import F32

STATE, ACTION, CAMERA = "observation.state", "action", "observation.images.top.left"
FEATURES = {
    STATE: {"type": "STATE", "shape": [2]},
    CAMERA: {"type": "VISUAL", "shape": [3, 24, 32]},
}
CONFIG = {
    "type": "act",
    "chunk_size": 10,
    "n_action_steps": 5,
    "temporal_ensemble_coeff": None,
    "vision_backbone": "resnet18",
    "input_features": FEATURES,
    "output_features": {ACTION: {"type": "ACTION", "shape": [3]}},
    "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MIN_MAX"},
}
NORMALISER, UNNORMALISER = "normaliser.safetensors", "unnormaliser.safetensors"


def lerobot_weights() -> dict[str, F32]:
    """Return the tensors whose sizes the configuration states."""
    sizes = {
        "encoder_robot_state_input_proj.weight": (4, 2),
        "action_head.weight": (3, 4),
        "decoder_pos_embed.weight": (10, 4),
    }
    return {f"model.{name}": np.ones(size, np.float32) for name, size in sizes.items()}


def lerobot_statistics() -> tuple[dict[str, F32], dict[str, F32]]:
    """Return those of the inputs and of the action, as processors hold them."""
    inputs = {
        f"{STATE}.mean": np.zeros(2),
        f"{STATE}.std": np.ones(2),
        f"{CAMERA}.mean": np.zeros((3, 1, 1)),
        f"{CAMERA}.std": np.ones((3, 1, 1)),
    }
    action = {f"{ACTION}.min": -np.ones(3), f"{ACTION}.max": np.ones(3)}
    return _float32(inputs), _float32(action)


def lerobot_files(folder: Path, *, config: Mapping[str, object] = CONFIG) -> Path:
    """Write a checkpoint as LeRobot 0.4 does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(lerobot_weights(), folder / "model.safetensors")
    for name, step, file, tensors in zip(
        ("preprocessor", "postprocessor"),
        ("normalizer_processor", "unnormalizer_processor"),
        (NORMALISER, UNNORMALISER),
        lerobot_statistics(),
        strict=True,
    ):
        steps = [
            {"registry_name": "device_processor", "config": {"device": "cpu"}},
            {"registry_name": step, "state_file": file},
        ]
        (folder / f"policy_{name}.json").write_text(json.dumps({"name": name, "steps": steps}))
        save_file(tensors, folder / file)
    return folder


def old_checkpoint(folder: Path) -> Path:
    """Write a checkpoint as LeRobot 0.3 does: statistics inside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tensors = lerobot_weights()
    for owner, values in zip(
        ("normalize_inputs", "unnormalize_outputs"), lerobot_statistics(), strict=True
    ):
        for name, value in values.items():
            feature, _, kind = name.rpartition(".")
            tensors[f"{owner}.buffer_{feature.replace('.', '_')}.{kind}"] = value
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_dataset_outside(folder: Path, *, version: str = "v3.0") -> Path:
    """Write the outside of a dataset: what it says, and files that only look like data."""
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "fps": 30,
        "total_episodes": 2,
        "total_frames": 77,
        "total_tasks": 1,
        "features": {
            STATE: {"dtype": "float32", "shape": [2], "names": ["pan", "lift"]},
            CAMERA: {"dtype": "video", "shape": [24, 32, 3], "names": None},
        },
    }
    for place in ("meta/episodes/file.parquet", "data/file.parquet", f"videos/{CAMERA}/file.mp4"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(b"PAR1 and what is between PAR1")
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    (folder / "meta" / "stats.json").write_text("{}")
    return folder


def rknn(file: Path, *, version: int = 6) -> Path:
    """Write a model with the input `obs` [1, 6] and no output."""
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": ["rk3588"],
            "norm_tensor": [
                {"tensor_id": 0, "url": "obs", "size": [1, 6], "dtype": {"qnt_type": ""}}
            ],
            "graph": [{"left": "input", "left_tensor_id": 0, "right_tensor_id": 0}],
        }
    ).encode()
    head = struct.pack("<4s4xQQ40x", b"RKNN", version, 0)
    file.write_bytes(head + struct.pack("<Q", len(text)) + text)
    return file


def _float32(
    arrays: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
) -> dict[str, F32]:
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}
