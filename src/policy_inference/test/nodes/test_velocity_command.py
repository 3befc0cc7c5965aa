# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The velocity command on its way to the policy."""

import pytest
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message

from policy_core.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.ros_time import stamp
from testkit.wording import check_wording

from .harness import NAN, Activate, Robot, counters, status_of_input

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


@pytest.fixture
def stamped_command(activate: Activate, partner: Robot) -> Publisher:
    partner.node.destroy_publisher(partner.cmd_vel)
    stamped = partner.node.create_publisher(TwistStamped, "cmd_vel", 10)
    activate(use_sim_time=True, stamped_command=True)
    partner.runs()
    partner.until(lambda: stamped.get_subscription_count() == 1, "the command's listener")
    return stamped


def test_stamped_command_reaches_the_policy(partner: Robot, stamped_command: Publisher) -> None:
    still = position_of(partner)
    stamped_command.publish(TwistStamped(twist=Twist(linear=Vector3(x=0.7))))
    partner.until(lambda: position_of(partner) != pytest.approx(still, abs=1e-3), "another target")


def test_stamped_command_that_is_repeated_or_old_is_not_followed(
    partner: Robot, stamped_command: Publisher
) -> None:
    message = TwistStamped(twist=Twist(linear=Vector3(x=0.7)))
    message.header.stamp = stamp(partner.now_ns)

    def again() -> bool:
        stamped_command.publish(message)
        partner.tick()
        return bool(partner.statuses) and counters(partner.statuses[-1])["stale_command"] == 1

    partner.until(again, "the command to fade")


@pytest.mark.parametrize(
    "message", [Twist(linear=Vector3(x=NAN)), serialize_message(Twist())[:-1]], ids=["NaN", "cut"]
)
def test_command_that_makes_no_sense_is_ignored_and_counted(
    lockstep: Robot, message: Twist | bytes
) -> None:
    sends_speed(lockstep.runs(), 0.7)
    lockstep.tick()
    lockstep.cmd_vel.publish(message)
    status = lockstep.reported(
        lambda s: lockstep.tick() and counters(s)["bad_command"] == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    check_wording(status_of_input(status, "cmd_vel").text)


def test_second_publisher_is_only_warned_of(
    lockstep_node: JointPolicyNode, lockstep: Robot
) -> None:
    lockstep.is_joined_by_publisher(lockstep_node, Twist, "cmd_vel")
    check_wording(lockstep.hears("2 publishers", level="WARN"))
    lockstep.runs()
