# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes the operator finds."""

import pytest
from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from rclpy.node import Node

from policy_inference.nodes.outputs import OUTPUTS
from robot_operator.nodes.found import look_around

from .robot import DEADLINE_S

pytestmark = pytest.mark.ros


@pytest.mark.usefixtures("operator_executor")
@pytest.mark.parametrize("output", [kind for kind in OUTPUTS if kind != "joint_command"])
def test_policy_node_with_another_output_is_known_to_have_no_driver(output: str) -> None:
    topic, message, _ = OUTPUTS[output]
    node = Node("some_policy", use_global_arguments=False)
    node.create_publisher(PolicyStatus, "~/status", 1)
    node.create_publisher(message, topic, 1)

    found = look_around(DEADLINE_S)

    assert found.policies == ("/some_policy",)
    assert found.other_output
    assert found.is_complete
    node.destroy_node()


@pytest.mark.usefixtures("operator_executor")
def test_the_driver_of_a_leader_arm_is_not_the_robots() -> None:
    policy = Node("some_policy", use_global_arguments=False)
    policy.create_publisher(PolicyStatus, "~/status", 1)
    nodes = [policy]
    for space in ("", "leader"):
        policy.create_publisher(JointCommand, f"{space}/joint_command".lstrip("/"), 1)
        driver = Node("driver", namespace=space, use_global_arguments=False)
        driver.create_publisher(RobotStatus, "~/status", 1)
        driver.create_subscription(JointCommand, "joint_command", print, 1)
        nodes.append(driver)

    found = look_around(DEADLINE_S)

    assert found.drivers == ("/driver",)
    assert found.commands == ("/joint_command",)
    for node in nodes:
        node.destroy_node()
