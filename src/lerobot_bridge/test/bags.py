# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Short recordings of an arm with two joints and a camera, and its mapping."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lerobot_bridge.episode import Episode
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from testkit import bags
from testkit.bags import MS, TYPES, S, Said

START_NS = 1_000 * S
"""When recordings begin."""
NAMES = ["gripper", "wheel", "pan_joint"]
"""Not in the order of the mapping, and one more."""
STATE = {"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}
LEADER = {"topic": "leader/joint_states", "type": "sensor_msgs/msg/JointState"}


ARM: Mapping[str, Any] = yaml.safe_load("""
schema_version: 1
robot_type: arm
rate_hz: 20
joints:
  pan: {unit: degrees, ros_name: pan_joint, position_min: -2.0, position_max: 2.0}
  gripper: {unit: range_0_100, low_rad: 0.0, high_rad: 2.0}
vectors:
  observation.state: [{topic: joint_states, type: sensor_msgs/msg/JointState}]
  action: [{topic: leader/joint_states, type: sensor_msgs/msg/JointState}]
cameras:
  front: {topic: front/image_raw, height: 16, width: 24}
""")
"""A mapping at 20 Hz: pan in degrees, the gripper 0 to 100, one camera of 24 x 16."""


def arm_mapping(**changes: Any) -> RobotMapping:
    return parse_mapping({**ARM, **changes}, "mapping.yaml")


def times_ns(period_ms: float, last_ms: float, first_ms: float = 0) -> list[int]:
    """Return times from the first to the last, inclusive, in ns since the start."""
    count = math.floor((last_ms - first_ms) / period_ms + 1e-6) + 1
    return [round((first_ms + i * period_ms) * MS) for i in range(count)]


def say_joints(
    times_ns: Sequence[int],
    topic: str = "/joint_states",
    *,
    offset_rad: float = 0.0,
    stamp_ns: int = START_NS,
    **changes: Any,
) -> list[Said]:
    """Return joint states: pan at t / 10 rad plus the offset, t in s; the gripper half open."""
    said = list[Said]()
    for time_ns in times_ns:
        pan = time_ns / S / 10 + offset_rad
        fields = {
            "name": NAMES,
            "position": [1.0, 9.0, pan],
            "velocity": [0.0, 0.0, 0.1],
            "effort": [0.0, 0.0, pan],
            **changes,
        }
        message = bags.joint_state(stamp_ns + time_ns, **fields)
        said.append((topic, START_NS + time_ns, message))
    return said


def say_images(
    times_ns: Sequence[int],
    topic: str = "/front/image_raw",
    *,
    size: tuple[int, int] = (16, 24),
    encoding: str = "rgb8",
    stamp_ns: int = START_NS,
) -> list[Said]:
    """Return images with red equal to the time in units of 10 ms, green 50, blue 100."""
    return [
        (topic, START_NS + at_ns, bags.image(stamp_ns + at_ns, bags.picture(at_ns, size), encoding))
        for at_ns in times_ns
    ]


def say_compressed(
    times_ns: Sequence[int],
    topic: str = "/front/image_raw",
    *,
    end: str = ".png",
    size: tuple[int, int] = (16, 24),
) -> list[Said]:
    """Return the same images as PNG or JPEG."""
    return [
        (
            topic,
            START_NS + at_ns,
            bags.compressed_image(START_NS + at_ns, bags.picture(at_ns, size), end),
        )
        for at_ns in times_ns
    ]


def break_image(said: Said) -> Said:
    topic, log_ns, message = said
    message.data = message.data.copy()
    message.data[45:-20] = 0
    return topic, log_ns, message


def mark(
    time_ns: int,
    kind: str,
    *,
    topic: str = "/episode_marks",
    episode: int = 0,
    task: str = "",
    tags: Sequence[str] = (),
    stamp_ns: int | None = None,
) -> Said:
    """Return an episode mark: a beginning, an end or a verdict.

    Its stamp has the time of the log unless another is given (0: none).
    """
    make = TYPES.types["policy_msgs/msg/EpisodeMark"]
    stamp = bags.stamp(START_NS + time_ns if stamp_ns is None else stamp_ns)
    return (
        topic,
        START_NS + time_ns,
        make(stamp, getattr(make, kind), episode=episode, task=task, tags=list(tags)),
    )


def twist(time_ns: int, x: float, topic: str = "/cmd_vel") -> Said:
    return topic, START_NS + time_ns, bags.twist(x)


def say_arm(last_ms: float = 1000) -> list[Said]:
    """Return all messages of the mapping: joints every 10 ms, images every 50 ms."""
    return [
        *say_joints(times_ns(10, last_ms)),
        *say_joints(times_ns(10, last_ms), "/leader/joint_states", offset_rad=0.05),
        *say_images(times_ns(50, last_ms)),
    ]


def write_rosbag(folder: Path, said: Sequence[Said], *layout: Any) -> Path:
    return bags.write_bag(folder, bags.in_log(said), *layout)


def episode_of(bag: Path, **changes: Any) -> Episode:
    return Episode(**{"bag": bag, "task": "wave", **changes})


def leave_out(said: Sequence[Said], topic: str, begin_ms: float, end_ms: float) -> list[Said]:
    return [
        each
        for each in said
        if each[0] != topic or not begin_ms * MS <= each[1] - START_NS < end_ms * MS
    ]


def state_source(**fields: Any) -> Mapping[str, Any]:
    return {**STATE, **fields}
