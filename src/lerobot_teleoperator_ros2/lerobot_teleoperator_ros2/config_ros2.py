# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options for a teleoperator in LeRobot's commands: --teleop.type=ros2 --teleop.mapping=so101."""

# LeRobot's parser needs types, not their names: no `from __future__ import annotations`.
from dataclasses import dataclass

from lerobot.teleoperators import TeleoperatorConfig


@TeleoperatorConfig.register_subclass("ros2")
@dataclass(kw_only=True)
class Ros2TeleoperatorConfig(TeleoperatorConfig):
    """Options for a ROS 2 teleoperator.

    Attributes:
        mapping: A mapping file, or the name of a mapping included in lerobot_bridge.
        connect_timeout_s: Maximum time to wait for a message on each topic, s.
    """

    mapping: str
    connect_timeout_s: float = 10.0
