# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that tracks a motion which comes on topics: what it commands, and what stops it."""

import math
from array import array
from collections.abc import Callable
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
from .harness import Activate, Robot
from .kinds import Kind

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
        self.frame, self.heading_rad = (0.1, -0.1), 0.7
        self._joints = self.node.create_publisher(JointState, JOINTS_TOPIC, 1)
        self._anchor = self.node.create_publisher(PoseStamped, ANCHOR_TOPIC, 1)

    def send(self) -> None:
        """Publish sensors and the frame, less what is silent."""
        super().send()
        if JOINTS_TOPIC not in self.silent:
            message = JointState(name=list(JOINTS), position=array("d", self.frame))
            message.header.stamp = stamp(self.now_ns)
            self._joints.publish(message)
        if ANCHOR_TOPIC not in self.silent:
            pose = PoseStamped()
            pose.header.stamp = stamp(self.now_ns)
            half = 0.5 * self.heading_rad
            pose.pose.orientation.z, pose.pose.orientation.w = math.sin(half), math.cos(half)
            self._anchor.publish(pose)


@pytest.fixture
def kind() -> Kind:
    return Kind(
        "tracker", TrackingRobot, JointPolicyNode, lambda folder, _: write_bundle(folder, CONTRACT)
    )


@pytest.fixture
def tracker(activate: Activate, partner: TrackingRobot) -> TrackingRobot:
    activate(use_sim_time=True)
    partner.runs()
    return partner


def assert_tracks(tracker: TrackingRobot, turned_rad: float) -> None:
    """Require what the model makes of the frame, turned so far against the first one."""
    c, s = math.cos(turned_rad), math.sin(turned_rad)
    obs = np.array([*tracker.frame, c, -s, s, c, 0.0, 0.0])
    expected = np.array(STAND) + 0.1 * (obs @ weights(SIZE, len(JOINTS)))
    np.testing.assert_allclose(tracker.tick().position, expected, atol=1e-6)


def test_the_newest_frame_is_tracked_from_where_the_robot_was(tracker: TrackingRobot) -> None:
    assert_tracks(tracker, 0.0)
    tracker.frame, tracker.heading_rad = (0.4, 0.3), 1.2
    assert_tracks(tracker, 0.5)


@pytest.mark.slow
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
    assert_tracks(tracker, 0.0)
    assert tracker.commands[-1].mode == Mode.RUN
    tracker.silent = {silent}
    tracker.until(lambda: tracker.tick().mode == Mode.DAMP, "DAMP")
    tracker.hears(f"DAMP: held_too_long: {silent}: ")
