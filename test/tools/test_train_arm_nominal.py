# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What healthy episodes asked for becomes a bundle's `nominal`; failed ones do not count."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode
from robot_sim.arm_episodes import ArmTrace
from tools.train_arm.nominal import main

SHIPPED = Path(__file__).parents[2] / "config/bundles/so101_reach"
TICKS, STIFFNESS = 20, 17.8


@pytest.fixture
def reach_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "bundle"))


def write_trace(folder: Path, *, succeeded: bool = True) -> Path:
    """Write two episodes of an arm that cannot move: commanded to and fro by 0.2, then 0.4 rad."""
    distance = np.repeat([0.2, 0.4], TICKS)[:, None] * np.ones(6)
    to_and_fro = np.tile([0.0, 1.0], TICKS)[:, None]
    file = folder / "trace.npz"
    ArmTrace(
        time_s=np.arange(2 * TICKS) / 30,
        pose=np.zeros((2 * TICKS, 13)),
        target=distance * to_and_fro,
        mode=np.full(2 * TICKS, float(Mode.RUN)),
        episode=np.repeat([0, 1], TICKS),
        seed=np.array([1, 2]),
        succeeded=np.array([succeeded, False]),
        closest_m=np.zeros(2),
        took_s=np.ones(2),
    ).save(file)
    return file


def test_largest_steps_and_torques_of_healthy_episodes_are_written(
    reach_copy: Path, tmp_path: Path
) -> None:
    assert main(["--bundle", str(reach_copy), str(write_trace(tmp_path))]) == 0

    nominal = load_bundle(reach_copy, kind=ChunkBundle).contract.nominal
    assert nominal is not None
    assert nominal.ticks == TICKS
    assert nominal.source.startswith("1 ")
    assert set(nominal.target_step) == {0.2}
    assert nominal.effort_demand == pytest.approx([0.2 * STIFFNESS] * 6)
