# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Publish the robot's state on its topics, each at its own rate.

Messages are serialized once and then updated in place: rclpy takes 20 us to publish a JointState
and 26 us to publish an Imu; publishing their bytes takes 12 us and 7 us.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Vector3
from policy_msgs.msg import ContactForces
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Imu, JointState

from policy_core.errors import RobotError
from policy_inference.nodes import qos
from robot_driver.interfaces import F64, NS_PER_S, DriveState

_STAMP, _STAMP_AT = struct.Struct("=iI"), 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorTopic:
    """A topic that carries part of the robot's state.

    Attributes:
        message: Message type.
        name: Relative topic name.
        rate: Name of the node's parameter for the rate, which is at most `joint_state_rate_hz`; a
            rate of 0 disables the topic.
        fill: Returns the serialized message for a state and its receipt time (ns, system clock);
            None if there is nothing to publish.
        warns: True if ROS should warn about a subscription whose QoS does not match.
    """

    message: type[Any]
    name: str
    rate: str
    fill: Callable[[Any, int], bytes | None]
    warns: bool = True


class SensorTopics:
    """Publishes the state on all topics, each at its own rate; not thread-safe."""

    def __init__(
        self, node: Node, topics: Sequence[SensorTopic], parameters: Mapping[str, Any]
    ) -> None:
        """Create the publishers.

        Args:
            node: Node that owns the publishers.
            topics: The topics.
            parameters: Parameters of the node; `publish` is called `joint_state_rate_hz` times per
                second.

        Raises:
            RobotError: A topic's rate exceeds `joint_state_rate_hz`.
        """
        highest_hz = parameters["joint_state_rate_hz"]
        problems = [
            f"parameter {topic.rate}: expected at most joint_state_rate_hz ({highest_hz:g}), found "
            f"{parameters[topic.rate]:g}"
            for topic in topics
            if parameters[topic.rate] > highest_hz
        ]
        if problems:
            raise RobotError(*problems)
        topics = [topic for topic in topics if parameters[topic.rate] > 0.0]
        self._node, self._topics = node, topics
        self._shares = [parameters[topic.rate] / highest_hz for topic in topics]
        self._publishers = [
            node.create_publisher(
                topic.message,
                topic.name,
                qos.COMMAND,
                event_callbacks=None if topic.warns else qos.NoEvents(),
            )
            for topic in topics
        ]
        self._due = [1.0] * len(topics)
        """Number of messages due on each topic; a message is published when it reaches 1."""

    def publish(self, state: DriveState, received_ns: int) -> None:
        """Publish a state on the topics that are due; the stamp is its receipt time.

        Args:
            state: The robot's state.
            received_ns: Receipt time on the system clock.
        """
        for i, topic in enumerate(self._topics):
            self._due[i] += self._shares[i]
            if self._due[i] >= 1.0 and (message := topic.fill(state, received_ns)) is not None:
                self._due[i] -= int(self._due[i])
                self._publishers[i].publish(message)

    def close(self) -> None:
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)


class MessageTemplate:
    """A serialized message in which only the stamp and some blocks of numbers change."""

    def __init__(self, message: Any, blocks: Sequence[F64]) -> None:
        """Serialize a message, and locate the parts that change.

        Args:
            message: Message that begins with a header, and contains each block contiguously.
            blocks: Blocks of numbers that occur nowhere else in the message; `views` gives access
                to each.
        """
        self._data = bytearray(serialize_message(message))
        self.views = [
            np.frombuffer(self._data, offset=self._data.index(block.tobytes()), count=len(block))
            for block in blocks
        ]

    def stamped(self, stamp_ns: int) -> bytes:
        """Return the message's bytes, with this stamp and the current values of the views."""
        _STAMP.pack_into(self._data, _STAMP_AT, *divmod(stamp_ns, NS_PER_S))
        return bytes(self._data)


