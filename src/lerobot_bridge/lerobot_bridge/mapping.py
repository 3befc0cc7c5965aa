# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A mapping: assigns topics and fields to LeRobot features.

One mapping serves all uses: conversion of recordings to datasets and back, and control of the robot
by LeRobot. Values have LeRobot's names (`shoulder_pan.pos`) and the units of the dataset; ROS uses
rad, m and s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from policy_core.bundle.chunk_contract import JointUnit, Pairing
from policy_core.bundle.schema import entry

ACTION, STATE, IMAGES = "action", "observation.state", "observation.images."
JOINT_STATE, JOINT_COMMAND = "sensor_msgs/msg/JointState", "policy_msgs/msg/JointCommand"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
ARRAYS = ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float32MultiArray")
TWISTS = ("geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped")
IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
NAMED = (JOINT_STATE, JOINT_COMMAND, TRAJECTORY)
"""Message types that name the joint of each value."""
SENT = (*NAMED, *ARRAYS, *TWISTS)
"""Message types that can be sent as commands."""
SUFFIXES = {"position": "pos", "velocity": "vel", "effort": "eff"}
"""Suffixes of LeRobot's value names, by quantity, as in shoulder_pan.pos."""

_TOPIC = r"^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$"
_TYPE = r"^[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*$"
NAME = r"^[A-Za-z0-9_]+$"
"""Pattern for robot types and camera names."""
_STEP = re.compile(r"([a-z0-9_]+)(?:\[(\d+)\])?")
_RANGE = re.compile(r"(.+)\[(\d{1,6}):(\d{1,6})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint(JointUnit):
    """A joint: its limits, and how to interpret LeRobot's values for it.

    Positions are converted as `JointUnit` defines. Velocities are converted by sign and factor, for
    joints in radians or degrees only. Efforts are in N·m on both sides.
    """

    ros_name: str | None = entry(
        "name in ROS messages; if absent, the name in LeRobot", default=None
    )
    position_min: float | None = entry("lowest position to command, rad", default=None)
    position_max: float | None = entry("highest position to command, rad", default=None)
    max_relative_target: float | None = entry(
        "largest distance between a commanded position and the measured one, rad",
        default=None,
        exclusiveMinimum=0,
    )
    stiffness: float | None = entry(
        "position gain for JointCommand, N·m/rad", default=None, minimum=0
    )
    damping: float | None = entry(
        "velocity gain for JointCommand, N·m·s/rad", default=None, minimum=0
    )
    effort_limit: float | None = entry(
        "torque limit for JointCommand, N·m", default=None, minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A topic and the values in its messages: joints, or fields by value name."""

    topic: str = entry("topic, relative or absolute", pattern=_TOPIC)
    type: str = entry("type of its messages: sensor_msgs/msg/JointState", pattern=_TYPE)
    joints: tuple[str, ...] | None = entry(
        "joints, in the order of the values; all if neither joints nor fields are given",
        default=None,
        minItems=1,
    )
    fields: dict[str, str] | None = entry(
        "message field for each value name: {x.vel: twist.linear.x}; in ROS's units; "
        "{scan: 'data[0:187]'} means scan.0 to scan.186",
        default=None,
        minProperties=1,
    )
    degrees: tuple[str, ...] = entry(
        "values of `fields` that are in degrees or degrees/s in LeRobot, but in rad or rad/s in "
        "ROS",
        default=(),
    )

    def __post_init__(self) -> None:
        """Replace each range of elements by the elements' names."""
        if self.fields is not None:
            fields = dict(each for item in self.fields.items() for each in _in_range(*item))
            object.__setattr__(self, "fields", fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Channel):
    """A topic with values, and the rule that selects its messages.

    A frame exists if the newest message before it is usable: with `hold`, at any age; with `as_of`,
    up to the tolerance; with `drop`, if it arrived within the last period. `pairing` selects which
    message the frame gets; with `hold`, that is always the newest.
    """

    quantity: Literal["position", "velocity", "effort"] = entry(
        "joint quantity to read", default="position"
    )
    resample: Literal["hold", "as_of", "drop"] = entry(
        "rule that selects the message for a frame", default="as_of"
    )
    tolerance_s: float | None = entry(
        "maximum age of a message under the rule as_of, s; two periods if absent",
        default=None,
        exclusiveMinimum=0,
    )
    stamp: Literal["header", "received"] = entry(
        "source of a message's time; header falls back to the arrival time if the message has no "
        "stamp",
        default="header",
    )
    timeout_s: float = entry(
        "age of the newest message above which a live robot is considered lost, s",
        default=0.5,
        exclusiveMinimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChannel(Channel):
    """A topic to which values are sent, and its fields' limits; joints have their own limits."""

    limits: dict[str, tuple[float, ...]] = entry(
        "lowest and highest value to send for each of `fields`, in LeRobot's units: "
        "{x.vel: [-0.3, 0.3]}; required for every value of a Twist, which nothing else limits",
        default={},
        length=2,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSource:
    """A camera; its messages are sensor_msgs/Image or CompressedImage."""

    topic: str = entry("topic of the images", pattern=_TOPIC)
    height: int = entry("height of the images, pixels", minimum=1, maximum=8192)
    width: int = entry("width of the images, pixels", minimum=1, maximum=8192)
    resize: bool = entry("true: images of a different size are stretched to fit", default=False)
    resample: Literal["hold", "as_of", "drop"] = entry(
        "rule that selects the image for a frame", default="as_of"
    )
    tolerance_s: float | None = entry(
        "maximum age of an image under the rule as_of, s; two periods if absent",
        default=None,
        exclusiveMinimum=0,
    )
    stamp: Literal["header", "received"] = entry(
        "source of an image's time; header falls back to the arrival time if the message has no "
        "stamp",
        default="header",
    )
    timeout_s: float = entry(
        "age of the newest image above which a live camera is considered lost, s",
        default=0.5,
        exclusiveMinimum=0,
    )

    @property
    def types(self) -> tuple[str, str]:
        return IMAGE, COMPRESSED_IMAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotMapping:
    """Maps a ROS 2 robot's topics to LeRobot features."""

    schema_version: Literal[1] = entry("1")
    robot_type: str = entry("robot_type of datasets: so_follower", pattern=NAME)
    rate_hz: int = entry("frames per second", minimum=1, maximum=1000)
    joints: dict[str, Joint] = entry("joints, by their names in LeRobot without .pos", default={})
    vectors: dict[str, tuple[Source, ...]] = entry(
        "numeric features: observation.state, action, others", minProperties=1
    )
    cameras: dict[str, CameraSource] = entry(
        "cameras by name: the feature is observation.images.NAME", default={}
    )
    pairing: Pairing = entry(
        "which images and values form a frame; same as in a policy's contract", default=Pairing()
    )
    command: tuple[CommandChannel, ...] = entry(
        "topics to which LeRobot's actions are sent; absent if LeRobot only observes", default=()
    )
    max_gap_frames: int = entry(
        "consecutive frames that may be missing inside an episode; a longer gap ends it",
        default=1,
        minimum=0,
    )

    def names(self, feature: str) -> tuple[str, ...]:
        return tuple(
            name
            for source in self.vectors[feature]
            for name in self.value_names(source, source.quantity)
        )

    @property
    def command_names(self) -> tuple[str, ...]:
        return tuple(name for channel in self.command for name in self.value_names(channel))

    def value_names(self, channel: Channel, quantity: str = "position") -> tuple[str, ...]:
        if channel.fields is not None:
            return tuple(channel.fields)
        return tuple(f"{joint}.{SUFFIXES[quantity]}" for joint in self.select_joints(channel))

    def select_joints(self, channel: Channel) -> tuple[str, ...]:
        """Return LeRobot's names for a channel's joints; none if the channel has fields."""
        if channel.fields is not None:
            return ()
        return tuple(self.joints) if channel.joints is None else channel.joints

    def ros_name(self, joint: str) -> str:
        return self.joints[joint].ros_name or joint

    @property
    def period_ns(self) -> int:
        return round(1e9 / self.rate_hz)

    def tolerance_ns(self, source: Source | CameraSource) -> int:
        """Return the maximum age of a usable message with `as_of`, ns."""
        if source.tolerance_s is None:
            return 2 * self.period_ns
        return round(source.tolerance_s * 1e9)


def _in_range(name: str, path: str) -> list[tuple[str, str]]:
    """Return the value names and paths that a field with a range stands for."""
    found = _RANGE.fullmatch(path)
    places = range(int(found[2]), int(found[3])) if found else ()
    if found is None or not places:
        return [(name, path)]
    return [(f"{name}.{place - places[0]}", f"{found[1]}[{place}]") for place in places]


def field_steps(path: str) -> list[tuple[str, int | None]]:
    """Return the names and list indices that lead to a field like twist.linear.x or data[2]."""
    return [(name, int(place) if place else None) for name, place in _STEP.findall(path)]
