# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that tracks a motion which comes on topics: what it commands, and what stops it."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import JointState

from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.testing.models import weights

from .bundles import JOINTS, MISSING, STAND, write_bundle
from .harness import Robot, StageOf, stamp

pytestmark = pytest.mark.ros
JOINTS_TOPIC, ANCHOR_TOPIC = "motion/joints", "motion/anchor"
TERMS = [{"term": "motion_joint_pos"}, {"term": "motion_anchor_ori_b"}]
SIZE = len(JOINTS) + 6
TIMEOUT_TICKS = 5
CONTRACT: dict[str, object] = {
    "observations": {"obs": {"terms": TERMS}},
    "model.inputs": {"obs": {"shape": [1, SIZE]}},
    "velocity_command": MISSING,
    "motion": {"live": {"timeout_s": 0.1}, "anchor": {"body": "trunk", "chain": []}},
}
"""At 50 Hz the time-out is five ticks."""


class TrackingRobot(Robot):
    """A robot, and beside it whoever sends the reference: a frame with each sample."""

    def __init__(self, executor: Any, new_log: Callable[[], str]) -> None:
        super().__init__(executor, new_log)
        self.frame_names: Sequence[str] = JOINTS
        self.frame: Sequence[float] = (0.1, -0.1)
        self.heading_rad, self.late_ns = 0.0, 0
        self._joints = self.node.create_publisher(JointState, JOINTS_TOPIC, 1)
        self._anchor = self.node.create_publisher(PoseStamped, ANCHOR_TOPIC, 1)

    def send(self) -> None:
        """Publish sensors and the frame, less what is silent."""
        super().send()
        time = stamp(max(0, self.now_ns - self.late_ns))
        if JOINTS_TOPIC not in self.silent:
            message = JointState(name=list(self.frame_names), position=array("d", self.frame))
            message.header.stamp = time
            self._joints.publish(message)
        if ANCHOR_TOPIC not in self.silent:
            pose = PoseStamped()
            pose.header.stamp = time
            half = 0.5 * self.heading_rad
            pose.pose.orientation.z, pose.pose.orientation.w = math.sin(half), math.cos(half)
            self._anchor.publish(pose)

    def commanded_for(self, frame: Sequence[float], turned_rad: float) -> list[float]:
        """Return what the model makes of a frame, turned against the first one."""
        c, s = math.cos(turned_rad), math.sin(turned_rad)
        obs = np.array([*frame, c, -s, s, c, 0.0, 0.0])
        return [*(np.array(STAND) + 0.1 * (obs @ weights(SIZE, len(JOINTS))))]

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.tick()


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[StageOf[TrackingRobot, JointPolicyNode]]:
    rclpy.init(args=[])
    stage = StageOf(TrackingRobot, JointPolicyNode, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def node(stage: StageOf[TrackingRobot, JointPolicyNode], tmp_path: Path) -> JointPolicyNode:
    """A node that commands nothing but damping so far."""
    made = stage.node(bundle=str(write_bundle(tmp_path / "tracker", CONTRACT)), use_sim_time=True)
    assert made.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert made.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return made


@pytest.fixture
def robot(stage: StageOf[TrackingRobot, JointPolicyNode], node: JointPolicyNode) -> TrackingRobot:
    """A robot that tracks."""
    stage.robot.heading_rad = 0.7
    stage.robot.runs()
    return stage.robot


def test_the_newest_frame_is_tracked_from_where_the_robot_was(robot: TrackingRobot) -> None:
    np.testing.assert_allclose(
        robot.tick().position, robot.commanded_for((0.1, -0.1), 0.0), atol=1e-6
    )
    robot.frame, robot.heading_rad = (0.4, 0.3), 1.2
    np.testing.assert_allclose(
        robot.tick().position, robot.commanded_for((0.4, 0.3), 0.5), atol=1e-6
    )


@pytest.mark.parametrize("silent", [JOINTS_TOPIC, ANCHOR_TOPIC])
def test_a_motion_that_falls_silent_holds_the_robot_and_then_damps(
    robot: TrackingRobot, silent: str
) -> None:
    robot.silent = {silent}
    robot.ticks(TIMEOUT_TICKS)
    assert robot.commands[-1].mode == Mode.RUN
    assert robot.tick().mode == Mode.HOLD
    assert robot.hears(f"HOLD: {silent}: 120 ms old, limit 100 ms")
    robot.until(lambda: robot.tick().mode == Mode.DAMP, "DAMP")
    assert robot.hears(f"DAMP: held_too_long: {silent}: ")


def test_a_motion_that_comes_back_is_tracked_again(robot: TrackingRobot) -> None:
    robot.silent = {JOINTS_TOPIC}
    robot.until(lambda: robot.tick().mode == Mode.HOLD, "HOLD")
    robot.silent, robot.frame = set(), (0.2, 0.0)
    found = robot.tick()
    assert found.mode == Mode.RUN
    np.testing.assert_allclose(found.position, robot.commanded_for((0.2, 0.0), 0.0), atol=1e-6)


@pytest.mark.parametrize(
    ("names", "frame", "problem"),
    [
        (("left", "wing"), (0.3, 0.3), "missing: right; the message has left, wing"),
        (JOINTS, (0.3, math.nan), "expected finite numbers, found NaN or infinite ones"),
        (JOINTS, (0.3, 0.3, 0.3), "expected 2 values, one per name, found 3"),
    ],
    ids=["other joints", "NaN", "too many values"],
)
def test_frames_that_do_not_fit_are_not_tracked(
    robot: TrackingRobot, names: Sequence[str], frame: Sequence[float], problem: str
) -> None:
    before = list(robot.tick().position)
    robot.frame_names, robot.frame = names, frame
    assert list(robot.tick().position) == pytest.approx(before)
    robot.ticks(TIMEOUT_TICKS - 1)
    assert robot.tick().mode == Mode.HOLD
    robot.hears(f"HOLD: {JOINTS_TOPIC}: 120 ms old, limit 100 ms (")
    assert problem in robot.log


def test_frames_that_come_ever_later_are_not_tracked(robot: TrackingRobot) -> None:
    def later() -> bool:
        robot.late_ns += robot.period_ns // 2
        return bool(robot.tick().mode == Mode.HOLD)

    robot.until(later, "HOLD")
    assert robot.hears(f"HOLD: {JOINTS_TOPIC}: ")


def test_two_senders_of_a_motion_are_refused(
    stage: StageOf[TrackingRobot, JointPolicyNode], node: JointPolicyNode
) -> None:
    robot = stage.robot
    robot.is_met()
    robot.is_joined_by_publisher(node, JointState, JOINTS_TOPIC)
    robot.tick()
    response = robot.ask("stand")
    assert not response.success
    assert f"{JOINTS_TOPIC}: 2 publishers, expected 1" in response.message


def test_a_robot_does_not_stand_up_without_the_motion(
    stage: StageOf[TrackingRobot, JointPolicyNode], node: JointPolicyNode
) -> None:
    robot = stage.robot
    robot.silent = {ANCHOR_TOPIC}
    robot.is_met()
    robot.tick()
    response = robot.ask("stand")
    assert not response.success
    assert f"{ANCHOR_TOPIC}: no message" in response.message
