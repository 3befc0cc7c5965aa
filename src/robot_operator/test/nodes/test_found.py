# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes the operator finds."""

import pytest
from policy_msgs.msg import PolicyStatus
from rclpy.node import Node

from policy_inference.nodes.outputs import OUTPUTS
from robot_operator.nodes.found import look_around

from .robot import DEADLINE_S

pytestmark = pytest.mark.ros


@pytest.mark.usefixtures("executor")
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
