# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A motion as a member of a set: it begins where the robot is, and the set goes on at its end."""

import numpy as np
import pytest

from policy_core.errors import RefusedError
from policy_core.interfaces import F64, Mode
from testkit.kernel.contracts import MOTION, clip_of, quat_xyzw
from testkit.kernel.walkers import CROUCH, Changes, SetRobot
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

FRAMES = 10
TERMS = [{"term": "motion_joint_pos"}, {"term": "motion_anchor_ori_b"}]
LEVEL = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def dancing(changes: Changes | None = None, **bow: object) -> SetRobot:
    """Return a robot that walks, in a set whose other state is a motion of ten frames at 50 Hz."""
    tracker = {**CROUCH, "observations": {"obs": {"terms": TERMS}}, "motion": MOTION, **bow}
    ends = {"states.crouch.ends": {"to": "walk"}}
    return SetRobot({**ends, **(changes or {})}, {"crouch": tracker}).walking()


def motion_shown(robot: SetRobot) -> list[F64]:
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
        seen = motion_shown(robot)
        np.testing.assert_allclose([row[:3] for row in seen], clip.joint_pos, atol=1e-6)
        assert robot.policy.report.last[:2] == ("crouch", "walk")
        robot.ticks(20)
        assert robot.is_in(Mode.RUN)


@pytest.mark.parametrize(
    ("ends", "bow", "ticks"),
    [({"after_s": 0.1}, {}, 5), ({}, {"rate_hz": 25}, 2 * FRAMES)],
    ids=["stated time", "slower motion"],
)
def test_a_state_ends_after_its_stated_time_or_that_of_its_motion(
    ends: Changes, bow: dict[str, object], ticks: int
) -> None:
    robot = dancing({"states.crouch.ends": {**ends, "to": "walk"}}, **bow)
    assert len(motion_shown(robot)) == ticks


def test_ticks_of_a_hold_do_not_shorten_the_motion() -> None:
    robot = dancing()
    robot.requests.switch("crouch")
    robot.ticks(4)
    while not robot.is_in(Mode.HOLD):
        robot.tick(silent=["joint_states"])
    robot.tick(silent=["joint_states"])
    seen = robot.observed_by("crouch")[:3]
    ticks = 0
    while robot.state == "crouch":
        robot.ticks(1)
        ticks += 1
    before = np.abs(clip_of(FRAMES).joint_pos - seen).max(axis=1).argmin()
    assert ticks == FRAMES - before


def test_a_motion_is_entered_near_its_first_frame_only() -> None:
    near = {"when": {"pose": "first_frame", "pose_within": 0.1}, "blend_s": 0.1}
    robot = dancing({"states.walk.to": {"crouch": near}})
    robot.tick(joint_pos=np.add(clip_of(FRAMES).joint_pos[0], [0.0, 0.2, 0.0]))
    with refusal(RefusedError):
        robot.requests.switch("crouch")
    robot.tick(joint_pos=clip_of(FRAMES).joint_pos[0])
    robot.requests.switch("crouch")
    robot.ticks(1)
    assert robot.state == "crouch"


LIVE = {"live": {"timeout_s": 0.1}, "anchor": MOTION["anchor"]}
SILENT = ["motion/joints"]
TRACKED = [0.1, 0.6, -0.4]


def following_live_motion(changes: Changes | None = None) -> SetRobot:
    """Return a robot that walks, in a set whose other state tracks a live motion."""
    changes = {"states.crouch.ends": {"after_s": 60, "to": "walk"}, **(changes or {})}
    robot = dancing(changes, motion=LIVE)
    robot.sense({"live_joint_pos": TRACKED, "live_anchor_quat_xyzw": quat_xyzw(0.0, 0.0, 0.5)})
    return robot


def test_a_live_motion_is_shown_while_its_member_commands() -> None:
    robot = following_live_motion()
    robot.requests.switch("crouch")
    robot.ticks(3)
    np.testing.assert_allclose(robot.observed_by("crouch"), [*TRACKED, *LEVEL], atol=1e-6)
    robot.tick(live_joint_pos=[0.2, 0.6, -0.4])
    assert robot.observed_by("crouch")[0] == pytest.approx(0.2)


def test_a_robot_stands_up_when_the_inputs_of_all_members_are_there() -> None:
    tracker = {**CROUCH, "observations": {"obs": {"terms": TERMS}}, "motion": LIVE}
    robot = SetRobot(members={"crouch": tracker})
    robot.tick(silent=SILENT)
    with refusal(RefusedError):
        robot.controller.stand()


@pytest.mark.parametrize("returns", [True, False])
def test_without_a_fallback_a_silent_live_motion_holds_the_robot_and_then_damps(
    returns: bool,
) -> None:
    robot = following_live_motion()
    robot.requests.switch("crouch")
    robot.ticks(20)
    for _ in range(7):
        robot.tick(silent=SILENT)
    assert robot.is_in(Mode.HOLD)
    check_wording(robot.reason)
    if returns:
        robot.ticks(1)
        assert (robot.is_in(Mode.RUN), robot.state) == (True, "crouch")
        return
    while robot.is_in(Mode.HOLD):
        robot.tick(silent=SILENT)
    assert robot.is_in(Mode.DAMP)
    assert "motion/joints" in robot.reason
