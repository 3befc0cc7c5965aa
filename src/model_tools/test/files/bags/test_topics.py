# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are taken for a policy's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.topics import find_topics
from model_tools.files.row_files import BagSource
from policy_core.bundle.bundle import JointBundle
from testkit.wording import refusal

from ...small_bag import S, command, every, imus, joint_states, write_bag

TYPES = {
    "joint_states": ["sensor_msgs/msg/JointState"],
    "imu/data": ["sensor_msgs/msg/Imu"],
    "cmd_vel": ["geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"],
}
Find = Callable[..., dict[str, str]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Find the inputs among topics with these joint states, IMUs and commands."""

    def among(joints: str, imu: str, commands: str = "", **given: str) -> dict[str, str]:
        said = [joint_states([S], topic) for topic in joints.split()]
        said += [imus([S], topic) for topic in imu.split()]
        said += [[command(S, 0.0, topic)] for topic in commands.split()]
        bag = write_bag(tmp_path / "bag", [entry for entries in said for entry in entries])
        return find_topics(
            Bag(bag),
            TYPES,
            {name.replace("_data", "/data"): topic for name, topic in given.items()},
        )

    return among


@pytest.mark.parametrize(
    ("joints", "imu", "commands", "given", "expected"),
    [
        *(
            (
                *(f"{space}/{name}" for name in TYPES),
                {},
                {name: f"{space}/{name}" for name in TYPES},
            )
            for space in ("", "/robot", "/fleet/robot_2")
        ),
        # The only namespace with all inputs.
        (
            "/joint_states /leader/joint_states",
            "/imu/data /other/imu/data",
            "/cmd_vel",
            {},
            {name: f"/{name}" for name in TYPES},
        ),
        # Those that the user says.
        (
            "/a/joint_states",
            "/b/imu/data",
            "",
            {"joint_states": "/a/joint_states"},
            {"joint_states": "/a/joint_states", "imu/data": "/b/imu/data"},
        ),
        (
            "/joints /joint_states",
            "/imu",
            "",
            {"joint_states": "/joints", "imu_data": "imu"},
            {"joint_states": "/joints", "imu/data": "/imu"},
        ),
        # The end of a word is no name, and a topic of another type is not meant.
        *(
            (joints, imu, "", {}, {"joint_states": "/joint_states", "imu/data": "/imu/data"})
            for joints, imu in (
                ("/joint_states /old_joint_states", "/imu/data"),
                ("/joint_states", "/imu/data /raw/joint_states"),
            )
        ),
    ],
)
def test_topics_are_found_by_name_in_any_namespace_or_as_they_are_given(
    find: Find,
    joints: str,
    imu: str,
    commands: str,
    given: dict[str, str],
    expected: dict[str, str],
) -> None:
    assert find(joints, imu, commands, **given) == expected


@pytest.mark.parametrize(
    ("joints", "imu", "given"),
    [
        ("/a/joint_states /b/joint_states", "/imu/data", {}),
        ("/joints", "/imu/data", {}),
        ("", "/imu/data", {}),
        ("/a/joint_states", "/b/imu/data", {}),
        ("", "/imu/data /joint_states", {}),
        ("/joint_states", "/imu/data", {"joint_states": "/imu/data"}),
        ("/joint_states", "/imu/data", {"joint_states": "/gone"}),
        ("/joint_states", "/imu/data", {"odom": "/odom"}),
    ],
)
def test_topics_that_do_not_fit_are_refused(
    find: Find, joints: str, imu: str, given: dict[str, str]
) -> None:
    with refusal(ToolError):
        find(joints, imu, **given)


STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


@STORAGES
def test_a_clock_that_was_set_back_is_refused(
    tiny: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    said = joint_states([*every(10, 1000, 11000), *every(10, 6013, 15000)])

    with refusal(ToolError):
        BagSource(tiny, write_bag(tmp_path / "bag", said, storage))


@STORAGES
def test_parts_may_be_written_in_any_order(
    tiny: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    said = joint_states([*every(10, 5010, 9000), *every(10, 1000, 5000)])

    assert BagSource(tiny, write_bag(tmp_path / "bag", said, storage)).count == 401
