# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small file or folder of each kind that can be inspected without torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...make.act.small_checkpoints import write_checkpoint

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


def lerobot_files(
    folder: Path, *, config: Mapping[str, object] = CONFIG, is_old: bool = False
) -> Path:
    """Write a checkpoint as LeRobot 0.4 does, or as 0.3: with statistics inside the weights."""
    sizes = {
        "encoder_robot_state_input_proj.weight": (4, 2),
        "action_head.weight": (3, 4),
        "decoder_pos_embed.weight": (10, 4),
    }
    statistics = {
        f"{STATE}.mean": np.zeros(2, np.float32),
        f"{STATE}.std": np.ones(2, np.float32),
        f"{CAMERA}.mean": np.zeros((3, 1, 1), np.float32),
        f"{CAMERA}.std": np.ones((3, 1, 1), np.float32),
        f"{ACTION}.min": -np.ones(3, np.float32),
        f"{ACTION}.max": np.ones(3, np.float32),
    }
    weights = {f"model.{name}": np.ones(size, np.float32) for name, size in sizes.items()}
    return write_checkpoint(
        folder, dict(config), tensors=weights, statistics=statistics, is_old=is_old
    )


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


def rknn_content(
    qnt_type: str = "int8", target: str = "rk3588", version: int = 6, **tensors: list[int]
) -> bytes:
    """Return a whole file; tensors are inputs, and outputs from `actions` on."""
    tensors = tensors or {"obs": [1, 6], "actions": [1, 2]}
    sides = ["output" if name in ("actions", "h_out") else "input" for name in tensors]
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": [target],
            "norm_tensor": [
                {"tensor_id": place, "url": name, "size": size, "dtype": {"qnt_type": qnt_type}}
                for place, (name, size) in enumerate(tensors.items())
            ],
            "graph": [
                {"left": side, "left_tensor_id": place, "right_tensor_id": place}
                for place, side in enumerate(sides)
            ],
        }
    ).encode()
    head = struct.pack("<4s4xQQ40x", b"RKNN", version, 4) + bytes(4)
    return head + struct.pack("<Q", len(text)) + text


def rknn(file: Path, **given: Any) -> Path:
    """Write a model with the input `obs` [1, 6] and no output."""
    file.write_bytes(rknn_content("", obs=[1, 6], **given))
    return file
