# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are taken for a policy's inputs, and in which order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.ordering import Ordering, StampedMessage
from model_tools.files.bags.topics import find_topics
from model_tools.files.row_files import BagSource
from policy_core.bundle.bundle import JointBundle
from testkit.bags import MS, S, Said, in_log, write_bag
from testkit.wording import refusal

from ...small_bag import command, every, imus, joint_states

TYPES = {
    "joint_states": ["sensor_msgs/msg/JointState"],
    "imu/data": ["sensor_msgs/msg/Imu"],
    "cmd_vel": ["geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"],
}
Find = Callable[..., dict[str, str]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
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
        (
            *(f"/fleet/robot_2/{name}" for name in TYPES),
            {},
            {name: f"/fleet/robot_2/{name}" for name in TYPES},
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


RATES = 2.0 * np.pi * np.array([1.3, 1.7])
NOISE_RAD, NOISE_RAD_S = 0.003, 0.3
STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


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


ONE, OTHER = swinging(every(10, 1000, 9000)), swinging(every(10, 1003, 9000), since_s=5.3)
BEFORE, AFTER = (
    swinging(every(10, 1000, 11000)),
    swinging(every(10, 11013, 20000), shift_ns=-5 * S),  # stamps and log are 5 s too early
)
LONG, NOW_AND_THEN = (
    swinging(every(10, 1000, 30000)),
    swinging(every(10, 15003, 20000), since_s=5.3),
)


@STORAGES
@pytest.mark.parametrize(
    "said",
    [
        in_log([*ONE, *OTHER]),
        in_log([*LONG, *NOW_AND_THEN]),
        [*BEFORE, *AFTER],
        in_log([*BEFORE, *AFTER]),  # where the order of writing is lost, the joints tell
    ],
    ids=["two robots", "in turns", "clock set back", "clock set back, sorted"],
)
def test_two_robots_on_one_topic_or_a_clock_that_was_set_back_are_refused(
    tiny: JointBundle, tmp_path: Path, storage: StoragePlugin, said: list[Said]
) -> None:
    with refusal(ToolError):
        BagSource(tiny, write_bag(tmp_path / "bag", said, storage))


@STORAGES
def test_parts_may_be_written_in_any_order(
    tiny: JointBundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    first, second = (swinging(every(10, *ends)) for ends in ((1000, 5000), (5010, 9000)))

    bag = write_bag(tmp_path / "bag", [*second, *first], storage)
    assert BagSource(tiny, bag).count == 401


def test_positions_that_are_repeated_are_read(tiny: JointBundle, tmp_path: Path) -> None:
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

    assert BagSource(tiny, write_bag(tmp_path / "bag", said)).count == 1001


HOLD_NS = 100 * MS


def stamped(name: str, *times_ms: int) -> list[StampedMessage]:
    return [StampedMessage(name, S + ms * MS, 7 * S + ms, b"") for ms in times_ms]


def unstamped(name: str, published_after_ms: int) -> StampedMessage:
    return StampedMessage(name, 0, 7 * S + published_after_ms, b"")


def given(ordering: Ordering, *, rest: bool = False) -> list[tuple[str, int]]:
    return [(arrival.name, (arrival.time_ns - S) // MS) for arrival in ordering.ready(rest=rest)]


def test_messages_wait_until_none_from_before_can_come() -> None:
    ordering = Ordering(["a", "b"], HOLD_NS)
    ordering.put([*stamped("a", 0, 10, 20), *stamped("b", 5)])

    assert given(ordering) == []
    ordering.put(stamped("b", 15, 110))
    assert given(ordering) == [("a", 0), ("b", 5), ("a", 10)]
    assert given(ordering, rest=True) == [("b", 15), ("a", 20), ("b", 110)]


def test_nothing_is_given_before_every_needed_input_is_there() -> None:
    ordering = Ordering(["a", "b"], HOLD_NS)
    ordering.put(stamped("a", 0, 500))

    assert given(ordering) == []
    assert ordering.missing == ["b"]
    ordering.put(stamped("b", 20))
    assert given(ordering) == [("a", 0), ("b", 20)]


def test_what_comes_too_late_is_left_out_and_counted() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([*stamped("a", 0, 200), *stamped("b", 50)])
    assert given(ordering) == [("a", 0), ("b", 50)]

    ordering.put([*stamped("b", 60, 120), *stamped("c", 40)])

    assert ordering.late == {"c": 1}
    assert given(ordering, rest=True) == [("b", 60), ("b", 120), ("a", 200)]


def test_repeated_and_earlier_stamps_are_not_new() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    said = stamped("a", 0, 20, 20, 10, 30)
    ordering.put(message._replace(published_ns=i) for i, message in enumerate(said))

    assert given(ordering, rest=True) == [("a", 0), ("a", 20), ("a", 30)]
    assert not ordering.late


def test_stamps_that_begin_again_end_the_order() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put(
        [
            *stamped("a", 5000),
            StampedMessage("a", S, 13 * S, b""),
            StampedMessage("a", S + 10 * MS, 13 * S + 1, b""),
        ]
    )

    assert ordering.restarted == "a"
    assert given(ordering, rest=True) == [("a", 5000)]


def test_what_has_no_stamp_goes_by_those_published_before_and_after_it() -> None:
    """The publisher's clock may be another one, and go at another speed."""
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([*stamped("a", 10, 20), unstamped("b", 5), unstamped("b", 16), unstamped("b", 24)])

    assert given(ordering) == []
    ordering.put(stamped("a", 30))
    assert given(ordering, rest=True) == [
        ("a", 10),
        ("b", 10),
        ("b", 16),
        ("a", 20),
        ("b", 24),
        ("a", 30),
    ]


def test_where_nothing_has_stamps_the_time_of_publishing_counts() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([unstamped("a", 20), unstamped("a", 10)])

    assert [arrival.time_ns for arrival in ordering.ready(rest=True)] == [7 * S + 10, 7 * S + 20]
