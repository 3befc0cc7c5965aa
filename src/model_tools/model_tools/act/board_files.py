# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics as `.npy`, under the names that D-Robotics' script for their boards reads.

`action_mean` and `action_std` are those of the state; those of the action are `..._unnormalize`.
That script knows (x - mean) / std only, so other normalisations are written as the same line.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from policy_inference.bundle.chunk_contract import ChunkContract, Scaling
from policy_inference.interfaces import F32

BOARD_FOLDER = "bpu_output"
BOARD_FILES = tuple(f"{BOARD_FOLDER}/{name}" for name in (
    "*_mean.npy", "*_std.npy", "action_mean_unnormalize.npy", "action_std_unnormalize.npy",
    "new_actions.npy"))
"""Patterns of the files there."""


def write_board_files(folder: Path, contract: ChunkContract, chunk: F32) -> None:
    """Write the statistics and a normalised chunk [steps, actions], the network's first answer.

    Args:
        folder: The bundle; files go to `bpu_output` below it.
        contract: Of the bundle.
        chunk: Of which that script takes the number of steps to execute.
    """
    place = folder / BOARD_FOLDER
    place.mkdir()
    pairs = {name: _mean_std(camera.normalisation, 3) for name, camera in contract.cameras.items()}
    for name, (mean, std) in pairs.items():
        np.save(place / f"{name}_mean.npy", mean.reshape(3, 1, 1))
        np.save(place / f"{name}_std.npy", std.reshape(3, 1, 1))
    for vector, end in ((contract.state, ""), (contract.action, "_unnormalize")):
        if vector is not None:
            mean, std = _mean_std(vector.normalisation, len(vector.joints))
            np.save(place / f"action_mean{end}.npy", mean)
            np.save(place / f"action_std{end}.npy", std)
    np.save(place / "new_actions.npy", chunk[np.newaxis])


def _mean_std(scaling: Scaling, size: int) -> tuple[F32, F32]:
    if scaling.mode == "mean_std":
        mean, std = np.array(scaling.mean), np.array(scaling.std)
    elif scaling.mode == "min_max":
        low, high = np.array(scaling.min), np.array(scaling.max)
        mean, std = (low + high) / 2.0, (high - low) / 2.0
    else:
        mean, std = np.zeros(size), np.ones(size)
    return mean.astype(np.float32), std.astype(np.float32)
