# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts messages to LeRobot's values: one reader per source of a mapping.

This module needs no ROS package: a message is any object with the attributes of its ROS type, from
rclpy or a recording reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_bridge.mapping import (
    ARRAYS,
    TRAJECTORY,
    CameraSource,
    Channel,
    Joint,
    RobotMapping,
    Source,
    field_steps,
)
from policy_core.errors import RobotError
from policy_core.interfaces import F64, U8
from policy_core.members.chunk.normalise import Units, resized
from policy_core.observation.images import decode, read_frame
from policy_inference.messages.readers import JointOrder

_MARGIN, _IMPOSSIBLE = 1.1, 3.0
"""Largest normal and smallest impossible distance from mid-range, as multiples of half a joint's
range.
"""

STILL = 1e-3
"""Largest range of values, in LeRobot's units, that does not count as motion; one servo step is
0.09 degrees.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A value outside its permitted range, in LeRobot's units."""

    name: str
    messages: int
    worst: float
    low: float
    high: float


class Ranges:
    """Compares a source's positions with its joints' ranges, if the mapping defines any."""

    def __init__(self, mapping: RobotMapping, source: Source) -> None:
        """Use the limits on positions and, for joints without limits, the ends of the ranges."""
        joints = mapping.select_joints(source) if source.quantity == "position" else ()
        self._names = mapping.value_names(source, source.quantity)
        ends_rad = np.array([_ends_rad(mapping.joints[joint]) for joint in joints]).reshape(-1, 2)
        ends = ToLeRobot(mapping, source).of_ros(ends_rad.T) if joints else ends_rad.T
        self._low, self._high = ends.min(axis=0), ends.max(axis=0)
        self._centre, self._half = (self._low + self._high) / 2, (self._high - self._low) / 2
        self._outside = np.zeros(len(joints), np.int64)
        self._worst = np.zeros(len(joints))

    @property
    def outside(self) -> list[Outside]:
        return [
            Outside(
                name=self._names[i],
                messages=int(self._outside[i]),
                worst=float(self._worst[i]),
                low=float(self._low[i]),
                high=float(self._high[i]),
            )
            for i in np.flatnonzero(self._outside)
        ]

    def check(self, values: F64) -> None:
        if not len(self._half):
            return
        # the range of a joint without limits is NaN, with which no comparison is true
        far = np.abs(values - self._centre) / self._half
        if (impossible := np.flatnonzero(far > _IMPOSSIBLE)).size:
            i = int(impossible[0])
            raise RobotError(
                f"{self._names[i]}: expected a position between {self._low[i]:.4g} and "
                f"{self._high[i]:.4g} in LeRobot's units, found {values[i]:.4g}: most likely the "
                "topic's values are not in radians, the unit in ROS, or the joint's range or "
                "limits in the mapping are wrong"
            )
        out = far > _MARGIN
        self._outside += out
        worse = out & (far > np.abs(self._worst - self._centre) / self._half)
        self._worst = np.where(worse | (out & (self._outside == 1)), values, self._worst)


class MotionRange:
    """Records the range over which a vector moves."""

    def __init__(self) -> None:
        self._low: F64 | None = None
        self._high: F64 | None = None

    def look(self, values: F64) -> None:
        self._low = values.copy() if self._low is None else np.minimum(self._low, values)
        self._high = values.copy() if self._high is None else np.maximum(self._high, values)

    @property
    def is_still(self) -> bool:
        """True if there were values and none of them changed."""
        return (
            self._low is not None
            and self._high is not None
            and bool((self._high - self._low < STILL).all())
        )


def _ends_rad(joint: Joint) -> tuple[float, float]:
    low, high = joint.position_min, joint.position_max
    if low is None or high is None:
        low, high = joint.low_rad, joint.high_rad
    if low is None or high is None:
        return np.nan, np.nan
    return low, high


class SourceReader:
    """Reads the values of a source from its messages.

    Attributes:
        names: Names of the values, in order.
    """

    def __init__(self, mapping: RobotMapping, source: Source) -> None:
        self.names = mapping.value_names(source, source.quantity)
        self._read: Callable[[Any], F64]
        if source.fields is not None:
            self._read = _Fields(mapping, source).read
        else:
            self._read = _Joints(mapping, source).read

    def read(self, message: Any) -> F64:
        values = self._read(message)
        if not np.isfinite(values).all():
            name = self.names[int(np.argmin(np.isfinite(values)))]
            raise RobotError(f"{name}: expected a finite value, found NaN or infinity")
        return values


def read_image(camera: CameraSource, message: Any) -> U8:
    """Return a camera's image, in the size that the mapping defines.

    Args:
        camera: The mapping's definition of the camera.
        message: A sensor_msgs/Image or CompressedImage; the returned image may be a view of the
            message.

    Returns:
        uint8 [height, width, 3] in RGB.
    """
    image = decode(read_frame(message, camera))
    if image.shape[:2] == (camera.height, camera.width):
        return image
    return resized(image, (camera.width, camera.height))


