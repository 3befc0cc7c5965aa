# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sent messages read back as the intended values, within limits."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import yaml

from lerobot_bridge.limits import ActionLimits
from lerobot_bridge.mapping import ARRAYS, JOINT_COMMAND, JOINT_STATE, RobotMapping, Source
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.outgoing import Empty, Outgoing
from lerobot_bridge.to_bag.messages import empty_messages
from lerobot_bridge.values import SourceReader
from policy_core.errors import RobotError
from policy_inference.flight.message_types import message_types
from testkit.wording import refusal

STAMP_NS = 12_000_000_345
JOINTS = yaml.safe_load("""
pan: {unit: degrees, ros_name: Rotation, stiffness: 17, damping: 1, effort_limit: 2}
gripper:
  {unit: range_0_100, low_rad: -0.2, high_rad: 1.8, stiffness: 9, damping: 0.5, effort_limit: 1}
""")
FREE = {"free": {"unit": "degrees", "stiffness": 1.0, "damping": 1.0}}
"""Without a limit of its effort."""


def of_recordings() -> Empty:
    return empty_messages(message_types())


def of_rclpy() -> Empty:
    pytest.importorskip("sensor_msgs.msg", reason="no ROS is sourced")

    def empty(name: str) -> Any:
        package, _, kind = name.split("/")
        return getattr(import_module(f"{package}.msg"), kind)()

    return empty


@pytest.fixture(params=[of_recordings, of_rclpy])
def empty_message(request: pytest.FixtureRequest) -> Empty:
    made: Callable[[], Empty] = request.param
    return made()


def mapping_that_sends(*sources: dict[str, Any], joints: Any = JOINTS) -> RobotMapping:
    return parse_mapping(
        {
            "schema_version": 1,
            "robot_type": "arm",
            "rate_hz": 20,
            "joints": joints,
            "vectors": {f"observation.part{i}": [source] for i, source in enumerate(sources)},
        },
        "mapping.yaml",
    )


def sources_of(mapping: RobotMapping) -> list[Source]:
    return [source for sources in mapping.vectors.values() for source in sources]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "sensor_msgs/msg/JointState"},
        {"type": "sensor_msgs/msg/JointState", "joints": ["gripper", "pan"], "quantity": "effort"},
        {"type": "sensor_msgs/msg/JointState", "joints": ["pan"], "quantity": "velocity"},
        {"type": "policy_msgs/msg/JointCommand"},
        {"type": "trajectory_msgs/msg/JointTrajectory", "joints": ["gripper", "pan"]},
        {"type": "std_msgs/msg/Float64MultiArray", "joints": ["gripper", "pan"]},
        {"type": "std_msgs/msg/Float32MultiArray", "joints": ["gripper", "pan"]},
        {
            "type": "std_msgs/msg/Float64MultiArray",
            "fields": {"b.pos": "data[1]", "a.pos": "data[0]"},
        },
        {
            "type": "geometry_msgs/msg/Twist",
            "degrees": ["w.vel"],
            "fields": {"x.vel": "linear.x", "w.vel": "angular.z"},
        },
        {"type": "geometry_msgs/msg/TwistStamped", "fields": {"x.vel": "twist.linear.x"}},
        {
            "type": "nav_msgs/msg/Odometry",
            "fields": {"x.vel": "twist.twist.linear.x", "c": "pose.covariance[3]"},
        },
    ],
)
def test_what_is_sent_is_read_again(source: dict[str, Any], empty_message: Empty) -> None:
    mapping = mapping_that_sends({"topic": "t", **source})
    (mine,) = sources_of(mapping)
    outgoing, reader = Outgoing(mapping, [mine], empty_message), SourceReader(mapping, mine)
    assert outgoing.names == reader.names
    values = np.linspace(31.0, 47.0, len(outgoing.names))
    message = outgoing.message(values, STAMP_NS)
    np.testing.assert_allclose(reader.read(message), values, rtol=1e-6)
    if hasattr(message, "header"):
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 345)


