# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are taken for a policy's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools.bags.bag import Bag
from model_tools.bags.topics import find_topics
from model_tools.errors import ToolError

from ..small_bag import S, command, imus, joint_states, write_bag

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
        return find_topics(Bag(bag), TYPES, {name.replace("_data", "/data"): topic
                                             for name, topic in given.items()})  # fmt: skip

    return among


@pytest.mark.parametrize("namespace", ["", "/robot", "/fleet/robot_2"])
def test_topics_are_found_by_name_in_any_namespace(find: Find, namespace: str) -> None:
    found = find(f"{namespace}/joint_states", f"{namespace}/imu/data", f"{namespace}/cmd_vel")

    assert found == {name: f"{namespace}/{name}" for name in TYPES}


def test_the_only_namespace_with_all_inputs_is_taken(find: Find) -> None:
    found = find("/joint_states /leader/joint_states", "/imu/data /other/imu/data", "/cmd_vel")

    assert found == {name: f"/{name}" for name in TYPES}


def test_the_user_may_put_topics_of_several_namespaces_together(find: Find) -> None:
    found = find("/a/joint_states", "/b/imu/data", joint_states="/a/joint_states")

    assert found == {"joint_states": "/a/joint_states", "imu/data": "/b/imu/data"}


def test_the_end_of_a_word_is_no_name(find: Find) -> None:
    assert find("/joint_states /old_joint_states", "/imu/data")["joint_states"] == "/joint_states"


def test_topics_of_other_names_are_those_that_the_user_says(find: Find) -> None:
    found = find("/joints /joint_states", "/imu", joint_states="/joints", imu_data="imu")

    assert found == {"joint_states": "/joints", "imu/data": "/imu"}


def test_of_several_topics_with_the_name_only_one_has_the_type(find: Find) -> None:
    assert find("/joint_states", "/imu/data /raw/joint_states")["joint_states"] == "/joint_states"


@pytest.mark.parametrize(("joints", "imu", "given", "message"), [
    ("/a/joint_states /b/joint_states", "/imu/data", {},
     "expected one topic for the input joint_states, found /a/joint_states, /b/joint_states; "
     "choose one with --topic joint_states=/a/joint_states"),
    ("/joints", "/imu/data", {},
     r"expected messages of the input joint_states \(sensor_msgs/msg/JointState\), found those of "
     "/imu/data, /joints; it may be --topic joint_states=/joints"),
    ("", "/imu/data", {}, "found those of /imu/data$"),
    ("/a/joint_states", "/b/imu/data", {},
     "inputs of the policy in one namespace, as of one robot, found /a/joint_states, /b/imu/data; "
     "name those that belong together, as --topic joint_states=/a/joint_states"),
    ("", "/imu/data /joint_states", {},
     "/joint_states: expected sensor_msgs/msg/JointState for the input joint_states, found "
     "sensor_msgs/msg/Imu"),
    ("/joint_states", "/imu/data", {"joint_states": "/imu/data"},
     "/imu/data: expected sensor_msgs/msg/JointState"),
    ("/joint_states", "/imu/data", {"joint_states": "/gone"},
     "expected messages on /gone, found them on /imu/data, /joint_states"),
    ("/joint_states", "/imu/data", {"odom": "/odom"},
     r"inputs of the policy \(joint_states, imu/data, cmd_vel\), found one for odom"),
])  # fmt: skip
def test_topics_that_do_not_fit_are_refused(
    find: Find, joints: str, imu: str, given: dict[str, str], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        find(joints, imu, **given)
