# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from a recorded rollout besides the model's tensors: the measured joints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.row_files import read_rows
from model_tools.rows import Rows
from policy_inference.bundle.load import Bundle, load_bundle

from .tiny_bundle import make_bundle, observations

HIP, KNEE = np.linspace(0.0, 1.0, 5), np.linspace(2.0, 3.0, 5)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(make_bundle(tmp_path / "tiny"))


def rows_with(bundle: Bundle, **arrays: Any) -> Rows:
    file = bundle.path.parent / "rollout.npz"
    np.savez(file, allow_pickle=False, obs=observations(5), **arrays)
    return read_rows(file, bundle)


def test_joints_are_put_in_the_contract_s_order_by_their_names(bundle: Bundle) -> None:
    rows = rows_with(bundle, joint_pos=np.stack([KNEE, HIP, HIP * 0], axis=1),
                     joint_vel=np.stack([KNEE * 2, HIP * 2, HIP * 0], axis=1),
                     joint_names=["knee", "hip", "tail"])  # fmt: skip

    assert rows.joint_pos is not None
    assert rows.joint_vel is not None
    assert np.array_equal(rows.joint_pos, np.stack([HIP, KNEE], axis=1))
    assert np.array_equal(rows.joint_vel, np.stack([HIP, KNEE], axis=1) * 2)
    assert rows.joint_pos.dtype == np.float64


def test_joints_without_names_are_in_the_contract_s_order(bundle: Bundle) -> None:
    recorded = np.stack([HIP, KNEE], axis=1).astype(np.float32)

    rows = rows_with(bundle, joint_pos=recorded, joint_vel=recorded)

    assert np.array_equal(np.asarray(rows.joint_pos), recorded.astype(np.float64))


def test_joints_are_absent_unless_positions_and_velocities_were_recorded(bundle: Bundle) -> None:
    rows = rows_with(bundle, joint_pos=np.zeros((5, 2)))

    assert rows.joint_pos is None
    assert rows.joint_vel is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"joint_names": ["hip", "tail"]}, "joint_names: expected each joint .* missing: knee"),
    ({"joint_names": "hip"}, "joint_names: .* missing: knee"),
    ({"joint_names": ["hip", "knee", "tail"]}, r"joint_pos: expected numbers \[5, 3\]"),
    ({"joint_vel": np.zeros((4, 2))}, r"joint_vel: expected numbers \[5, 2\], found .*\[4, 2\]"),
    ({"joint_vel": np.full((5, 2), np.nan)}, "joint_vel: expected finite values, .* in row 0"),
])  # fmt: skip
def test_joints_that_do_not_fit_are_refused(
    bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    joints = {"joint_pos": np.zeros((5, 2)), "joint_vel": np.zeros((5, 2)), **changes}

    with pytest.raises(ToolError, match=message):
        rows_with(bundle, **joints)


@pytest.mark.parametrize("obs", [np.float32(1.0), np.zeros((0, 6)), np.zeros((5, 7)), ["a"]])
def test_observations_of_another_shape_are_refused(bundle: Bundle, obs: Any) -> None:
    file = bundle.path.parent / "rollout.npz"
    np.savez(file, allow_pickle=False, obs=obs)

    with pytest.raises(ToolError, match="obs: expected numbers"):
        read_rows(file, bundle)


def test_a_folder_that_is_no_recording_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ToolError, match=r"expected a recorded rollout .* found a folder"):
        read_rows(bundle.path, bundle)
