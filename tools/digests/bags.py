# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of robots whose sensors do not keep step: rates, jitter, delays, gaps, other orders.

All numbers come from whole numbers, so that the files are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from tools.digests.chunks import ARM, AT_REST, CAMERAS, HEIGHT, WIDTH, synthetic_image
from tools.digests.robots import LEGS, on_grid, tilted, wave
from tools.digests.texts import ROOT

_MESSAGES = ROOT / "src" / "policy_msgs" / "msg"
_TYPES = get_typestore(Stores.ROS2_JAZZY)
_TYPES.register(
    get_types_from_msg((_MESSAGES / "JointCommand.msg").read_text(), "policy_msgs/msg/JointCommand")
)
_STANDING = np.tile([0.0, -0.65, 1.3], 4)
_BEGIN_NS, _MS = 1_000_000_000_000, 1_000_000
_Said = tuple[int, str, str, Any]
"""Time in the log, topic, type, message."""


def walk_bag(folder: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Write 20 s of a quadruped: joints at 200 Hz, IMU at 125 Hz, commands at 12 Hz.

    Stamps and times in the log differ by a delay that changes; there are gaps, a reordered and a
    repeated message, and joints that change their order half-way.
    """
    return _write(folder, storage, [*_joint_states(4000, 5 * _MS), *_imu(), *_commands()])


def arm_bag(folder: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Write 4 s of an arm: joints and commands at 60 and 30 Hz, two cameras at 30 and 24 Hz.

    The cameras' frames are of other times than the joints', one of them is late, each misses some.
    """
    return _write(folder, storage, [*_arm_states(), *_arm_commands(), *_frames()])


def _write(folder: Path, storage: StoragePlugin, said: list[_Said]) -> Path:
    with Writer(folder, version=9, storage_plugin=storage) as writer:
        connections = dict[str, Any]()
        for time_ns, topic, kind, message in sorted(said, key=lambda entry: entry[:2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=_TYPES)
            writer.write(connections[topic], time_ns, _TYPES.serialize_cdr(message, kind))
    return folder


def _jitter_ns(number: int, most_ns: int) -> int:
    """Return 0 ... most_ns, without order."""
    return number * 7919 % 1009 * most_ns // 1009


def _joint_states(count: int, period_ns: int) -> Iterator[_Said]:
    before, kind = _STANDING, "sensor_msgs/msg/JointState"
    for number in range(count):
        taken_ns = _BEGIN_NS + number * period_ns + _jitter_ns(number, period_ns // 4)
        after = on_grid(_STANDING + 0.25 * wave(number, 12, 90))
        velocity = on_grid((after - before) / (period_ns * 1e-9))
        before = after
        order = np.arange(12) if number < count // 2 else np.arange(12)[::-1]
        if (number % 731 < 25 and number > 700) or number % 97 == 5:
            continue
        names = [LEGS[place] for place in order]
        message = _joint_state(taken_ns, names, after[order], velocity[order])
        yield taken_ns + _jitter_ns(number + 3, 3 * _MS), "/joint_states", kind, message
        if number % 211 == 7:
            yield taken_ns + 4 * _MS, "/joint_states", kind, message


def _imu() -> Iterator[_Said]:
    types = _TYPES.types
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    for number in range(2500):
        taken_ns = _BEGIN_NS + 2 * _MS + number * 8 * _MS + _jitter_ns(number, 2 * _MS)
        shake = wave(number, 5, 60) / 32.0
        x, y, z, w = tilted(float(shake[0]), float(shake[1]))
        rates = (shake[2:] * 16.0).tolist()
        if number % 600 > 590:
            continue
        message = types["sensor_msgs/msg/Imu"](
            header=_header(taken_ns),
            orientation=quaternion(x=x, y=y, z=z, w=w),
            orientation_covariance=np.zeros(9),
            angular_velocity=vector(x=rates[0], y=rates[1], z=rates[2]),
            angular_velocity_covariance=np.zeros(9),
            linear_acceleration=vector(x=0.0, y=0.0, z=9.8125),
            linear_acceleration_covariance=np.zeros(9),
        )
        late_ns = 30 * _MS if 1500 < number < 1600 else _jitter_ns(number, 5 * _MS)
        yield taken_ns + late_ns, "/imu/data", "sensor_msgs/msg/Imu", message


def _commands() -> Iterator[_Said]:
    types = _TYPES.types
    vector, twist = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Twist"]
    for number in range(240):
        said_ns = _BEGIN_NS + number * 83 * _MS + _jitter_ns(number, 9 * _MS)
        x, y, yaw = on_grid(0.75 * wave(number // 10, 3, 9)).tolist()
        if 100 < number < 110:
            continue
        message = twist(linear=vector(x=x, y=y, z=0.0), angular=vector(x=0.0, y=0.0, z=yaw))
        yield said_ns, "/cmd_vel", "geometry_msgs/msg/Twist", message


def _arm_states() -> Iterator[_Said]:
    for number in range(240):
        taken_ns = _BEGIN_NS + number * 16_666_667 + _jitter_ns(number, 4 * _MS)
        position = on_grid(AT_REST + 0.25 * wave(number, 6, 70))
        if 130 <= number < 133:
            continue
        message = _joint_state(taken_ns, ARM[::-1], position[::-1], np.zeros(6))
        late_ns = _jitter_ns(number, 2 * _MS)
        yield taken_ns + late_ns, "/joint_states", "sensor_msgs/msg/JointState", message


def _arm_commands() -> Iterator[_Said]:
    types, six = _TYPES.types, np.ones(6)
    for number in range(120):
        stamp_ns = _BEGIN_NS + number * 33_333_333 + 11 * _MS
        message = types["policy_msgs/msg/JointCommand"](
            stamp=_time(stamp_ns),
            sequence=number,
            valid_for=types["builtin_interfaces/msg/Duration"](sec=0, nanosec=200 * _MS),
            mode=3,
            names=ARM,
            position=on_grid(AT_REST + 0.25 * wave(2 * number + 3, 6, 70)),
            velocity=np.zeros(6),
            effort=np.zeros(6),
            stiffness=16.0 * six,
            damping=six,
            effort_limit=2.0 * six,
        )
        late_ns = 20 * _MS + _jitter_ns(number, 9 * _MS)
        yield stamp_ns + late_ns, "/joint_command", "policy_msgs/msg/JointCommand", message


def _frames() -> Iterator[_Said]:
    kind = "sensor_msgs/msg/Image"
    rates = {"front": (33_333_333, 120, 8 * _MS), "wrist": (41_666_667, 96, 25 * _MS)}
    for place, camera in enumerate(CAMERAS):
        period_ns, count, late_ns = rates[camera]
        for number in range(count):
            taken_ns = _BEGIN_NS + number * period_ns + place * 6 * _MS + _jitter_ns(number, _MS)
            if number % 41 == 40:
                continue
            message = _TYPES.types[kind](
                header=_header(taken_ns),
                height=HEIGHT,
                width=WIDTH,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * WIDTH,
                data=synthetic_image(place, number).ravel(),
            )
            yield (
                taken_ns + late_ns + _jitter_ns(number, 5 * _MS),
                f"/{camera}/image_raw",
                kind,
                message,
            )


def _joint_state(time_ns: int, names: list[str], position: Any, velocity: Any) -> Any:
    return _TYPES.types["sensor_msgs/msg/JointState"](
        header=_header(time_ns),
        name=names,
        position=np.ascontiguousarray(position),
        velocity=np.ascontiguousarray(velocity),
        effort=np.zeros(0),
    )


def _header(time_ns: int) -> Any:
    return _TYPES.types["std_msgs/msg/Header"](stamp=_time(time_ns), frame_id="")


def _time(time_ns: int) -> Any:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return _TYPES.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
