# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A member of a set that sees the ground, beside one that does not."""

import pytest

from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from testkit.kernel.walkers import CROUCH, Changes, SetRobot
from testkit.wire_messages import SCAN

pytestmark = pytest.mark.both_cores

GROUND = "perception/ground"
PROBLEM = "the pose has jumped: expected a map that was made after the jump, found none"
SEES = [{"term": "joint_pos"}, {"term": "height_scan", "topic": GROUND, "scan": SCAN}]


def seeing(changes: Changes | None = None) -> SetRobot:
    """Return a robot that walks blindly, in a set whose other state sees the ground."""
    crouch = {**CROUCH, "observations": {"obs": {"terms": SEES}}}
    robot = SetRobot(changes, {"crouch": crouch})
    robot.sensed[f"external:{GROUND}"] = (0.1, 0.2)
    return robot.walking()


def say_why(robot: SetRobot, ticks: int) -> None:
    """Tick with messages that say why there is no scan."""
    for _ in range(ticks):
        robot.controller.inputs[GROUND].reject(PROBLEM)
        robot.tick(silent=[GROUND])


def test_what_one_member_perceives_does_not_stop_the_other() -> None:
    robot = seeing()
    say_why(robot, 20)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "walk")


def test_a_state_that_perceives_nothing_valid_is_not_entered() -> None:
    robot = seeing()
    say_why(robot, 20)
    robot.requests.switch("crouch")
    say_why(robot, 1)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "walk")
    (refused,) = robot.policy.refusals
    assert PROBLEM in refused


def test_a_member_that_perceives_nothing_valid_any_more_leads_to_the_fallback() -> None:
    robot = seeing({"states.crouch.fallback": "walk"})
    robot.requests.switch("crouch")
    robot.ticks(20)
    assert robot.state == "crouch"
    say_why(robot, 7)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "walk")
    assert PROBLEM in robot.policy.report.last[2]


def test_without_a_fallback_it_is_held_and_recovers() -> None:
    robot = seeing()
    robot.requests.switch("crouch")
    robot.ticks(20)
    say_why(robot, 7)
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.NO_TARGET) == 1
    assert PROBLEM in robot.reason
    robot.ticks(1)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "crouch")
