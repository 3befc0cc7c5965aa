# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The highest temperature that machine, device and the drives of the robot report.

Subscribes: the status of the robot's driver (policy_msgs/RobotStatus), if exactly one driver in the
node's namespace publishes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from policy_msgs.msg import RobotStatus
from rclpy.node import Node

from policy_inference.machine.machine import number_in
from policy_inference.nodes import qos

_DRIVER_STATUS = "policy_msgs/msg/RobotStatus"


class Temperatures:
    """Looks for a driver until it has found one, and keeps what that reported last."""

    def __init__(self, node: Node) -> None:
        """Subscribe to nothing yet."""
        self._node = node
        self._driver: Any = None
        self._refused = False
        self._drives_c = list[float]()

    def highest_c(self, telemetry: Mapping[str, str]) -> float:
        """Return the highest temperature, degrees Celsius; NaN where none is known.

        Args:
            telemetry: Of machine and device, the unit in the key.
        """
        if self._driver is None and not self._refused:
            try:
                self._driver = self._found_driver()
            except Exception as error:  # noqa: BLE001  without the permission for it, as in SROS 2
                self._refused = True
                self._node.get_logger().warning(f"temperatures of the drives: {error}")
        reported = [
            number
            for key, text in telemetry.items()
            if key.endswith("_temperature_c") and (number := number_in(text)) is not None
        ]
        return max([*reported, *filter(math.isfinite, self._drives_c)], default=math.nan)

    def close(self) -> None:
        """Destroy the subscription."""
        if self._driver is not None:
            self._node.destroy_subscription(self._driver)

    def _found_driver(self) -> Any:
        namespace = self._node.get_namespace().rstrip("/")
        topics = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if name.startswith(f"{namespace}/") and _DRIVER_STATUS in types
        ]
        if len(topics) != 1:
            return None
        return self._node.create_subscription(RobotStatus, topics[0], self._hear, qos.STATUS)

    def _hear(self, message: RobotStatus) -> None:
        self._drives_c = list(message.temperature_c)
