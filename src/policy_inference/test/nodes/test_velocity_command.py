# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The velocity command on its way to the policy."""

from collections.abc import Callable

import pytest
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from rclpy.serialization import serialize_message

from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.ros_time import stamp
from testkit.wording import check_wording

from .harness import NAN, Robot, counters, status_of_input

pytestmark = pytest.mark.ros


def position_of(robot: Robot) -> list[float]:
    return list(robot.tick().position)


def sends_speed(robot: Robot, vx: float) -> None:
    robot.until(lambda: robot.cmd_vel.get_subscription_count() == 1, "the command's listener")
    robot.cmd_vel.publish(Twist(linear=Vector3(x=vx)))


def test_command_reaches_the_policy(lockstep: Robot) -> None:
    still = position_of(lockstep.runs())
    sends_speed(lockstep, 0.7)
    lockstep.until(
        lambda: position_of(lockstep) != pytest.approx(still, abs=1e-3), "another target"
    )


def test_stamped_command_reaches_the_policy(
    activate: Callable[..., JointPolicyNode], partner: Robot
) -> None:
    partner.node.destroy_publisher(partner.cmd_vel)
    stamped = partner.node.create_publisher(TwistStamped, "cmd_vel", 10)
    activate(use_sim_time=True, stamped_command=True)
    still = position_of(partner.runs())
    partner.until(lambda: stamped.get_subscription_count() == 1, "the command's listener")
    message = TwistStamped()
    message.twist.linear.x = 0.7
    stamped.publish(message)
    partner.until(lambda: position_of(partner) != pytest.approx(still, abs=1e-3), "another target")


def test_stamped_command_that_is_repeated_or_old_is_not_followed(
    activate: Callable[..., JointPolicyNode], partner: Robot
) -> None:
    partner.node.destroy_publisher(partner.cmd_vel)
    stamped = partner.node.create_publisher(TwistStamped, "cmd_vel", 10)
    activate(use_sim_time=True, stamped_command=True)
    partner.runs()
    partner.until(lambda: stamped.get_subscription_count() == 1, "the command's listener")
    message = TwistStamped()
    message.header.stamp = stamp(partner.now_ns)
    message.twist.linear.x = 0.7

    def again() -> bool:
        stamped.publish(message)
        partner.tick()
        return bool(partner.statuses) and counters(partner.statuses[-1])["stale_command"] == 1

    partner.until(again, "the command to fade")


def test_command_that_is_not_finite_is_ignored_and_counted(lockstep: Robot) -> None:
    sends_speed(lockstep.runs(), 0.7)
    lockstep.tick()
    sends_speed(lockstep, NAN)
    status = lockstep.reported(
        lambda s: lockstep.tick() and counters(s)["bad_command"] == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    check_wording(status_of_input(status, "cmd_vel").text)


def test_command_that_cannot_be_read_is_ignored_and_counted(lockstep: Robot) -> None:
    sends_speed(lockstep.runs(), 0.7)
    lockstep.tick()
    lockstep.cmd_vel.publish(serialize_message(Twist())[:-1])
    status = lockstep.reported(
        lambda s: lockstep.tick() and counters(s)["bad_command"] == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    check_wording(status_of_input(status, "cmd_vel").text)


def test_second_publisher_is_only_warned_of(
    activate: Callable[..., JointPolicyNode], partner: Robot
) -> None:
    node = activate(use_sim_time=True)
    partner.is_met()
    partner.is_joined_by_publisher(node, Twist, "cmd_vel")
    check_wording(partner.hears("2 publishers", level="WARN"))
    partner.runs()
