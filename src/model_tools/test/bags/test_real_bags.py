# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorded walk of a real policy: from its bag come the rows that were recorded with it.

The recording begins while the policy walks, and a replay begins with no last action: actions are
those of the recording after a few ticks, as soon as the policy has forgotten.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.inspect.registry import inspect_path
from model_tools.row_files import read_rows
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle, load_bundle
from policy_inference.comparison.rows import Rows, play

CONTRACT = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_deeprobotics"
FIRST, LAST = 100, 1100
"""Rows of the rollout that the recording covers."""
SENSED, LAST_ACTION = slice(0, 33), slice(33, 45)
FORGOTTEN = 20

pytestmark = pytest.mark.real_data
Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


@pytest.fixture(scope="module")
def lite3(shared_data: Path) -> Path:
    return shared_data / "legged" / "lite3"


@pytest.fixture(scope="module")
def bundle(lite3: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = tmp_path_factory.mktemp("bags") / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(lite3 / "policy.onnx", made / "policy.onnx")
    return load_bundle(made)


@pytest.fixture(scope="module")
def rollout(lite3: Path) -> Arrays:
    recorded = dict(np.load(lite3 / "rollout_50hz.npz"))
    return {name: recorded[name][FIRST : LAST + 1]
            for name in ("obs", "action", "joint_pos", "joint_vel")}  # fmt: skip


@pytest.fixture(scope="module")
def rows(lite3: Path, bundle: Bundle) -> Rows:
    return read_rows(lite3 / "bag_mcap", bundle)


def test_what_was_sensed_is_exactly_what_the_rollout_says(rows: Rows, rollout: Arrays) -> None:
    assert len(rows) == LAST - FIRST + 1
    assert np.array_equal(rows.inputs["obs"][:, SENSED], rollout["obs"][:, SENSED])
    np.testing.assert_allclose(rows.sensed["joint_pos"], rollout["joint_pos"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows.sensed["joint_vel"], rollout["joint_vel"], rtol=0, atol=1e-5)


def test_with_the_recorded_last_action_the_model_says_what_was_recorded(
    rows: Rows, rollout: Arrays, bundle: Bundle
) -> None:
    obs = rows.inputs["obs"].astype(np.float32)
    obs[:, LAST_ACTION] = rollout["obs"][:, LAST_ACTION]
    np.testing.assert_allclose(obs, rollout["obs"], rtol=0, atol=1e-6)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        said = play(backend, replace(rows, inputs={"obs": obs}), ())["actions"].astype(np.float32)
    finally:
        backend.close()
    np.testing.assert_allclose(said, rollout["action"], rtol=0, atol=1e-5)


def test_the_last_action_is_the_replay_s_own_and_soon_the_recorded_one(
    rows: Rows, rollout: Arrays
) -> None:
    obs, actions = rows.inputs["obs"], rows.outputs["actions"].astype(np.float32)
    assert not obs[0, LAST_ACTION].any()
    assert np.array_equal(obs[1:, LAST_ACTION], actions[:-1])
    assert np.abs(actions[0] - rollout["action"][0]).max() > 0.1
    np.testing.assert_allclose(actions[FORGOTTEN:], rollout["action"][FORGOTTEN:], rtol=0,
                               atol=2e-5)  # fmt: skip


@pytest.mark.parametrize("other", ["bag_sqlite3", "bag_mcap/bag_mcap.mcap",
                                   "bag_sqlite3/bag_sqlite3.db3"])  # fmt: skip
def test_every_storage_gives_the_same_rows(
    rows: Rows, lite3: Path, bundle: Bundle, other: str
) -> None:
    found = read_rows(lite3 / other, bundle)

    for ours, theirs in ((found.inputs, rows.inputs), (found.outputs, rows.outputs)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert np.array_equal(found.sensed["joint_pos"], rows.sensed["joint_pos"])


@pytest.mark.parametrize("bag", ["bag_mcap", "bag_sqlite3"])
def test_a_healthy_recording_shows_its_topics_and_nothing_suspicious(
    lite3: Path, bag: str
) -> None:
    report = inspect_path(lite3 / bag)

    assert ("/joint_states", "sensor_msgs/msg/JointState, 4001 messages, 200.0 Hz") in report.rows
    assert ("/imu/data frame", "imu_link") in report.rows
    assert report.suspicions == []


def test_the_recorded_rollout_gives_the_same_joints(
    rows: Rows, lite3: Path, bundle: Bundle
) -> None:
    recorded = read_rows(lite3 / "rollout_50hz.npz", bundle)

    np.testing.assert_allclose(recorded.sensed["joint_pos"][FIRST : LAST + 1],
                               rows.sensed["joint_pos"], rtol=0, atol=1e-5)  # fmt: skip
