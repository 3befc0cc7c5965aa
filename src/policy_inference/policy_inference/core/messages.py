# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages into the robot's state: one reader per kind of input.

No ROS package is needed: a message is any object with the attributes of the ROS type that the
reader names, whether rclpy, a decoder of the wire or a reader of bags made it.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from policy_inference.core.joint_check import JointCheck
from policy_inference.core.joint_order import JointOrder
from policy_inference.core.state import StateVector
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64

COMMAND = "cmd_vel"
TWIST, TWIST_STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"

# A quaternion that is not set is 0, 0, 0, 0; rounding leaves the length within a per cent.
_NORM_RANGE = (0.9, 1.1)
_QUATERNION, _VECTOR = struct.Struct("4d"), struct.Struct("3d")


class MessageReader(Protocol):
    """Writes one kind of message into the state."""

    message: str
    """Name of the ROS type."""

    def read(self, message: Any) -> None:
        """Write the message's values; nothing is written where it does not fit.

        Raises:
            RobotError: The message does not fit the contract.
        """


def stamp_ns(message: Any) -> int | None:
    """Return the header stamp in ns, None for messages without a header or without a stamp."""
    of_wire: int | None = getattr(message, "stamp_ns", None)
    if of_wire is not None:
        return of_wire or None
    header = getattr(message, "header", None)
    if header is None:
        return None
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec or None


class JointStateReader:
    """sensor_msgs/JointState: positions and velocities by joint name."""

    message = "sensor_msgs/msg/JointState"

    def __init__(
        self, names: Sequence[str], state: StateVector, check: JointCheck | None = None
    ) -> None:
        """Write to `joint_pos`, and `joint_vel` where there is one, in the order of `names`.

        `check` judges each sample before; None takes what was judged elsewhere, as in recordings.
        """
        self._order, self._check = JointOrder(names), check
        self._position, self._velocity = state["joint_pos"], state.get("joint_vel")
        self._read_position, self._read_velocity = np.zeros((2, len(names)))

    def read(self, message: Any) -> None:
        """Write both or neither."""
        velocity = None if self._velocity is None else self._read_velocity
        if velocity is not None:
            if len(message.velocity) == 0:
                raise RobotError("expected velocities, found none; the policy needs them measured")
            if len(message.position) != len(message.velocity):
                raise RobotError(
                    f"expected as many velocities as the {len(message.position)} "
                    f"positions, found {len(message.velocity)}"
                )
            self._order.take(message.name, np.asarray(message.velocity), velocity)
        self._order.take(message.name, np.asarray(message.position), self._read_position)
        if self._check and (problem := self._check.problem(self._read_position, velocity)):
            raise RobotError(problem)
        self._position[...] = self._read_position
        if self._velocity is not None:
            self._velocity[...] = self._read_velocity


class ImuReader:
    """sensor_msgs/Imu: orientation body -> world and angular velocity in the body frame."""

    message = "sensor_msgs/msg/Imu"

    def __init__(self, state: StateVector) -> None:
        """Write to those of `quat_xyzw` and `ang_vel_body` that the contract needs."""
        self._quat = _memory_of(state.get("quat_xyzw"))
        self._ang_vel = _memory_of(state.get("ang_vel_body"))

    def read(self, message: Any) -> None:
        """Write both or neither; an orientation that is not given is refused."""
        if self._quat is not None:
            q = message.orientation
            if not has_orientation(message):
                raise RobotError(
                    "expected an orientation, found none (the quaternion is "
                    f"{q.x:g}, {q.y:g}, {q.z:g}, {q.w:g}); the IMU's driver must fuse "
                    "one"
                )
            _QUATERNION.pack_into(self._quat, 0, q.x, q.y, q.z, q.w)
        if self._ang_vel is not None:
            rate = message.angular_velocity
            _VECTOR.pack_into(self._ang_vel, 0, rate.x, rate.y, rate.z)


def _memory_of(field: F64 | None) -> memoryview | None:
    """Return where a field lies: numbers are written there in a third of the time."""
    return None if field is None else field.data


def has_orientation(message: Any) -> bool:
    """Return whether a sensor_msgs/Imu gives one; what is not finite is the guard's business."""
    q = message.orientation
    norm = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    known: bool = message.orientation_covariance[0] != -1.0
    return known and (_NORM_RANGE[0] < norm < _NORM_RANGE[1] or not math.isfinite(norm))


class OdometryReader:
    """nav_msgs/Odometry: linear velocity, which that message gives in the body frame."""

    message = "nav_msgs/msg/Odometry"

    def __init__(self, state: StateVector) -> None:
        """Write to `lin_vel_body`."""
        self._lin_vel = state["lin_vel_body"]

    def read(self, message: Any) -> None:
        """Write the twist's linear part."""
        linear = message.twist.twist.linear
        self._lin_vel[:] = (linear.x, linear.y, linear.z)


class VectorReader:
    """std_msgs/Float32MultiArray: an external vector."""

    message = "std_msgs/msg/Float32MultiArray"

    def __init__(self, topic: str, state: StateVector) -> None:
        """Write to the field of the external term."""
        self._field = state[f"external:{topic}"]

    def read(self, message: Any) -> None:
        """Write all values."""
        if len(message.data) != self._field.size:
            raise RobotError(f"expected {self._field.size} values, found {len(message.data)}")
        self._field[:] = message.data


def velocity_of(message: Any) -> tuple[float, float, float]:
    """Return vx, vy (m/s) and yaw rate (rad/s) of a command, stamped or not."""
    twist = getattr(message, "twist", message)
    return (twist.linear.x, twist.linear.y, twist.angular.z)


def message_type(name: str) -> str:
    """Return the ROS type of an input that is robot state."""
    known = {
        "joint_states": JointStateReader.message,
        "imu/data": ImuReader.message,
        "odom": OdometryReader.message,
    }
    return known.get(name, VectorReader.message)


def state_reader(
    name: str, names: Sequence[str], state: StateVector, check: JointCheck | None = None
) -> MessageReader:
    """Return the reader of an input that is robot state.

    Args:
        name: Of the input.
        names: The contract's joints in its order, as the robot calls them.
        state: Where it writes.
        check: As for `JointStateReader`.
    """
    if name == "joint_states":
        return JointStateReader(names, state, check)
    if name == "imu/data":
        return ImuReader(state)
    if name == "odom":
        return OdometryReader(state)
    return VectorReader(name, state)
