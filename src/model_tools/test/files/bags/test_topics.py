# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are taken for a policy's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.topics import find_topics
from model_tools.files.row_files import BagSource
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from testkit.wording import refusal

from ...small_bag import MS, S, Said, command, every, imus, joint_states, write_bag
from ...tiny_bundle import make_bundle

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


@pytest.mark.parametrize(
    ("joints", "imu", "given", "message"),
    [
        (
            "/a/joint_states /b/joint_states",
            "/imu/data",
            {},
            "expected one topic for the input joint_states, found /a/joint_states, "
            "/b/joint_states; choose one with --topic joint_states=/a/joint_states",
        ),
        (
            "/joints",
            "/imu/data",
            {},
            r"expected messages of the input joint_states \(sensor_msgs/msg/JointState\), "
            r"found those of "
            "/imu/data, /joints; it may be --topic joint_states=/joints",
        ),
        ("", "/imu/data", {}, "found those of /imu/data$"),
        (
            "/a/joint_states",
            "/b/imu/data",
            {},
            "inputs of the policy in one namespace, as of one robot, found /a/joint_states, "
            "/b/imu/data; name those that belong together, as --topic joint_states=/a/joint_states",
        ),
        (
            "",
            "/imu/data /joint_states",
            {},
            "/joint_states: expected sensor_msgs/msg/JointState for the input joint_states, found "
            "sensor_msgs/msg/Imu",
        ),
        (
            "/joint_states",
            "/imu/data",
            {"joint_states": "/imu/data"},
            "/imu/data: expected sensor_msgs/msg/JointState",
        ),
        (
            "/joint_states",
            "/imu/data",
            {"joint_states": "/gone"},
            "expected messages on /gone, found them on /imu/data, /joint_states",
        ),
        (
            "/joint_states",
            "/imu/data",
            {"odom": "/odom"},
            r"inputs of the policy \(joint_states, imu/data, cmd_vel\), found one for odom",
        ),
    ],
)
def test_topics_that_do_not_fit_are_refused(
    find: Find, joints: str, imu: str, given: dict[str, str], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        find(joints, imu, **given)


RATES = 2.0 * np.pi * np.array([1.3, 1.7])
NOISE_RAD, NOISE_RAD_S = 0.003, 0.3
STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


@pytest.fixture
def bundle(tmp_path: Path) -> JointBundle:
    return load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle)


def swinging(
    times_ns: list[int], *, since_s: float = 0.0, shift_ns: int = 0, scale: float = 1.0
) -> list[Said]:
    """Say that both joints swing; stamps and the log are `shift_ns` later than it is."""
    random, said = np.random.default_rng(0), list[Said]()
    for time_ns in times_ns:
        angle = RATES * (time_ns / S + since_s)
        position = 0.3 * np.sin(angle) + random.normal(0.0, NOISE_RAD, 2)
        velocity = 0.3 * RATES * np.cos(angle) + random.normal(0.0, NOISE_RAD_S, 2)
        said += joint_states([time_ns + shift_ns], position=position, velocity=velocity * scale)
    return said


def in_log(*said: Said) -> list[Said]:
    return sorted(said, key=lambda entry: entry[1])


@STORAGES
def test_two_robots_on_one_topic_are_refused(
    bundle: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    one = swinging(every(10, 1000, 9000))
    other = swinging(every(10, 1003, 9000), since_s=5.3)

    with refusal(ToolError):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*one, *other), storage))


def test_robots_that_take_turns_now_and_then_are_refused(
    bundle: JointBundle, tmp_path: Path
) -> None:
    one = swinging(every(10, 1000, 30000))
    other = swinging(every(10, 15003, 20000), since_s=5.3)

    with refusal(ToolError):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*one, *other)))


@STORAGES
def test_a_clock_that_was_set_back_while_it_was_recorded_is_refused(
    bundle: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    """Both the stamps and the log of the second half are 5 s too early."""
    before = swinging(every(10, 1000, 11000))
    after = swinging(every(10, 11013, 20000), shift_ns=-5 * S)

    with refusal(ToolError):
        BagSource(bundle, write_bag(tmp_path / "bag", [*before, *after], storage))


def test_where_the_order_of_writing_is_lost_the_joints_tell(
    bundle: JointBundle, tmp_path: Path
) -> None:
    before = swinging(every(10, 1000, 11000))
    after = swinging(every(10, 11013, 20000), shift_ns=-5 * S)

    with refusal(ToolError):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*before, *after)))


@STORAGES
def test_parts_may_be_written_in_any_order(
    bundle: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    first, second = (swinging(every(10, *ends)) for ends in ((1000, 5000), (5010, 9000)))

    bag = write_bag(tmp_path / "bag", [*second, *first], storage)
    assert BagSource(bundle, bag).count == 401


@pytest.mark.parametrize("period_ms", [2, 5, 20, 25])
def test_one_robot_is_read(bundle: JointBundle, tmp_path: Path, period_ms: int) -> None:
    bag = write_bag(tmp_path / "bag", swinging(every(period_ms, 1000, 21000)))

    assert len(list(BagSource(bundle, bag).rows())) == 1001


@pytest.mark.parametrize("scale", [0.1, -1.0])
def test_velocities_that_are_wrong_show_in_the_rows(
    bundle: JointBundle, tmp_path: Path, scale: float
) -> None:
    bag = write_bag(tmp_path / "bag", swinging(every(10, 1000, 9000), scale=scale))

    assert BagSource(bundle, bag).count == 401


def test_a_robot_that_stands_is_read(bundle: JointBundle, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    said = [
        entry
        for time_ns in every(10, 1000, 9000)
        for entry in joint_states(
            [time_ns], position=random.normal(0.0, 0.01, 2), velocity=random.normal(0.0, 0.1, 2)
        )
    ]

    assert BagSource(bundle, write_bag(tmp_path / "bag", said)).count == 401


def test_positions_that_are_repeated_are_read(bundle: JointBundle, tmp_path: Path) -> None:
    """A driver that publishes four times as often as it hears of the joints."""
    random, said = np.random.default_rng(0), list[Said]()
    for number, time_ns in enumerate(every(5, 1000, 21000)):
        heard_s = (time_ns - number % 4 * 5 * MS) / S
        position = 0.3 * np.sin(RATES * heard_s)
        said += joint_states(
            [time_ns],
            position=position,
            velocity=0.3 * RATES * np.cos(RATES * heard_s) + random.normal(0.0, NOISE_RAD_S, 2),
        )

    assert BagSource(bundle, write_bag(tmp_path / "bag", said)).count == 1001
