# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 topics as a LeRobot teleoperator: a leader arm, or another source of actions."""

from __future__ import annotations

from typing import Any

from lerobot.teleoperators import Teleoperator
from lerobot.utils.errors import DeviceAlreadyConnectedError, DeviceNotConnectedError

from lerobot_bridge.mapping import ACTION
from lerobot_bridge.mapping_file import load_mapping
from lerobot_bridge.nodes.robot_link import RobotLink
from lerobot_teleoperator_ros2.config_ros2 import Ros2TeleoperatorConfig
from policy_core.errors import RobotError


class Ros2Teleoperator(Teleoperator):
    """Provides the values of a mapping's `action`."""

    config_class = Ros2TeleoperatorConfig
    name = "ros2"

    def __init__(self, config: Ros2TeleoperatorConfig) -> None:
        """Read the mapping; do not subscribe yet."""
        super().__init__(config)
        self.config = config
        self.mapping = load_mapping(config.mapping)
        if ACTION not in self.mapping.vectors:
            raise RobotError(
                f"{config.mapping}: vectors.{ACTION}: expected the topics that a "
                "person uses to move the robot, found nothing"
            )
        self._link: RobotLink | None = None

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self.mapping.names(ACTION), float)

    @property
    def feedback_features(self) -> dict[str, Any]:
        """No features: nothing is sent back."""
        return {}

    @property
    def is_connected(self) -> bool:
        """True between `connect` and `disconnect`."""
        return self._link is not None

    def connect(self, calibrate: bool = True) -> None:
        if self._link is not None:
            raise DeviceAlreadyConnectedError(f"{self} is connected already")
        self._link = RobotLink(
            self.mapping,
            name="lerobot_teleoperator",
            features=[ACTION],
            cameras=False,
            commands=False,
            timeout_s=self.config.connect_timeout_s,
        )

    @property
    def is_calibrated(self) -> bool:
        """Always true: ROS 2 topics carry SI units; calibration is the driver's task."""
        return True

    def calibrate(self) -> None:
        """Do nothing; see `is_calibrated`."""

    def configure(self) -> None:
        """Do nothing: the publishers of the topics configure themselves."""

    def get_action(self) -> dict[str, Any]:
        return self._connected().newest()

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """Do nothing; see `feedback_features`."""

    def disconnect(self) -> None:
        link, self._link = self._connected(), None
        link.close()

    def _connected(self) -> RobotLink:
        if self._link is None:
            raise DeviceNotConnectedError(f"{self} is not connected; call connect() first")
        return self._link
