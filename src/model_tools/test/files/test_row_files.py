# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded rollouts: what was sensed in them, and whether it makes their observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows, save_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from policy_inference.comparison.rows import Rows
from testkit.wording import refusal

from ..tiny_bundle import make_bundle, observations

HIP, KNEE = np.linspace(0.0, 1.0, 5), np.linspace(2.0, 3.0, 5)


def observed_rows(joint_pos: F64, joint_vel: F64, actions: F32) -> F32:
    """Return what the tiny contract makes of joints [rows, 2] and actions [rows, 2]."""
    last = np.vstack([np.zeros((1, 2)), actions[:-1]])
    return np.hstack([joint_pos, joint_vel, last]).astype(np.float32)


POS, VEL = np.stack([HIP, KNEE], axis=1), np.stack([HIP * 2, KNEE * -1], axis=1)
ACTIONS = observations(5)[:, :2]
ROLLOUT: dict[str, Any] = {
    "obs": observed_rows(POS, VEL, ACTIONS),
    "actions": ACTIONS,
    "joint_pos": POS,
    "joint_vel": VEL,
}


def rollout_rows(tiny: JointBundle, **arrays: Any) -> Rows:
    file = tiny.path.parent / "rollout.npz"
    np.savez(file, **arrays)
    return read_rows(file, tiny)


@pytest.mark.parametrize(
    ("names", "renamed"),
    [
        ("knee hip tail", False),
        ("knee hip tail", True),
        ("knee_joint hip_joint tail", True),
    ],
)
def test_joints_of_a_rollout_go_by_the_contract_s_names_or_the_robot_s(
    tmp_path: Path, names: str, renamed: bool
) -> None:
    file = make_bundle(tmp_path / "tiny") / "policy.yaml"
    if renamed:
        text = file.read_text("utf-8")
        of_robot = "names: [hip, knee], robot_names: {.*: '{name}_joint'}"
        file.write_text(text.replace("names: [hip, knee]", of_robot), "utf-8")
    shuffled = {
        name: np.stack([values[:, 1], values[:, 0], HIP * 0], axis=1)
        for name, values in (("joint_pos", POS), ("joint_vel", VEL))
    }

    tiny = load_bundle(file.parent, kind=JointBundle)
    rows = rollout_rows(tiny, **{**ROLLOUT, **shuffled, "joint_names": names.split()})

    assert np.array_equal(rows.sensed["joint_pos"], POS)
    assert np.array_equal(rows.sensed["joint_vel"], VEL)
    assert rows.sensed["joint_pos"].dtype == np.float64
    assert rows.breaks == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_names": ["hip", "tail"]},
        {"joint_names": "hip"},
        {"joint_names": ["hip", "knee", "tail"]},
        {"joint_vel": np.zeros((4, 2))},
        {"joint_vel": np.full((5, 2), np.nan)},
        # An observation that is not the contract's: swapped, in degrees, in another scale.
        {"joint_pos": POS[:, ::-1]},
        {"joint_pos": np.degrees(POS)},
        {"joint_vel": 2 * VEL},
        *({"obs": obs} for obs in (np.float32(1.0), np.zeros((0, 6)), np.zeros((5, 7)), ["a"])),
    ],
)
def test_joints_and_observations_that_do_not_fit_are_refused(
    tiny: JointBundle, changes: dict[str, Any]
) -> None:
    with refusal(ToolError):
        rollout_rows(tiny, **{**ROLLOUT, **changes})


def test_rows_that_lack_the_action_of_the_row_before_are_distinguished(tiny: JointBundle) -> None:
    chosen = [0, 1, 3, 4]

    rows = rollout_rows(tiny, **{name: values[chosen] for name, values in ROLLOUT.items()})

    assert rows.breaks == (2,)


def test_saved_rows_come_back_as_they_were(tiny: JointBundle, tmp_path: Path) -> None:
    rows = rollout_rows(tiny, **ROLLOUT)
    save_rows([rows, rows], tiny.contract, tmp_path / "saved.npz")

    again = read_rows(tmp_path / "saved.npz", tiny)

    assert again.breaks == (5,)
    for field in ("inputs", "outputs", "sensed"):
        for name, values in getattr(rows, field).items():
            np.testing.assert_array_equal(getattr(again, field)[name][5:], values)
