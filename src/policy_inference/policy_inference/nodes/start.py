# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the commands that run nodes; a node's module is imported only on start."""

from policy_store.command_line import node_command

act_policy_node = node_command("policy_inference.nodes.act_policy_node")
joint_policy_node = node_command("policy_inference.nodes.joint_policy_node")
policy_set_node = node_command("policy_inference.nodes.policy_set_node")
perception_node = node_command("policy_inference.nodes.perception_node")
robot_metrics = node_command("policy_inference.nodes.robot_metrics")
usb_camera = node_command("policy_inference.nodes.usb_camera")
velocity_estimator_node = node_command("policy_inference.nodes.velocity_estimator_node")
