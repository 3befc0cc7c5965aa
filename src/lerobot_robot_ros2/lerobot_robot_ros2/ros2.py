# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 robot with LeRobot's robot interface."""

from __future__ import annotations

import logging
from typing import Any

from lerobot.robots import Robot
from lerobot.utils.errors import DeviceAlreadyConnectedError, DeviceNotConnectedError

from lerobot_bridge.limits import ActionLimits
from lerobot_bridge.mapping import STATE
from lerobot_bridge.mapping_file import load_mapping
from lerobot_bridge.nodes.robot_link import RobotLink
from lerobot_robot_ros2.config_ros2 import Ros2RobotConfig
from policy_core.errors import RobotError

_log = logging.getLogger(__name__)


class Ros2Robot(Robot):
    """Observes and moves a robot through the topics of a mapping.

    The observation consists of `observation.state` and the cameras, since LeRobot's commands use no
    other features.
    """

    config_class = Ros2RobotConfig
    name = "ros2"

    def __init__(self, config: Ros2RobotConfig) -> None:
        """Read the mapping; do not connect to the robot."""
        super().__init__(config)
        self.config = config
        self.mapping = load_mapping(config.mapping)
        for key, found in (
            ("vectors", STATE in self.mapping.vectors),
            ("command", self.mapping.command),
        ):
            if not found:
                raise RobotError(
                    f"{config.mapping}: {key}: expected "
                    f"{STATE if key == 'vectors' else 'topics to send actions to'}, "
                    "found nothing"
                )
        # datasets carry this type, whether recorded here or converted
        self.name = self.robot_type = self.mapping.robot_type
        self.cameras = self.mapping.cameras
        self._limits = ActionLimits(self.mapping)
        self._warned: set[str] = set()
        self._link: RobotLink | None = None

    @property
    def observation_features(self) -> dict[str, Any]:
        """The values by name, and the shapes [height, width, 3] of the images by camera."""
        return {
            **dict.fromkeys(self.mapping.names(STATE), float),
            **{
                name: (camera.height, camera.width, 3)
                for name, camera in self.mapping.cameras.items()
            },
        }

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self._limits.names, float)

    @property
    def is_connected(self) -> bool:
        """True between `connect` and `disconnect`."""
        return self._link is not None

    def connect(self, calibrate: bool = True) -> None:
        if self._link is not None:
            raise DeviceAlreadyConnectedError(f"{self} is connected already")
        self._link = RobotLink(
            self.mapping,
            name="lerobot_robot",
            features=[STATE],
            cameras=True,
            commands=True,
            timeout_s=self.config.connect_timeout_s,
            hold_s=self.config.hold_s,
        )

    @property
    def is_calibrated(self) -> bool:
        """Always true: a ROS 2 robot publishes SI units; calibration is the driver's task."""
        return True

    def calibrate(self) -> None:
        """Do nothing; see `is_calibrated`."""

    def configure(self) -> None:
        """Do nothing: the driver or the mapping sets the gains."""

    def get_observation(self) -> dict[str, Any]:
        return self._connected().newest()

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Clip an action to the mapping's limits and send it; return the values sent."""
        link = self._connected()
        sent = self._limits.apply(action, link.newest())
        link.send(sent.values)
        new = set(sent.clipped) - self._warned
        if new:
            self._warned |= new
            _log.warning("%s: limited by the mapping (logged once)", ", ".join(sorted(new)))
        return sent.values

    def disconnect(self) -> None:
        """Put the robot in a safe state, and disconnect from ROS."""
        link, self._link = self._connected(), None
        link.close()

    def _connected(self) -> RobotLink:
        if self._link is None:
            raise DeviceNotConnectedError(f"{self} is not connected; call connect() first")
        return self._link
