# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A program that is no ROS node, as a robot's computer is, among the nodes that people operate."""

from __future__ import annotations

import os

import pytest
import rclpy
from policy_msgs.msg import JointCommand, PolicyStatus
from rclpy.node import Node

from robot_operator.nodes.found import look_around

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")
pytestmark = pytest.mark.ros
DEADLINE_S = 60.0


def test_it_is_no_robot_of_the_operator_where_it_reads_the_commands() -> None:
    from robot_sim.unitree_dds import RobotTopics
    from robot_sim.unitree_state import MODELS

    rclpy.init(args=[])
    node = Node("some_policy", use_global_arguments=False)
    try:
        node.create_publisher(PolicyStatus, "~/status", 1)
        commands = node.create_publisher(JointCommand, "joint_command", 1)
        robot = RobotTopics(MODELS["go2"], domain=int(os.environ["ROS_DOMAIN_ID"]), interface="lo")
        while not commands.get_subscription_count():
            rclpy.spin_once(node, timeout_sec=0.05)

        found = look_around(DEADLINE_S, 0.0)

        assert found.policies == ("/some_policy",)
        assert found.robots == ()
        del robot
    finally:
        node.destroy_node()
        rclpy.shutdown()
