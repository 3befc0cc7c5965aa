# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts LeRobot's values to messages: the counterpart of `values`.

This module needs no ROS package: the caller provides a function that returns an empty message of a
type. The messages are rclpy's (`lambda name: get_message(name)()`) or those of a recording writer
(`to_bag.messages.empty_messages`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from lerobot_bridge.mapping import (
    ARRAYS,
    JOINT_COMMAND,
    TRAJECTORY,
    Channel,
    RobotMapping,
    Source,
    field_steps,
)
from lerobot_bridge.values import ToLeRobot
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Mode

Empty = Callable[[str], Any]
"""Function that returns an empty message of a type, such as sensor_msgs/msg/JointState."""
_Columns = Mapping[str, F64]
"""Values [joints] in SI units by quantity; NaN for joints without a value."""
_Write = Callable[[Any, _Columns], None]
_POINT = "trajectory_msgs/msg/JointTrajectoryPoint"


class Outgoing:
    """Makes the messages of one topic.

    Attributes:
        topic, type: Topic and type of the messages.
        names: Names of the values, one channel after another.
    """

    def __init__(
        self,
        mapping: RobotMapping,
        channels: Sequence[Channel],
        empty: Empty,
        *,
        valid_for_s: float = 0.2,
    ) -> None:
        """Prepare to make messages.

        Args:
            mapping: The mapping to which the channels belong.
            channels: The topic's channels: one command, or all sources that read the topic.
            empty: Function that makes empty messages.
            valid_for_s: Time for which a JointCommand is valid after its receipt, s.
        """
        self.topic, self.type = channels[0].topic, channels[0].type
        self.names = tuple(
            name
            for channel in channels
            for name in mapping.value_names(channel, _quantity(channel))
        )
        self._empty = empty
        self._fields = _fields(mapping, channels)
        self._units = [
            (slice(begin, begin + len(channel.fields)), ToLeRobot(mapping, channel))
            for channel, begin in _spans(mapping, channels)
            if channel.fields
        ]
        trial = empty(self.type)
        for path, _ in self._fields:
            _set_field(trial, path, 0.0)
        joints = list(
            dict.fromkeys(joint for channel in channels for joint in mapping.select_joints(channel))
        )
        self._columns = _columns(mapping, channels, joints)
        self._write: _Write | None = None
        if joints:
            self._write = _writer(mapping, self.type, joints, empty, valid_for_s)

    def message(self, values: F64, stamp_ns: int) -> Any:
        """Return a message.

        Args:
            values: Values [names], in LeRobot's units.
            stamp_ns: Time for the message's stamp, if the message has one.
        """
        if not np.isfinite(values).all():
            name = self.names[int(np.argmin(np.isfinite(values)))]
            raise RobotError(f"{name}: expected a finite value to send, found NaN or infinity")
        message = self._empty(self.type)
        stamp = (
            message.header.stamp
            if hasattr(message, "header")
            else (getattr(message, "stamp", None))
        )
        if stamp is not None:
            stamp.sec, stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        if self._write is not None:
            self._write(message, self._columns(values))
        in_ros = values.astype(np.float64)
        for part, units in self._units:
            in_ros[part] = units.to_ros(in_ros[part])
        for path, place in self._fields:
            _set_field(message, path, float(in_ros[place]))
        return message


def _quantity(channel: Channel) -> str:
    return channel.quantity if isinstance(channel, Source) else "position"


def _spans(mapping: RobotMapping, channels: Sequence[Channel]) -> Iterator[tuple[Channel, int]]:
    """Yield each channel with the index of its first value."""
    begin = 0
    for channel in channels:
        yield channel, begin
        begin += len(mapping.value_names(channel, _quantity(channel)))


def _fields(
    mapping: RobotMapping, channels: Sequence[Channel]
) -> list[tuple[list[tuple[str, int | None]], int]]:
    """Return each field's path and the index of the field's value; array elements are in order."""
    found = []
    for channel, begin in _spans(mapping, channels):
        for i, path in enumerate((channel.fields or {}).values()):
            found.append((field_steps(path), begin + i))
    return sorted(found, key=lambda entry: [(name, at or 0) for name, at in entry[0]])


def _columns(
    mapping: RobotMapping, channels: Sequence[Channel], joints: Sequence[str]
) -> Callable[[F64], _Columns]:
    parts = []
    for channel, begin in _spans(mapping, channels):
        mine, quantity = mapping.select_joints(channel), _quantity(channel)
        if mine:
            parts.append(
                (
                    quantity,
                    [joints.index(joint) for joint in mine],
                    slice(begin, begin + len(mine)),
                    ToLeRobot(mapping, channel, quantity),
                )
            )

    def columns(values: F64) -> _Columns:
        found: dict[str, F64] = {}
        for quantity, index, place, units in parts:
            column = found.setdefault(quantity, np.full(len(joints), np.nan))
            column[index] = units.to_ros(values[place])
        return found

    return columns


def _writer(
    mapping: RobotMapping, kind: str, joints: Sequence[str], empty: Empty, valid_for_s: float
) -> _Write:
    names = [mapping.ros_name(joint) for joint in joints]
    if kind == JOINT_COMMAND:
        return _joint_command(mapping, joints, names, valid_for_s)
    if kind == TRAJECTORY:
        return _trajectory(names, empty, mapping.period_ns)
    return _array if kind in ARRAYS else _joint_state(names)


def _joint_state(names: list[str]) -> _Write:
    def write(message: Any, columns: _Columns) -> None:
        message.name = list(names)
        for quantity, column in columns.items():
            _set_numbers(message, quantity, column)

    return write


def _array(message: Any, columns: _Columns) -> None:
    _set_numbers(message, "data", columns["position"])


def _trajectory(names: list[str], empty: Empty, period_ns: int) -> _Write:
    def write(message: Any, columns: _Columns) -> None:
        message.joint_names, point = list(names), empty(_POINT)
        _set_numbers(point, "positions", columns["position"])
        _set_duration(point.time_from_start, period_ns)
        message.points = [point]

    return write


def _joint_command(
    mapping: RobotMapping, joints: Sequence[str], names: list[str], valid_for_s: float
) -> _Write:
    gains = {
        gain: np.array([_gain(mapping, joint, gain) for joint in joints])
        for gain in ("stiffness", "damping", "effort_limit")
    }
    zero, sequence = np.zeros(len(joints)), count()

    def write(message: Any, columns: _Columns) -> None:
        rows = {"velocity": zero, "effort": zero, **gains, **columns}
        if not np.isfinite(rows.get("position", np.nan)).all():
            raise RobotError(
                "expected a position for each joint of a JointCommand, found joints without one"
            )
        for field, row in rows.items():
            _set_numbers(message, field, row)
        message.names, message.sequence = list(names), next(sequence)
        message.mode = int(Mode.RUN)
        _set_duration(message.valid_for, round(valid_for_s * 1e9))

    return write


def _gain(mapping: RobotMapping, joint: str, gain: str) -> float:
    value: float | None = getattr(mapping.joints[joint], gain)
    if value is None:
        raise RobotError(
            f"joints.{joint}.{gain}: expected a value (a JointCommand needs it), found nothing"
        )
    return value


def _set_numbers(message: Any, field: str, values: F64) -> None:
    """Write numbers in the field's type: an array for rclpy, a NumPy array for recordings."""
    old = getattr(message, field)
    setattr(
        message,
        field,
        values.astype(old.dtype)
        if isinstance(old, np.ndarray)
        else array(old.typecode, values.tolist()),
    )


def _set_duration(duration: Any, ns: int) -> None:
    duration.sec, duration.nanosec = divmod(ns, 1_000_000_000)


def _set_field(message: Any, steps: Sequence[tuple[str, int | None]], value: float) -> None:
    """Write a number to a field like twist.linear.x, or to the next element of an array."""
    path = ".".join(name if i is None else f"{name}[{i}]" for name, i in steps)
    *way, (name, index) = steps
    try:
        for step, i in way:
            message = getattr(message, step) if i is None else getattr(message, step)[i]
        old = getattr(message, name)
        if index is None:
            setattr(message, name, type(old)(value))
        elif index < len(old):
            old[index] = value
        elif index == len(old):
            _set_numbers(message, name, np.append(np.asarray(old, np.float64), value))
        else:
            raise RobotError(
                f"field {path}: expected the preceding elements to be set, found {len(old)} set"
            )
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise RobotError(
            f"field {path}: expected a number in the message, found none ({error})"
        ) from error
