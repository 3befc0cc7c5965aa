# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The velocity command on its way to the policy."""

from collections.abc import Callable

import pytest
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from policy_msgs.msg import PolicyStatus
from rclpy.serialization import serialize_message

from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .harness import NAN, Robot, stamp

pytestmark = pytest.mark.ros


def position(robot: Robot) -> list[float]:
    return list(robot.tick().position)


def move(robot: Robot, vx: float) -> None:
    robot.until(lambda: robot.cmd_vel.get_subscription_count() == 1, "the command's listener")
    robot.cmd_vel.publish(Twist(linear=Vector3(x=vx)))


def test_command_reaches_the_policy(lockstep: Robot) -> None:
    still = position(lockstep.runs())
    move(lockstep, 0.7)
    lockstep.until(lambda: position(lockstep) != pytest.approx(still, abs=1e-3), "another target")


def test_stamped_command_reaches_the_policy(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    robot.node.destroy_publisher(robot.cmd_vel)
    stamped = robot.node.create_publisher(TwistStamped, "cmd_vel", 10)
    active(use_sim_time=True, stamped_command=True)
    still = position(robot.runs())
    robot.until(lambda: stamped.get_subscription_count() == 1, "the command's listener")
    message = TwistStamped()
    message.twist.linear.x = 0.7
    stamped.publish(message)
    robot.until(lambda: position(robot) != pytest.approx(still, abs=1e-3), "another target")


def test_stamped_command_that_is_repeated_or_old_is_not_followed(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    robot.node.destroy_publisher(robot.cmd_vel)
    stamped = robot.node.create_publisher(TwistStamped, "cmd_vel", 10)
    active(use_sim_time=True, stamped_command=True)
    robot.runs()
    robot.until(lambda: stamped.get_subscription_count() == 1, "the command's listener")
    message = TwistStamped()
    message.header.stamp = stamp(robot.now_ns)
    message.twist.linear.x = 0.7

    def again() -> bool:
        stamped.publish(message)
        robot.tick()
        return bool(robot.statuses) and counter(robot.statuses[-1], "stale_command") == 1

    robot.until(again, "the command to fade")


def test_command_that_is_not_finite_is_ignored_and_counted(lockstep: Robot) -> None:
    move(lockstep.runs(), 0.7)
    lockstep.tick()
    move(lockstep, NAN)
    status = lockstep.reported(
        lambda s: lockstep.tick() and counter(s, "bad_command") == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    assert "expected finite numbers" in next(
        entry.text for entry in status.inputs if entry.name == "cmd_vel"
    )


def test_command_that_cannot_be_read_is_ignored_and_counted(lockstep: Robot) -> None:
    move(lockstep.runs(), 0.7)
    lockstep.tick()
    lockstep.cmd_vel.publish(serialize_message(Twist())[:-1])
    status = lockstep.reported(
        lambda s: lockstep.tick() and counter(s, "bad_command") == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    assert "cmd_vel: expected a geometry_msgs/msg/Twist, found 51 bytes" in next(
        entry.text for entry in status.inputs if entry.name == "cmd_vel"
    )


def test_second_publisher_is_only_warned_of(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    node = active(use_sim_time=True)
    robot.is_met()
    robot.is_joined_by_publisher(node, Twist, "cmd_vel")
    assert "[WARN]" in next(
        line
        for line in robot.hears("publishers on cmd_vel").splitlines()
        if "publishers on cmd_vel" in line
    )
    robot.runs()


def counter(status: PolicyStatus, name: str) -> int:
    return int({c.name: c.count for c in status.guard_counters}[name])