def test_sources_of_one_topic_share_a_message(empty_message: Empty) -> None:
    state = {"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}
    mapping = mapping_that_sends(
        {**state, "joints": ["pan"]},
        {**state, "joints": ["gripper"]},
        {**state, "joints": ["pan"], "quantity": "velocity"},
    )
    sources = sources_of(mapping)
    message = Outgoing(mapping, sources, empty_message).message(np.array([90.0, 50.0, 180.0]), 0)
    assert list(message.name) == ["Rotation", "gripper"]
    np.testing.assert_allclose(message.position, [np.pi / 2, 0.8])
    np.testing.assert_allclose(message.velocity, [np.pi, np.nan])
    read = [SourceReader(mapping, source).read(message)[0] for source in sources]
    np.testing.assert_allclose(read, [90.0, 50.0, 180.0])


def test_a_joint_command_is_complete(empty_message: Empty) -> None:
    mapping = mapping_that_sends({"topic": "joint_command", "type": "policy_msgs/msg/JointCommand"})
    outgoing = Outgoing(mapping, sources_of(mapping), empty_message, valid_for_s=1.5)
    numbers = [outgoing.message(np.array([90.0, 50.0]), STAMP_NS).sequence for _ in range(3)]
    assert numbers == [0, 1, 2]
    message = outgoing.message(np.array([90.0, 50.0]), STAMP_NS)
    assert list(message.names) == ["Rotation", "gripper"]
    assert (message.stamp.sec, message.stamp.nanosec) == (12, 345)
    assert (message.valid_for.sec, message.valid_for.nanosec) == (1, 500_000_000)
    assert message.mode == 3
    rows: dict[str, list[float]] = {
        "position": [np.pi / 2, 0.8],
        "velocity": [0, 0],
        "effort": [0, 0],
        "stiffness": [17, 9],
        "damping": [1, 0.5],
        "effort_limit": [2, 1],
    }
    for field, expected in rows.items():
        np.testing.assert_allclose(getattr(message, field), expected)


def test_a_trajectory_takes_one_period(empty_message: Empty) -> None:
    mapping = mapping_that_sends({"topic": "t", "type": "trajectory_msgs/msg/JointTrajectory"})
    message = Outgoing(mapping, sources_of(mapping), empty_message).message(np.array([0.0, 0.0]), 0)
    (point,) = message.points
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 50_000_000)


def test_nan_is_refused(empty_message: Empty) -> None:
    mapping = mapping_that_sends({"topic": "t", "type": JOINT_STATE})
    outgoing = Outgoing(mapping, sources_of(mapping), empty_message)
    with refusal(RobotError):
        outgoing.message(np.array([0.0, np.nan]), 0)


@pytest.mark.parametrize(
    ("source", "joints"),
    [
        ({"type": "geometry_msgs/msg/Twist", "fields": {"x.vel": "linear.u"}}, JOINTS),
        ({"type": ARRAYS[0], "fields": {"b.pos": "data[1]"}}, JOINTS),
        ({"type": JOINT_COMMAND}, FREE),
    ],
    ids=["a field that the message lacks", "a gap in an array", "a joint without gains"],
)
def test_what_no_message_can_hold_is_refused(
    source: dict[str, Any], joints: dict[str, Any], empty_message: Empty
) -> None:
    mapping = mapping_that_sends({"topic": "t", **source}, joints=joints)
    with refusal(RobotError):
        Outgoing(mapping, sources_of(mapping), empty_message)


