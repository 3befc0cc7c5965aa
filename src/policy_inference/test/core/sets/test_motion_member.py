# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A motion as a member of a set: it begins where the robot is, and the set goes on at its end."""

import numpy as np

from policy_inference.interfaces import F64, Mode

from ..contracts import MOTION, clip_of, quat_xyzw
from .walkers import CROUCH, SetRobot

FRAMES = 10
TERMS = [{"term": "motion_joint_pos"}, {"term": "motion_anchor_ori_b"}]
LEVEL = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def dancing() -> SetRobot:
    """Return a robot that walks, in a set whose other state is a motion of ten frames at 50 Hz."""
    bow = {**CROUCH, "observations": {"obs": {"terms": TERMS}}, "motion": MOTION}
    ends = {"after_s": FRAMES / 50, "to": "walk"}
    return SetRobot({"states.crouch.ends": ends}, {"crouch": bow}).walking()


def shown(robot: SetRobot) -> list[F64]:
    """Ask for the motion; return what it is shown until the set walks again."""
    robot.requests.switch("crouch")
    seen = []
    robot.ticks(1)
    while robot.state == "crouch":
        seen.append(robot.observed_by("crouch"))
        robot.ticks(1)
    return seen


def test_a_motion_begins_at_its_first_frame_each_time() -> None:
    robot, clip = dancing(), clip_of(FRAMES)
    for _ in range(2):
        seen = shown(robot)
        np.testing.assert_allclose([row[:3] for row in seen], clip.joint_pos, atol=1e-6)
        robot.ticks(20)
        assert robot.is_in(Mode.RUN)


def test_a_motion_begins_with_the_heading_that_the_robot_has_then() -> None:
    robot = dancing()
    for yaw in (0.0, 2.0, -1.0):
        robot.sensed["quat_xyzw"] = quat_xyzw(0.0, 0.0, yaw)
        robot.ticks(20)
        np.testing.assert_allclose([row[3:] for row in shown(robot)], [LEVEL] * FRAMES, atol=1e-6)