class ToLeRobot:
    """Converts the values of a channel between rad, rad/s, m, N·m and LeRobot's units."""

    def __init__(self, mapping: RobotMapping, channel: Channel, quantity: str = "position") -> None:
        """Compute the factors for a channel's joints or fields, in the channel's order."""
        if channel.fields is not None:
            self._zero: F64 = np.zeros(len(channel.fields))
            self._scale: F64 = np.array(
                [180.0 / np.pi if name in channel.degrees else 1.0 for name in channel.fields]
            )
            return
        joints = mapping.select_joints(channel)
        units = Units(mapping.joints, joints)
        zero = units.to_rad(np.zeros(len(joints)))
        # velocities have only the factor of positions; efforts are the same on both sides
        scale = units.of_rad(zero + 1.0) if quantity != "effort" else np.ones(len(joints))
        self._zero = zero if quantity == "position" else np.zeros(len(joints))
        self._scale = scale

    def of_ros(self, values: F64) -> F64:
        """Return values [..., values of the channel] in LeRobot's units."""
        return (values - self._zero) * self._scale

    def to_ros(self, values: F64) -> F64:
        """Return values [..., values of the channel] in ROS units."""
        return values / self._scale + self._zero


class _Fields:
    def __init__(self, mapping: RobotMapping, source: Source) -> None:
        self._getters = [_getter(path) for path in (source.fields or {}).values()]
        self._units = ToLeRobot(mapping, source)

    def read(self, message: Any) -> F64:
        if problem := getattr(message, "problem", ""):  # policy_msgs/Perceived
            raise RobotError(f"expected values, found none: {problem}")
        return self._units.of_ros(np.array([get(message) for get in self._getters]))


class _Joints:
    """Reads values by joint, from messages that name the joints or arrays that do not."""

    def __init__(self, mapping: RobotMapping, source: Source) -> None:
        joints = [mapping.ros_name(joint) for joint in mapping.select_joints(source)]
        self._count, self._order = len(joints), JointOrder(joints)
        self._units, self._type = ToLeRobot(mapping, source, source.quantity), source.type
        self._quantity = source.quantity

    def read(self, message: Any) -> F64:
        names, values = self._named(message)
        found = np.empty(self._count)
        if names is None:
            if len(values) != self._count:
                raise RobotError(f"expected {self._count} values, found {len(values)}")
            found[:] = values
        else:
            if len(values) == 0:
                raise RobotError(f"expected a {self._quantity} for each joint, found none")
            self._order.take(names, values, found)
        return self._units.of_ros(found)

    def _named(self, message: Any) -> tuple[Sequence[str] | None, F64]:
        if self._type in ARRAYS:
            return None, np.asarray(message.data, np.float64)
        if self._type == TRAJECTORY:
            # Which point is the action at a given time depends on when the controller received it.
            if len(message.points) != 1:
                raise RobotError(
                    "expected a trajectory of one point (the action at that time), found "
                    f"{len(message.points)} points; record the joints' targets instead, such as "
                    "the controller's reference"
                )
            return message.joint_names, np.asarray(message.points[0].positions, np.float64)
        names = message.name if hasattr(message, "name") else message.names
        return names, np.asarray(getattr(message, self._quantity), np.float64)


def _getter(path: str) -> Callable[[Any], float]:
    parts = field_steps(path)

    def get(message: Any) -> float:
        value = message
        for name, index in parts:
            if not hasattr(value, name):
                names = ", ".join(_field_names(value))
                among = f"no {name} among the fields {names}" if names else "a value without fields"
                raise RobotError(f"expected a number in the field {path}, found {among}")
            value = getattr(value, name)
            if index is not None:
                value = _item(path, name, value, index)
        try:
            return float(value)
        except (TypeError, ValueError):
            inner = ", ".join(_field_names(value))
            raise RobotError(
                f"expected a number in the field {path}, found "
                f"{f'a message with the fields {inner}' if inner else 'none'}"
            ) from None

    return get


def _item(path: str, name: str, values: Any, index: int) -> Any:
    if not hasattr(values, "__len__") or isinstance(values, str):
        raise RobotError(f"expected a number in the field {path}, found no list in {name}")
    if index >= len(values):
        raise RobotError(
            f"expected a number in the field {path}, found {len(values)} values in {name}"
        )
    return values[index]


def _field_names(message: Any) -> list[str]:
    if dataclasses.is_dataclass(message):
        return [field.name for field in dataclasses.fields(message)]
    if hasattr(message, "get_fields_and_field_types"):
        return list(message.get_fields_and_field_types())
    return []
