# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options for a ROS 2 robot in LeRobot's commands: --robot.type=ros2 --robot.mapping=so101."""

# LeRobot's parser needs types, not their names: no `from __future__ import annotations`.
from dataclasses import dataclass

from lerobot.robots import RobotConfig

from lerobot_bridge.nodes.command_sender import HOLD_S


@RobotConfig.register_subclass("ros2")
@dataclass(kw_only=True)
class Ros2RobotConfig(RobotConfig):
    """Options for a ROS 2 robot.

    Attributes:
        mapping: A mapping file, or the name of a mapping included in lerobot_bridge.
        connect_timeout_s: Maximum wait for the first message on each topic, s.
        hold_s: Time for which an arm that follows JointCommand holds its last action while LeRobot
            pauses, s; after that, the arm damps.
    """

    mapping: str
    connect_timeout_s: float = 10.0
    hold_s: float = HOLD_S
