# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorded walk of a real policy: from its bag come the rows that were recorded with it.

The recording begins while the policy walks, and a replay begins with no last action: actions are
those of the recording after a few ticks, as soon as the policy has forgotten.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from model_tools.files.row_files import read_rows
from model_tools.prove.inspect.registry import inspect_path
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.rows import Rows, play

from ...small_bag import TYPES

CONTRACT = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"
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
def bundle(lite3: Path, tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    made = tmp_path_factory.mktemp("bags") / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(lite3 / "policy.onnx", made / "policy.onnx")
    return load_bundle(made, kind=JointBundle)


@pytest.fixture(scope="module")
def rollout(lite3: Path) -> Arrays:
    recorded = dict(np.load(lite3 / "rollout_50hz.npz"))
    return {
        name: recorded[name][FIRST : LAST + 1]
        for name in ("obs", "action", "joint_pos", "joint_vel")
    }


@pytest.fixture(scope="module")
def rows(lite3: Path, bundle: JointBundle) -> Rows:
    return read_rows(lite3 / "bag_mcap", bundle)


def test_what_was_sensed_is_exactly_what_the_rollout_says(rows: Rows, rollout: Arrays) -> None:
    assert len(rows) == LAST - FIRST + 1
    assert np.array_equal(rows.inputs["obs"][:, SENSED], rollout["obs"][:, SENSED])
    np.testing.assert_allclose(rows.sensed["joint_pos"], rollout["joint_pos"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows.sensed["joint_vel"], rollout["joint_vel"], rtol=0, atol=1e-5)


def test_with_the_recorded_last_action_the_model_says_what_was_recorded(
    rows: Rows, rollout: Arrays, bundle: JointBundle
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
    np.testing.assert_allclose(
        actions[FORGOTTEN:], rollout["action"][FORGOTTEN:], rtol=0, atol=2e-5
    )


@pytest.mark.parametrize(
    "other", ["bag_sqlite3", "bag_mcap/bag_mcap.mcap", "bag_sqlite3/bag_sqlite3.db3"]
)
def test_every_storage_gives_the_same_rows(
    rows: Rows, lite3: Path, bundle: JointBundle, other: str
) -> None:
    found = read_rows(lite3 / other, bundle)

    for ours, theirs in ((found.inputs, rows.inputs), (found.outputs, rows.outputs)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert np.array_equal(found.sensed["joint_pos"], rows.sensed["joint_pos"])


@pytest.fixture(scope="module")
def said(lite3: Path) -> list[tuple[str, str, int, bytes]]:
    """Topic, type, time in the log and bytes of each recorded message."""
    with AnyReader([lite3 / "bag_mcap"]) as reader:
        return [
            (connection.topic, connection.msgtype, log_ns, bytes(data))
            for connection, log_ns, data in reader.messages()
        ]


def copied(
    folder: Path,
    said: Sequence[tuple[str, str, int, bytes]],
    storage: StoragePlugin,
    compression: CompressionMode,
) -> Path:
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        known: dict[str, Connection] = {}
        for topic, kind, log_ns, data in said:
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(known[topic], log_ns, data)
    return folder


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_compressed_copies_give_the_recorded_rollout(
    said: Sequence[tuple[str, str, int, bytes]],
    rollout: Arrays,
    bundle: JointBundle,
    tmp_path: Path,
    storage: StoragePlugin,
    compression: CompressionMode,
) -> None:
    found = read_rows(copied(tmp_path / "copy", said, storage, compression), bundle)

    assert_recorded(found, rollout)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_copy_in_several_files_gives_the_recorded_rollout(
    said: Sequence[tuple[str, str, int, bytes]],
    rollout: Arrays,
    bundle: JointBundle,
    tmp_path: Path,
    storage: StoragePlugin,
) -> None:
    ends = [0, len(said) // 3, len(said) // 2, len(said)]
    whole = copied(tmp_path / "copy", said, storage, CompressionMode.NONE)
    (single,) = (file for file in whole.iterdir() if file.suffix != ".yaml")
    single.unlink()
    names = [f"copy_{part}{single.suffix}" for part in range(3)]
    for name, begin, end in zip(names, ends, ends[1:], strict=False):
        part = copied(tmp_path / name, said[begin:end], storage, CompressionMode.NONE)
        (part / f"{name}{single.suffix}").rename(whole / name)
    file = whole / "metadata.yaml"
    content = yaml.safe_load(file.read_text("utf-8"))
    content["rosbag2_bagfile_information"]["relative_file_paths"] = names
    file.write_text(yaml.safe_dump(content), "utf-8")

    assert_recorded(read_rows(whole, bundle), rollout)


def assert_recorded(rows: Rows, rollout: Arrays) -> None:
    """Whatever was sensed is what was recorded at the same tick; so is soon the last action."""
    obs = rows.inputs["obs"].astype(np.float32)
    np.testing.assert_allclose(obs[:, SENSED], rollout["obs"][:, SENSED], rtol=0, atol=1e-6)
    np.testing.assert_allclose(obs[FORGOTTEN:], rollout["obs"][FORGOTTEN:], rtol=0, atol=2e-5)


@pytest.mark.parametrize("bag", ["bag_mcap", "bag_sqlite3"])
def test_a_healthy_recording_shows_its_topics_and_nothing_suspicious(lite3: Path, bag: str) -> None:
    report = inspect_path(lite3 / bag)

    assert ("/joint_states", "sensor_msgs/msg/JointState, 4001 messages, 200.0 Hz") in report.rows
    assert ("/imu/data frame", "imu_link") in report.rows
    assert report.suspicions == []


def test_the_recorded_rollout_gives_the_same_joints(
    rows: Rows, lite3: Path, bundle: JointBundle
) -> None:
    recorded = read_rows(lite3 / "rollout_50hz.npz", bundle)

    np.testing.assert_allclose(
        recorded.sensed["joint_pos"][FIRST : LAST + 1], rows.sensed["joint_pos"], rtol=0, atol=1e-5
    )
