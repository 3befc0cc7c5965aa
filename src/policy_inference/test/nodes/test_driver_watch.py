# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node leaves its motion when the driver of its robot stops following."""

from collections.abc import Iterator

import pytest
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from policy_core.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.wording import check_wording

from .harness import Robot, counters, is_damp

pytestmark = pytest.mark.ros
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Driver:
    """What a policy node hears of a driver, which receives its commands."""

    def __init__(self, robot: Robot, node: JointPolicyNode) -> None:
        self._robot, self._watch = robot, node.driver
        self.node = Node("some_driver", use_global_arguments=False)
        self.node.create_subscription(JointCommand, "joint_command", lambda _: None, 1)
        self._status = self.node.create_publisher(RobotStatus, "~/status", _LATCHED)

    def is_in(self, state: int, reason: str) -> None:
        """Say so, and wait until the node has heard it."""
        self._watch.drives_c = ()
        self._status.publish(RobotStatus(state=state, reason=reason, temperature_c=[41.0]))
        self._robot.until(lambda: self._watch.drives_c, "the driver's status to be heard")


@pytest.fixture
def some_driver(lockstep_node: JointPolicyNode, lockstep: Robot) -> Iterator[Driver]:
    """The driver of a robot whose policy node is active."""
    driver = Driver(lockstep, lockstep_node)
    yield driver
    driver.node.destroy_node()


def test_a_run_ends_in_the_next_tick_with_the_drivers_reason(
    partner: Robot, some_driver: Driver
) -> None:
    some_driver.is_in(RobotStatus.FOLLOWING, "the driver follows the newest joint_command")
    partner.runs()
    some_driver.is_in(RobotStatus.DAMPING, "no recent state from the robot")
    assert is_damp(partner.tick())
    status = partner.newest()
    assert status.mode == Mode.DAMP
    assert not status.latched
    assert status.reason.startswith("driver: ")
    check_wording(status.reason)
    assert counters(status)["driver"] == 1
    some_driver.is_in(
        RobotStatus.FOLLOWING, "the driver follows the newest joint_command, which damps"
    )
    partner.runs()
    some_driver.is_in(RobotStatus.LISTENING, "the link process has ended by itself")
    assert is_damp(partner.tick())


def test_a_driver_that_has_not_taken_control_lets_a_policy_run(
    partner: Robot, some_driver: Driver
) -> None:
    some_driver.is_in(RobotStatus.LISTENING, "the robot's own controller is in charge")
    partner.runs()
    some_driver.is_in(RobotStatus.LISTENING, "the robot's own controller is in charge")
    assert not is_damp(partner.tick())
