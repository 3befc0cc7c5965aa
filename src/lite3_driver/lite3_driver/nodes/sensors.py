# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's state on its topics, each at its own rate."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from policy_msgs.msg import ContactForces
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Imu, JointState

from lite3_driver.nodes.messages import ContactTemplate, ImuTemplate, JointStateTemplate
from lite3_driver.wire import State
from policy_inference.nodes import qos


@dataclass(slots=True, kw_only=True)
class _Topic:
    publisher: Publisher
    fill: Callable[[State, int], bytes | None]
    rate_hz: float
    due: float = 1.0
    """Messages that are due; one is published when this reaches 1."""


class SensorTopics:
    """Publishes `joint_states`, `imu/data` and `contact_forces`; one thread at a time."""

    def __init__(
        self, node: Node, *, state_rate_hz: float, imu_rate_hz: float, contact_rate_hz: float
    ) -> None:
        """Create the publishers.

        Args:
            node: Publishes.
            state_rate_hz: How often `publish` will be called.
            imu_rate_hz: Of `imu/data`, at most as often.
            contact_rate_hz: Of `contact_forces`, at most as often.
        """
        self._closers = ExitStack()
        self._state_rate_hz = state_rate_hz
        self._topics = list[_Topic]()
        for message, name, fill, rate_hz in (
            (JointState, "joint_states", JointStateTemplate().fill, state_rate_hz),
            (Imu, "imu/data", ImuTemplate().fill, imu_rate_hz),
            (ContactForces, "contact_forces", ContactTemplate().fill, contact_rate_hz),
        ):
            publisher = node.create_publisher(message, name, qos.COMMAND)
            self._closers.callback(node.destroy_publisher, publisher)
            self._topics.append(_Topic(publisher=publisher, fill=fill, rate_hz=rate_hz))

    def publish(self, state: State, received_ns: int) -> None:
        """Publish what is due of a state with angular velocity in rad/s; the stamp is its receipt.

        Args:
            state: Of the robot.
            received_ns: When it came, on the system's clock.
        """
        for topic in self._topics:
            topic.due += topic.rate_hz / self._state_rate_hz
            if topic.due >= 1.0 and (message := topic.fill(state, received_ns)) is not None:
                topic.due -= int(topic.due)
                topic.publisher.publish(message)

    def close(self) -> None:
        """Destroy the publishers."""
        self._closers.close()
