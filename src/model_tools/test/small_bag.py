# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Short recordings of a robot with two joints, written with rosbags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TYPES = get_typestore(Stores.ROS2_JAZZY)
_PERCEIVED = "policy_msgs/msg/Perceived"
TYPES.register(
    get_types_from_msg(
        (Path(__file__).parents[2] / "policy_msgs/msg/Perceived.msg").read_text("utf-8"), _PERCEIVED
    )
)
MS, S = 1_000_000, 1_000_000_000
JOINTS = ("knee", "hip")
"""Not in the order of the tiny bundle."""

Said = tuple[str, int, Any]
"""Topic, time in the log (ns), message."""


def write_bag(
    folder: Path,
    said: Sequence[Said],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a recording; a topic has the type of its messages."""
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        known: dict[tuple[str, str], Any] = {}
        for topic, log_ns, message in said:
            kind = message.__msgtype__
            if (topic, kind) not in known:
                known[topic, kind] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(known[topic, kind], log_ns, TYPES.serialize_cdr(message, kind))
    return folder


def joint_states(
    times_ns: Sequence[int], topic: str = "/joint_states", log_ns: int = 0, **changes: Any
) -> list[Said]:
    """Say at each time t, in s: hip = t, knee = 10 t; their velocities are those plus 100."""
    said = []
    for time_ns in times_ns:
        t = time_ns / S
        fields = {
            "name": list(JOINTS),
            "position": np.array([10 * t, t]),
            "velocity": np.array([10 * t + 100, t + 100]),
            "effort": np.empty(0),
            **changes,
        }
        message = TYPES.types["sensor_msgs/msg/JointState"](header=header(time_ns), **fields)
        said.append((topic, time_ns + log_ns, message))
    return said


def imus(
    times_ns: Sequence[int], topic: str = "/imu/data", quat: Sequence[float] = (0, 0, 0, 1)
) -> list[Said]:
    """Say at each time t, in s, that the robot turns about x by t rad/s."""
    make, zeros = TYPES.types, np.zeros(9)
    vector = make["geometry_msgs/msg/Vector3"]
    return [
        (
            topic,
            time_ns,
            make["sensor_msgs/msg/Imu"](
                header=header(time_ns, "imu_link"),
                orientation=make["geometry_msgs/msg/Quaternion"](*quat),
                orientation_covariance=zeros,
                angular_velocity=vector(time_ns / S, 0.0, 0.0),
                angular_velocity_covariance=zeros,
                linear_acceleration=vector(0.0, 0.0, 9.81),
                linear_acceleration_covariance=zeros,
            ),
        )
        for time_ns in times_ns
    ]


def command(time_ns: int, vx: float, topic: str = "/cmd_vel", *, stamped: bool = False) -> Said:
    """Say a velocity command; a stamped one says its time and comes 5 ms later."""
    vector = TYPES.types["geometry_msgs/msg/Vector3"]
    twist = TYPES.types["geometry_msgs/msg/Twist"](vector(vx, 0.0, 0.0), vector(0.0, 0.0, 0.0))
    if not stamped:
        return topic, time_ns, twist
    message = TYPES.types["geometry_msgs/msg/TwistStamped"](header(time_ns), twist)
    return topic, time_ns + 5 * MS, message


def scan(time_ns: int, values: Sequence[float], topic: str = "/scan") -> Said:
    layout = TYPES.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    message = TYPES.types["std_msgs/msg/Float32MultiArray"](layout, np.array(values, np.float32))
    return topic, time_ns, message


def perceived(
    time_ns: int,
    values: Sequence[float] = (),
    problem: str = "",
    topic: str = "/perception/ground",
    frame: str = "odom",
) -> Said:
    """Say a height scan, or why there is none."""
    message = TYPES.types[_PERCEIVED](
        header(time_ns, frame), header(time_ns).stamp, problem, 0, np.array(values, np.float64)
    )
    return topic, time_ns, message


def header(time_ns: int, frame: str = "") -> Any:
    sec, nanosec = divmod(time_ns, S)
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec, nanosec)
    return TYPES.types["std_msgs/msg/Header"](stamp, frame)


def every(period_ms: int, first_ms: int, last_ms: int) -> list[int]:
    """Return times from the first to the last, both included, in ns."""
    return [time_ms * MS for time_ms in range(first_ms, last_ms + 1, period_ms)]
