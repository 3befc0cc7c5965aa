# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What ONNX Runtime and MuJoCo compute with the shipped policies, on one machine alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.digests.bags import arm_bag, walk_bag
from tools.digests.commands import calibrated, compared, completed
from tools.digests.digest import Case
from tools.digests.exchanges import Service
from tools.digests.internals import reached
from tools.digests.texts import BUNDLES

WALK, REACH = BUNDLES / "lite3_walk", BUNDLES / "so101_reach"


def shipped(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return the cases of the shipped policies with their trained weights."""
    rows = np.load(WALK / "golden.npz")["obs"].reshape(-1, 45)
    shutil.copytree(WALK, folder / "served")
    with Service(folder / "served", "--socket", folder / "raw", backend="onnx") as serving:
        yield "onnx/golden", serving.raw(folder / "raw", rows)
    bag, arm = walk_bag(folder / "walk"), arm_bag(folder / "arm")
    words = ["--bag", bag, "--samples", "all"]
    yield "onnx/calibrate", calibrated(folder, "walk", WALK, words)
    words = ["--bag", arm, "--cal-num", "20"]
    yield "onnx/calibrate_chunks", calibrated(folder, "arm", REACH, words, output="calib")
    yield "onnx/compare_chunks", compared(folder, "arm", [REACH, REACH, "--rows", arm])
    for seed in (1, 2):
        yield f"mujoco/arm{seed}", reached(seed)
    words = [WALK, WALK, "--rows", bag, "--closed-loop", "--seconds", "5"]
    yield "mujoco/closed_loop", compared(folder, "walk", words)
    yield "mujoco/complete", completed(folder, "complete", WALK, ["--simulate"])
