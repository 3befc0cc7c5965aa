# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Short recordings of a robot with two joints, written with rosbags."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from testkit.bags import MS, TYPES, S, Said, array, header, joint_state, stamp, twist

JOINTS = ("knee", "hip")
"""Not in the order of the tiny bundle."""


def joint_states(
    times_ns: Sequence[int], topic: str = "/joint_states", log_ns: int = 0, **changes: Any
) -> list[Said]:
    """Say at each time t, in s: hip = t, knee = 10 t; their velocities are those plus 100."""
    said = list[Said]()
    for time_ns in times_ns:
        position = np.array([10 * time_ns / S, time_ns / S])
        fields = {"name": JOINTS, "position": position, "velocity": position + 100, **changes}
        said.append((topic, time_ns + log_ns, joint_state(time_ns, **fields)))
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
    if not stamped:
        return topic, time_ns, twist(vx)
    message = TYPES.types["geometry_msgs/msg/TwistStamped"](header(time_ns), twist(vx))
    return topic, time_ns + 5 * MS, message


def scan(time_ns: int, values: Sequence[float], topic: str = "/scan") -> Said:
    return topic, time_ns, array(values)


def perceived(
    time_ns: int,
    values: Sequence[float] = (),
    problem: str = "",
    topic: str = "/perception/ground",
    frame: str = "odom",
) -> Said:
    """Say a height scan, or why there is none."""
    message = TYPES.types["policy_msgs/msg/Perceived"](
        header(time_ns, frame), stamp(time_ns), problem, 0, np.array(values, np.float64)
    )
    return topic, time_ns, message


def every(period_ms: int, first_ms: int, last_ms: int) -> list[int]:
    """Return times from the first to the last, both included, in ns."""
    return [time_ms * MS for time_ms in range(first_ms, last_ms + 1, period_ms)]