class JointStateTemplate(MessageTemplate):
    """Template for a JointState: position (rad), velocity (rad/s), torque (N m) of each joint."""

    def __init__(self, joint_names: Sequence[str]) -> None:
        fields = ("position", "velocity", "effort")
        blocks = _marks(*[len(joint_names)] * len(fields))
        values = {field: block.tolist() for field, block in zip(fields, blocks, strict=True)}
        super().__init__(JointState(name=list(joint_names), **values), blocks)

    def fill(self, state: DriveState, stamp_ns: int) -> bytes:
        position, velocity, effort = self.views
        position[:], velocity[:], effort[:] = state.joint_pos, state.joint_vel, state.joint_effort
        return self.stamped(stamp_ns)


class ImuTemplate(MessageTemplate):
    """Template for an Imu: orientation, angular velocity (rad/s), acceleration (m/s^2).

    Robots report no covariances, so these are zero, which means unknown.
    """

    def __init__(self) -> None:
        quat_xyzw, *vectors = blocks = _marks(4, 3, 3)
        ang_vel, lin_acc = (Vector3(**_named("xyz", vector)) for vector in vectors)
        message = Imu(
            orientation=Quaternion(**_named("xyzw", quat_xyzw)),
            angular_velocity=ang_vel,
            linear_acceleration=lin_acc,
        )
        message.header.frame_id = "imu_link"
        super().__init__(message, blocks)

    def fill(self, quat_xyzw: Sequence[float], ang_vel: F64, lin_acc: F64, stamp_ns: int) -> bytes:
        """Return the message for an orientation (body to world) and body-frame vectors [3]."""
        attitude, turning, accelerating = self.views
        attitude[:], turning[:], accelerating[:] = quat_xyzw, ang_vel, lin_acc
        return self.stamped(stamp_ns)


class ContactTemplate(MessageTemplate):
    """Template for ContactForces: ground reaction force on each foot, N; z is the vertical part."""

    def __init__(self, foot_names: Sequence[str]) -> None:
        (block,) = blocks = _marks(3 * len(foot_names))
        forces = [Vector3(**_named("xyz", force)) for force in block.reshape(-1, 3)]
        message = ContactForces(names=list(foot_names), forces=forces)
        message.header.frame_id = "world"
        super().__init__(message, blocks)

    def fill(self, contact_force: F64, stamp_ns: int) -> bytes | None:
        """Return the message for forces [feet, 3], N; None if a force is not finite.

        Subscribers then treat the forces as too old; the rest of the state is not affected.
        """
        if not np.isfinite(contact_force).all():
            return None
        self.views[0][:] = contact_force.ravel()
        return self.stamped(stamp_ns)


def joint_states_topic(joint_names: Sequence[str]) -> SensorTopic:
    return SensorTopic(
        message=JointState,
        name="joint_states",
        rate="joint_state_rate_hz",
        fill=JointStateTemplate(joint_names).fill,
    )


def imu_topic(quat_xyzw: Callable[[Any], Sequence[float]]) -> SensorTopic:
    """Return the `imu/data` topic for a robot whose state has `ang_vel` and `lin_acc`.

    Args:
        quat_xyzw: Returns the orientation (body to world) in a state.
    """
    template = ImuTemplate()

    def fill(state: Any, stamp_ns: int) -> bytes:
        return template.fill(quat_xyzw(state), state.ang_vel, state.lin_acc, stamp_ns)

    return SensorTopic(message=Imu, name="imu/data", rate="imu_rate_hz", fill=fill)


def quat_from_rpy(rpy: F64) -> tuple[float, float, float, float]:
    """Return the orientation, body to world (x, y, z, w), for roll, pitch, yaw [3], rad.

    These are rotations about the fixed axes x, then y, then z: q = q_z q_y q_x.
    """
    (sr, sp, sy), (cr, cp, cy) = np.sin(0.5 * rpy).tolist(), np.cos(0.5 * rpy).tolist()
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def _marks(*sizes: int) -> list[F64]:
    """Return blocks of these sizes, with numbers that occur nowhere else in a message."""
    marks = np.arange(sum(sizes), dtype=np.float64) + np.pi
    return np.split(marks, np.cumsum(sizes)[:-1])


def _named(axes: str, values: F64) -> dict[str, float]:
    return dict(zip(axes, values.tolist(), strict=True))
