# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Adds ROS 2 robots to LeRobot's commands; LeRobot imports this package automatically."""

from lerobot_robot_ros2.config_ros2 import Ros2RobotConfig
from lerobot_robot_ros2.ros2 import Ros2Robot

__all__ = ["Ros2Robot", "Ros2RobotConfig"]
