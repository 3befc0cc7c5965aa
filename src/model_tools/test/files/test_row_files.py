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
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.rows import Rows
from policy_inference.interfaces import F32, F64
from testkit.wording import refusal

from ..tiny_bundle import make_bundle, observations

HIP, KNEE = np.linspace(0.0, 1.0, 5), np.linspace(2.0, 3.0, 5)


@pytest.fixture
def bundle(tmp_path: Path) -> JointBundle:
    return load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle)


def observed(joint_pos: F64, joint_vel: F64, actions: F32) -> F32:
    """Return what the tiny contract makes of joints [rows, 2] and actions [rows, 2]."""
    last = np.vstack([np.zeros((1, 2)), actions[:-1]])
    return np.hstack([joint_pos, joint_vel, last]).astype(np.float32)


POS, VEL = np.stack([HIP, KNEE], axis=1), np.stack([HIP * 2, KNEE * -1], axis=1)
ACTIONS = observations(5)[:, :2]
ROLLOUT: dict[str, Any] = {
    "obs": observed(POS, VEL, ACTIONS),
    "actions": ACTIONS,
    "joint_pos": POS,
    "joint_vel": VEL,
}


def rows_of(bundle: JointBundle, **arrays: Any) -> Rows:
    file = bundle.path.parent / "rollout.npz"
    np.savez(file, **arrays)
    return read_rows(file, bundle)


def test_joints_are_put_in_the_contract_s_order_by_their_names(bundle: JointBundle) -> None:
    shuffled = {
        name: np.stack([values[:, 1], values[:, 0], HIP * 0], axis=1)
        for name, values in (("joint_pos", POS), ("joint_vel", VEL))
    }

    rows = rows_of(bundle, **{**ROLLOUT, **shuffled, "joint_names": ["knee", "hip", "tail"]})

    assert np.array_equal(rows.sensed["joint_pos"], POS)
    assert np.array_equal(rows.sensed["joint_vel"], VEL)
    assert rows.sensed["joint_pos"].dtype == np.float64
    assert rows.breaks == ()


@pytest.mark.parametrize("names", [("knee", "hip", "tail"), ("knee_joint", "hip_joint", "tail")])
def test_joints_of_a_rollout_go_by_the_contract_s_names_or_the_robot_s(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    file = make_bundle(tmp_path / "tiny") / "policy.yaml"
    text = file.read_text("utf-8")
    renamed = "names: [hip, knee], robot_names: {.*: '{name}_joint'}"
    file.write_text(text.replace("names: [hip, knee]", renamed), "utf-8")
    shuffled = {
        name: np.stack([values[:, 1], values[:, 0], HIP * 0], axis=1)
        for name, values in (("joint_pos", POS), ("joint_vel", VEL))
    }

    rows = rows_of(
        load_bundle(file.parent, kind=JointBundle), **{**ROLLOUT, **shuffled, "joint_names": names}
    )

    assert np.array_equal(rows.sensed["joint_pos"], POS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_names": ["hip", "tail"]}, "joint_names: expected each joint .* missing: knee"),
        ({"joint_names": "hip"}, "joint_names: .* missing: knee"),
        ({"joint_names": ["hip", "knee", "tail"]}, r"joint_pos: expected numbers \[5, 3\]"),
        (
            {"joint_vel": np.zeros((4, 2))},
            r"joint_vel: expected numbers \[5, 2\], found .*\[4, 2\]",
        ),
        ({"joint_vel": np.full((5, 2), np.nan)}, "joint_vel: expected finite values, .* in row 0"),
    ],
)
def test_joints_that_do_not_fit_are_refused(
    bundle: JointBundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        rows_of(bundle, **{**ROLLOUT, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"joint_pos": POS[:, ::-1]}, id="swapped"),
        pytest.param({"joint_pos": np.degrees(POS)}, id="degrees"),
        pytest.param({"joint_vel": 2 * VEL}, id="another scale"),
    ],
)
def test_an_observation_that_is_not_the_contract_s_is_refused(
    bundle: JointBundle, changes: dict[str, Any]
) -> None:
    with refusal(ToolError):
        rows_of(bundle, **{**ROLLOUT, **changes})


def test_rows_that_lack_the_action_of_the_row_before_are_distinguished(bundle: JointBundle) -> None:
    chosen = [0, 1, 3, 4]

    rows = rows_of(bundle, **{name: values[chosen] for name, values in ROLLOUT.items()})

    assert rows.breaks == (2,)


@pytest.mark.parametrize(
    ("name", "values"), [("time", [0.0, 0.02, 0.04, 0.1, 0.12]), ("episode", [7, 7, 7, 8, 8])]
)
def test_recorded_times_and_episodes_tell_rows_apart(
    bundle: JointBundle, name: str, values: list[float]
) -> None:
    assert rows_of(bundle, obs=ROLLOUT["obs"], **{name: values}).breaks == (3,)


def test_saved_rows_come_back_as_they_were(bundle: JointBundle, tmp_path: Path) -> None:
    rows = rows_of(bundle, **ROLLOUT)
    save_rows([rows, rows], bundle.contract, tmp_path / "saved.npz")

    again = read_rows(tmp_path / "saved.npz", bundle)

    assert again.breaks == (5,)
    for field in ("inputs", "outputs", "sensed"):
        for name, values in getattr(rows, field).items():
            np.testing.assert_array_equal(getattr(again, field)[name][5:], values)


@pytest.mark.parametrize("obs", [np.float32(1.0), np.zeros((0, 6)), np.zeros((5, 7)), ["a"]])
def test_observations_of_another_shape_are_refused(bundle: JointBundle, obs: Any) -> None:
    file = bundle.path.parent / "rollout.npz"
    np.savez(file, allow_pickle=False, obs=obs)

    with refusal(ToolError):
        read_rows(file, bundle)


def test_a_folder_that_is_no_recording_is_refused(bundle: JointBundle) -> None:
    with refusal(ToolError):
        read_rows(bundle.path, bundle)
