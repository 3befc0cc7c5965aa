# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorded walk of a real policy: from its bag come the rows that were recorded with it.

The recording begins while the policy walks, and a replay begins with no last action: actions are
those of the recording after a few ticks, as soon as the policy has forgotten.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.files.row_files import read_rows
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.comparison.rows import Rows

CONTRACT = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"
FIRST, LAST = 100, 1100
"""Rows of the rollout that the recording covers."""
SENSED, LAST_ACTION = slice(0, 33), slice(33, 45)
FORGOTTEN = 20

pytestmark = pytest.mark.real_data
Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


@pytest.fixture(scope="module")
def lite3_bundle(lite3_data: Path, tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    made = tmp_path_factory.mktemp("bags") / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(lite3_data / "policy.onnx", made / "policy.onnx")
    return load_bundle(made, kind=JointBundle)


@pytest.fixture(scope="module")
def rollout(lite3_data: Path) -> Arrays:
    recorded = dict(np.load(lite3_data / "rollout_50hz.npz"))
    return {
        name: recorded[name][FIRST : LAST + 1]
        for name in ("obs", "action", "joint_pos", "joint_vel")
    }


@pytest.fixture(scope="module")
def lite3_rows(lite3_data: Path, lite3_bundle: JointBundle) -> Rows:
    return read_rows(lite3_data / "bag_mcap", lite3_bundle)


def test_what_was_sensed_is_exactly_what_the_rollout_says(
    lite3_rows: Rows, rollout: Arrays
) -> None:
    assert len(lite3_rows) == LAST - FIRST + 1
    assert np.array_equal(lite3_rows.inputs["obs"][:, SENSED], rollout["obs"][:, SENSED])
    np.testing.assert_allclose(
        lite3_rows.sensed["joint_pos"], rollout["joint_pos"], rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        lite3_rows.sensed["joint_vel"], rollout["joint_vel"], rtol=0, atol=1e-5
    )


def test_the_last_action_is_the_replay_s_own_and_soon_the_recorded_one(
    lite3_rows: Rows, rollout: Arrays
) -> None:
    obs, actions = lite3_rows.inputs["obs"], lite3_rows.outputs["actions"].astype(np.float32)
    assert not obs[0, LAST_ACTION].any()
    assert np.array_equal(obs[1:, LAST_ACTION], actions[:-1])
    assert np.abs(actions[0] - rollout["action"][0]).max() > 0.1
    np.testing.assert_allclose(
        actions[FORGOTTEN:], rollout["action"][FORGOTTEN:], rtol=0, atol=2e-5
    )


@pytest.mark.parametrize(
    "other", ["bag_sqlite3", "bag_mcap/bag_mcap.mcap", "bag_sqlite3/bag_sqlite3.db3"]
)
def test_every_storage_gives_the_same_rows(
    lite3_rows: Rows, lite3_data: Path, lite3_bundle: JointBundle, other: str
) -> None:
    found = read_rows(lite3_data / other, lite3_bundle)

    for ours, theirs in ((found.inputs, lite3_rows.inputs), (found.outputs, lite3_rows.outputs)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert np.array_equal(found.sensed["joint_pos"], lite3_rows.sensed["joint_pos"])


@pytest.mark.parametrize("bag", ["bag_mcap", "bag_sqlite3"])
def test_a_healthy_recording_shows_its_topics_and_nothing_suspicious(
    lite3_data: Path, bag: str
) -> None:
    report = inspect_path(lite3_data / bag)

    rows = dict(report.rows)
    assert {"4001", "200.0"} <= {*str(rows["/joint_states"]).split()}
    assert rows["/imu/data frame"] == "imu_link"
    assert report.suspicions == []
