# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 topics as a LeRobot teleoperator; LeRobot imports this package automatically."""

from lerobot_teleoperator_ros2.config_ros2 import Ros2TeleoperatorConfig
from lerobot_teleoperator_ros2.ros2 import Ros2Teleoperator

__all__ = ["Ros2Teleoperator", "Ros2TeleoperatorConfig"]
