# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joystick instead of a leader arm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy

from robot_operator.nodes.jogged_leader import JoggedLeader

pytestmark = pytest.mark.ros
NAMES = ("pan", "lift", "elbow", "wrist")
DEADLINE_S, PERIOD_NS, REACH = 30.0, 50_000_000, 0.3
VALID_FOR = Duration(sec=1)


class Hand:
    """An arm that stays where it is, the policy node's guide, and a velocity command."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        self._executor, self.node = executor, Node("hand", use_global_arguments=False)
        executor.add_node(self.node)
        self._tick = 0
        self.names: Sequence[str] = NAMES
        self.arm = [0.1, 0.2, 0.3, 0.4]
        self.guide: JointCommand | None = None
        self.velocity: Twist | None = None
        self.buttons: list[int] = []
        self.poses: list[JointState] = []
        make = self.node.create_publisher
        self._joints = make(JointState, "joint_states", 1)
        self._guides = make(JointCommand, "leader/joint_command", 1)
        self._velocities = make(Twist, "cmd_vel", 1)
        self._joy = make(Joy, "joy", 1)
        self.node.create_subscription(JointState, "leader/joint_states", self.poses.append, 100)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Publish all, a tick later each time, until the condition holds."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"never: {what}: {self.poses[-1:]}"
            self.goes_on(1)

    def goes_on(self, ticks: int) -> None:
        """Publish all, so many times."""
        for _ in range(ticks):
            self._tick += 1
            if self.guide is not None:
                self._guides.publish(self.guide)
            if self.velocity is not None:
                self._velocities.publish(self.velocity)
            if self.buttons:
                self._joy.publish(Joy(buttons=self.buttons))
            for _ in range(4):
                self._executor.spin_once(timeout_sec=0.005)
            sec, nanosec = divmod(self._tick * PERIOD_NS, 1_000_000_000)
            message = JointState(name=list(self.names), position=self.arm)
            message.header.stamp = Time(sec=sec, nanosec=nanosec)
            self._joints.publish(message)
            for _ in range(4):
                self._executor.spin_once(timeout_sec=0.005)

    @property
    def pose(self) -> list[float]:
        return list(self.poses[-1].position) if self.poses else []

    def takes_over(self) -> None:
        """Have the policy node lead to a pose, and leave the leader there."""
        self.is_led(self.arm, 1.0)
        self.until(lambda: self.pose == self.arm, "the arm's pose")
        self.is_led(self.arm, 0.0)

    def is_led(self, position: list[float], stiffness: float) -> None:
        """Have the policy node command the leader from now on."""
        self.guide = JointCommand(
            names=list(NAMES),
            position=position,
            stiffness=[stiffness] * len(NAMES),
            valid_for=VALID_FOR,
        )


@pytest.fixture
def hand(operator_executor: SingleThreadedExecutor) -> Iterator[Hand]:
    """A hand beside the leader."""
    leader, hand = JoggedLeader(), Hand(operator_executor)
    operator_executor.add_node(leader)
    leader.trigger_configure()
    leader.trigger_activate()
    yield hand
    leader.leave()
    leader.destroy_node()
    hand.node.destroy_node()


def test_it_has_the_pose_of_the_arm_and_goes_where_the_policy_node_leads_it(hand: Hand) -> None:
    hand.until(lambda: hand.pose == hand.arm, "the arm's pose")
    hand.is_led([0.5, 0.6, 0.7, 0.8], 1.0)
    hand.until(lambda: hand.pose == [0.5, 0.6, 0.7, 0.8], "the guide's pose")


def test_velocities_move_three_joints_and_a_button_goes_on_to_the_next(hand: Hand) -> None:
    hand.takes_over()
    hand.velocity = Twist()
    hand.velocity.linear.x, hand.velocity.linear.y, hand.velocity.angular.z = -0.2, 0.3, 0.4
    hand.until(lambda: hand.pose[0] > 0.2, "a joint that moves")
    assert hand.pose[1] < 0.2
    assert hand.pose[2] > 0.3
    assert hand.pose[3] == 0.4

    hand.buttons = [0] * 11
    hand.until(lambda: len(hand.poses) > 30, "a released button")
    hand.buttons[10] = 1
    hand.until(lambda: hand.pose[3] > 0.5, "the fourth joint")


def test_a_joint_goes_no_further_than_its_reach_from_the_arm(hand: Hand) -> None:
    hand.takes_over()
    hand.velocity = Twist()
    hand.velocity.angular.z = 2.0
    hand.until(lambda: hand.pose[0] == pytest.approx(0.1 + REACH), "the reach")
    count = len(hand.poses)
    hand.until(lambda: len(hand.poses) > count + 10, "more of it")
    assert hand.pose[0] == pytest.approx(0.1 + REACH)


def test_a_silent_velocity_command_stops_the_joints(hand: Hand) -> None:
    hand.takes_over()
    hand.velocity = Twist()
    hand.velocity.angular.z = 0.1
    hand.until(lambda: hand.pose[0] > 0.1, "a joint that moves")
    hand.velocity = None
    count = len(hand.poses)
    hand.until(lambda: len(hand.poses) > count + 15, "more than the time-out")
    rests = hand.pose
    hand.until(lambda: len(hand.poses) > count + 25, "half a second")
    assert hand.pose == rests


@pytest.mark.parametrize("wrong", ["NaN", "a joint is missing"])
def test_a_pose_of_the_arm_that_is_none_is_not_answered(hand: Hand, wrong: str) -> None:
    hand.takes_over()
    hand.velocity = Twist()
    hand.velocity.angular.z = 0.1
    hand.until(lambda: hand.pose[0] > 0.1, "a joint that moves")
    good, hand.velocity = hand.arm, None
    hand.arm = {
        "NaN": [float("nan"), *good[1:]],
        "too few positions": good[:2],
        "a joint is missing": good[1:],
    }[wrong]
    hand.names = NAMES[1:] if wrong == "a joint is missing" else NAMES
    hand.goes_on(5)
    count = len(hand.poses)
    hand.goes_on(5)
    assert len(hand.poses) == count

    hand.arm, hand.names = good, NAMES
    hand.until(lambda: len(hand.poses) > count + 5, "an answer")
    assert hand.pose[0] > 0.1


def test_a_guide_for_other_joints_is_ignored(hand: Hand) -> None:
    hand.takes_over()
    count = len(hand.poses)
    hand.guide = JointCommand(names=["hip"], position=[0.5], stiffness=[1.0], valid_for=VALID_FOR)
    hand.until(lambda: len(hand.poses) > count + 10, "answers")
    assert hand.pose == hand.arm


def test_a_velocity_that_is_not_finite_moves_nothing(hand: Hand) -> None:
    hand.takes_over()
    hand.velocity = Twist()
    hand.velocity.angular.z = float("nan")
    count = len(hand.poses)
    hand.until(lambda: len(hand.poses) > count + 10, "answers")
    assert hand.pose == hand.arm
