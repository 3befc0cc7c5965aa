# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's node beside a robot, in one process, on a ROS 2 domain of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from robot_operator.nodes.operator_node import OperatorNode

from .robot import Robot

Make = Callable[..., OperatorNode]


@pytest.fixture
def operator_executor() -> Iterator[SingleThreadedExecutor]:
    """What spins all nodes of a test."""
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    yield executor
    executor.shutdown()
    rclpy.shutdown()


@pytest.fixture
def met_robot(operator_executor: SingleThreadedExecutor) -> Iterator[Robot]:
    """A robot with a policy node, and without a driver."""
    robot = Robot(operator_executor)
    yield robot
    robot.node.destroy_node()


@pytest.fixture
def unconfigured(operator_executor: SingleThreadedExecutor) -> Iterator[Make]:
    """Return what makes the operator's node with parameters."""
    made: list[OperatorNode] = []

    def make(**parameters: object) -> OperatorNode:
        node = OperatorNode()
        made.append(node)
        results = node.set_parameters(
            [Parameter(name, value=value) for name, value in parameters.items()]
        )
        assert all(result.successful for result in results), results
        return node

    yield make
    for node in made:
        node.leave()
        node.destroy_node()


@pytest.fixture
def operator(
    unconfigured: Make, operator_executor: SingleThreadedExecutor, met_robot: Robot
) -> Make:
    """Return what makes the operator's node, lets it start, and meet the robot."""

    def make(**parameters: object) -> OperatorNode:
        node = unconfigured(joy_timeout_s=5.0, **parameters)
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        operator_executor.add_node(node)
        met_robot.until(
            lambda: dict(node.view().lines)["next"].startswith(("stand", "take control")),
            "the policy node",
        )
        return node

    return make