def mapping_of_lift(joint: dict[str, Any], **more: Any) -> RobotMapping:
    state = {"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}
    return parse_mapping(
        {
            "schema_version": 1,
            "robot_type": "arm",
            "rate_hz": 20,
            "joints": {"lift": joint},
            "vectors": {"observation.state": [state]},
            "command": [
                {"topic": "command", "type": "std_msgs/msg/Float64MultiArray", "joints": ["lift"]}
            ],
            **more,
        },
        "mapping.yaml",
    )


def limited_lift(joint: dict[str, Any], asked: float, measured: float) -> tuple[Any, bool]:
    values, clipped = ActionLimits(mapping_of_lift(joint)).apply(
        {"lift.pos": asked}, {"lift.pos": measured}
    )
    assert set(clipped) <= {"lift.pos"}
    return values["lift.pos"], bool(clipped)


DEGREES = {"unit": "degrees", "position_min": -math.pi / 2, "position_max": math.pi}
UNBOUNDED = {"unit": "degrees", "max_relative_target": math.pi / 6}
RANGE = {"unit": "range_0_100", "low_rad": -0.2, "high_rad": 1.8, "max_relative_target": 0.5}


@pytest.mark.parametrize(
    ("joint", "asked", "measured", "expected"),
    [
        ({**DEGREES, "max_relative_target": 1.0}, 12.3, 0.0, 12.3),
        (DEGREES, -91.0, 0.0, -90.0),
        (DEGREES, 181.0, 0.0, 180.0),
        ({**DEGREES, "sign": -1}, 120.0, 0.0, 90.0),
        ({**DEGREES, "sign": -1}, -200.0, 0.0, -180.0),
        (UNBOUNDED, 90.0, 30.0, 60.0),
        (UNBOUNDED, -90.0, 30.0, 0.0),
        (RANGE, 100.0, 10.0, 35.0),
        ({**DEGREES, "max_relative_target": math.pi / 18}, 300.0, 220.0, 210.0),
    ],
    ids=[
        "within",
        "below",
        "above",
        "above, counted down",
        "below, counted down",
        "step up",
        "step down",
        "step in a range",
        "led back from beyond the limits",
    ],
)
def test_an_action_ends_at_limits_and_a_step_from_the_measured_position(
    joint: dict[str, Any], asked: float, measured: float, expected: float
) -> None:
    assert limited_lift(joint, asked, measured) == (pytest.approx(expected), asked != expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"x.vel": 1e6, "turn.vel": -1e6}, {"x.vel": 0.5, "turn.vel": -90.0}),
        ({"x.vel": -0.25, "turn.vel": 45.0}, {"x.vel": -0.25, "turn.vel": 45.0}),
    ],
)
def test_fields_end_at_their_limits_in_lerobot_s_units(
    asked: dict[str, float], expected: dict[str, float]
) -> None:
    mapping = mapping_of_lift(
        DEGREES,
        command=[
            {
                "topic": "cmd_vel",
                "type": "geometry_msgs/msg/Twist",
                "degrees": ["turn.vel"],
                "fields": {"x.vel": "linear.x", "turn.vel": "angular.z"},
                "limits": {"x.vel": [-0.25, 0.5], "turn.vel": [-90, 90]},
            }
        ],
    )
    values, clipped = ActionLimits(mapping).apply(asked, {})
    assert values == expected
    assert set(clipped) == {name for name in asked if asked[name] != expected[name]}


@pytest.mark.parametrize("action", [{}, {"lift.pos": 0.0, "pan.pos": 0.0}, {"lift": 0.0}])
def test_names_must_be_those_of_the_action(action: dict[str, float]) -> None:
    with refusal(RobotError):
        ActionLimits(mapping_of_lift(DEGREES)).apply(action, {})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_sent(value: float) -> None:
    with refusal(RobotError):
        ActionLimits(mapping_of_lift(DEGREES)).apply({"lift.pos": value}, {})


def test_a_limited_step_needs_a_measured_position() -> None:
    velocity = {
        "topic": "joint_states",
        "type": "sensor_msgs/msg/JointState",
        "quantity": "velocity",
    }
    mapping = mapping_of_lift(
        {"unit": "degrees", "max_relative_target": 0.1}, vectors={"observation.state": [velocity]}
    )
    with refusal(RobotError):
        ActionLimits(mapping)
