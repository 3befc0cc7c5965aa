# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Status of the commanded robot's driver: whether it follows, and its drive temperatures.

Subscribes: `<driver>/status` (policy_msgs/RobotStatus) of the node that receives the commands, if
it publishes one; simulators do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from policy_msgs.msg import RobotStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import full_name

_TYPE = "policy_msgs/msg/RobotStatus"
_STATES = {
    getattr(RobotStatus, name): name
    for name in ("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING")
}


class DriverWatch:
    """Searches for the driver until it is found, then monitors its status.

    Attributes:
        drives_c: Last reported temperatures of the drives, degrees Celsius.
    """

    def __init__(self, node: Node, command_topic: str, stopped: Callable[[str], None]) -> None:
        """Start without a subscription.

        Args:
            node: Subscribes.
            command_topic: Full name of the topic that the driver receives.
            stopped: Called with the driver's state and reason for each status in which it follows
                no commands, except for a driver that has never taken control.
        """
        self._node, self._command_topic, self._stopped = node, command_topic, stopped
        self._subscription: Any = None
        self._refused = self._has_control = False
        self.drives_c: Sequence[float] = ()

    def look(self) -> None:
        if self._subscription is not None or self._refused:
            return
        try:
            self._subscription = self._found()
        except Exception as error:  # noqa: BLE001  without the permission for it, as in SROS 2
            self._refused = True
            self._node.get_logger().warning(f"the driver's status is not received: {error}")

    def close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _found(self) -> Any:
        for receiver in self._node.get_subscriptions_info_by_topic(self._command_topic):
            topic = f"{full_name(receiver)}/status"
            if any(
                info.topic_type == _TYPE for info in self._node.get_publishers_info_by_topic(topic)
            ):
                return self._node.create_subscription(
                    RobotStatus,
                    topic,
                    self._hear,
                    qos.STATUS,
                    callback_group=MutuallyExclusiveCallbackGroup(),
                )
        return None

    def _hear(self, status: RobotStatus) -> None:
        self.drives_c = list(status.temperature_c)
        had_control, self._has_control = self._has_control, status.state != RobotStatus.LISTENING
        # With a driver that never took control, a policy may run without a robot, for inspection.
        if status.state != RobotStatus.FOLLOWING and (self._has_control or had_control):
            self._stopped(f"{_STATES.get(status.state, status.state)}, {status.reason}")
