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
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from policy_core.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.testing.models import weights
from testkit.edits import MISSING
from testkit.ros_time import stamp
from testkit.wording import check_wording

from .bundles import JOINTS, STAND, write_bundle
from .harness import Robot, StageOf, staged

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


TrackingStage = StageOf[TrackingRobot, JointPolicyNode]


@pytest.fixture
def tracking_stage(log_since: Callable[[], str]) -> Iterator[TrackingStage]:
    with staged(TrackingRobot, JointPolicyNode, log_since) as stage:
        yield stage


@pytest.fixture
def tracking_node(tracking_stage: TrackingStage, tmp_path: Path) -> JointPolicyNode:
    """A node that commands nothing but damping so far."""
    bundle = str(write_bundle(tmp_path / "tracker", CONTRACT))
    return tracking_stage.active(bundle=bundle, use_sim_time=True)


@pytest.fixture
def tracker(tracking_stage: TrackingStage, tracking_node: JointPolicyNode) -> TrackingRobot:
    tracking_stage.robot.heading_rad = 0.7
    tracking_stage.robot.runs()
    return tracking_stage.robot


def test_the_newest_frame_is_tracked_from_where_the_robot_was(tracker: TrackingRobot) -> None:
    np.testing.assert_allclose(
        tracker.tick().position, tracker.commanded_for((0.1, -0.1), 0.0), atol=1e-6
    )
    tracker.frame, tracker.heading_rad = (0.4, 0.3), 1.2
    np.testing.assert_allclose(
        tracker.tick().position, tracker.commanded_for((0.4, 0.3), 0.5), atol=1e-6
    )


@pytest.mark.parametrize("silent", [JOINTS_TOPIC, ANCHOR_TOPIC])
def test_a_motion_that_falls_silent_holds_until_it_comes_back_or_damps(
    tracker: TrackingRobot, silent: str
) -> None:
    tracker.silent = {silent}
    tracker.ticks(TIMEOUT_TICKS)
    assert tracker.commands[-1].mode == Mode.RUN
    assert tracker.tick().mode == Mode.HOLD
    check_wording(tracker.hears(f"HOLD: {silent}: "))
    tracker.silent, tracker.frame = set(), (0.2, 0.0)
    found = tracker.tick()
    assert found.mode == Mode.RUN
    np.testing.assert_allclose(found.position, tracker.commanded_for((0.2, 0.0), 0.0), atol=1e-6)
    tracker.silent = {silent}
    tracker.until(lambda: tracker.tick().mode == Mode.DAMP, "DAMP")
    tracker.hears(f"DAMP: held_too_long: {silent}: ")
