# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conditions of a switch, requests that wait, and the way back to standing."""

import math
from collections.abc import Callable, Mapping

import pytest

from policy_core.errors import RefusedError
from policy_core.interfaces import Mode
from testkit.kernel.contracts import TERMS_OF_A_WALKER, quat_xyzw
from testkit.kernel.walkers import SetRobot
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

PHASE = {
    "observations": {"obs": {"terms": [*TERMS_OF_A_WALKER, {"term": "phase", "period_s": 0.4}]}}
}
Move = Callable[[SetRobot], object]


def not_moved(robot: SetRobot) -> object:
    return robot.tick()


def command_turn(robot: SetRobot) -> object:
    robot.controller.command.set((0.0, 0.0, 0.5), robot.now_ns)
    return robot.tick()


# Conditions, what breaks them, and the numbers in the reason.
CONDITIONS = [
    (
        {"pose": "stand", "pose_within": 0.1},
        lambda robot: robot.tick(joint_pos=(0.3, 0.5, -0.5)),
        [0.30, 0.10],
    ),
    ({"pose": "low", "pose_within": {"hip": 0.1, ".*e.*": 0.2}}, not_moved, [0.50, 0.20]),
    ({"joint_speed": 2.0}, lambda robot: robot.tick(joint_vel=(0.0, -2.5, 0.0)), [2.5, 2.0]),
    ({"tilt_rad": 0.2}, lambda robot: robot.tick(quat_xyzw=quat_xyzw(0.3, 0.0, 0.0)), [0.3, 0.2]),
    ({"body_rate_rad_s": 1.0}, lambda robot: robot.tick(ang_vel_body=(1.0, 1.0, 0.0)), [1.41, 1]),
    ({"command": [0.1, 0.1, 0.2]}, command_turn, [0.5, 0.2]),
    ({"time_in_state_s": 0.5}, not_moved, [21, 25]),
    # The run has 21 ticks of 0.02 s, and 0.4 s are a period.
    ({"gait_phase": [0.5, 0.9]}, not_moved, [0.05, 0.5, 0.9]),
]
HOLDS: list[tuple[Mapping[str, object], Move]] = [
    ({"pose": "stand", "pose_within": 0.1}, not_moved),
    ({"pose": "first_target", "pose_within": 0.1}, not_moved),
    ({"joint_speed": 2.0, "tilt_rad": 0.2, "body_rate_rad_s": 1.0}, not_moved),
    ({"command": [0.0, 0.0, 0.5]}, command_turn),
    ({"time_in_state_s": 0.4}, not_moved),
    ({"gait_phase": [0.9, 0.2]}, not_moved),
]


def robot_with(when: Mapping[str, object], **transition: object) -> SetRobot:
    """Return a robot that walks, whose switch to the crouch has conditions."""
    return SetRobot(
        {
            "states.walk.to.crouch": {"when": dict(when), **transition},
            "poses": {"low": {"hip": 0.0, "knee": 1.0, "ankle": -0.5}},
        },
        {"walk": PHASE},
    ).walking()


def crouching(changes: Mapping[str, object] | None = None) -> SetRobot:
    """Return a robot that has walked and now crouches."""
    robot = SetRobot(changes or {}).walking()
    robot.requests.switch("crouch")
    robot.ticks(10)
    return robot


def asked_too_fast(**transition: object) -> SetRobot:
    """Return a robot that is too fast for the switch to the crouch that it was asked for."""
    robot = robot_with({"joint_speed": 2.0}, otherwise="wait", **transition)
    robot.tick(joint_vel=(3.0, 0.0, 0.0))
    robot.requests.switch("crouch")
    return robot


def conditions_name(value: object) -> str:
    return ", ".join(value) if isinstance(value, Mapping) else ""


@pytest.mark.parametrize(("when", "move", "numbers"), CONDITIONS, ids=conditions_name)
def test_a_switch_is_refused_with_the_condition_that_does_not_hold(
    when: Mapping[str, object], move: Move, numbers: list[float]
) -> None:
    robot = robot_with(when)
    move(robot)
    with refusal(RefusedError) as caught:
        robot.requests.switch("crouch")
    assert numbers_in(caught.value) == numbers
    robot.ticks(3)
    assert robot.state == "walk"


def test_a_measurement_that_is_no_number_holds_no_condition() -> None:
    robot = robot_with({"pose": "stand", "pose_within": 0.1, "joint_speed": 2.0, "tilt_rad": 0.2})
    for field in ("joint_pos", "joint_vel", "gravity_body"):
        robot.controller.state[field][0] = math.nan
    with refusal(RefusedError):
        robot.requests.switch("crouch")


@pytest.mark.parametrize(("when", "move"), HOLDS, ids=conditions_name)
def test_a_switch_begins_where_its_conditions_hold(when: Mapping[str, object], move: Move) -> None:
    robot = robot_with(when)
    move(robot)
    robot.requests.switch("crouch")
    robot.ticks(1)
    assert robot.state == "crouch"


def test_a_first_target_that_is_too_far_is_found_in_the_tick_and_changes_nothing() -> None:
    robot = robot_with({"pose": "first_target", "pose_within": 0.1})
    robot.answers("crouch", 1.0, 0.0, 0.0)
    robot.requests.switch("crouch")
    robot.ticks(2)
    assert robot.state == "walk"
    check_wording(robot.policy.report.refused)
    assert robot.policy.report.asked == ""


def test_a_request_that_waits_is_granted_once_its_conditions_hold() -> None:
    robot = asked_too_fast()
    robot.ticks(5)
    assert (robot.state, robot.policy.report.asked) == ("walk", "crouch")
    check_wording(robot.policy.report.refused)
    robot.tick(joint_vel=(0.0, 0.0, 0.0))
    assert (robot.state, robot.policy.report.asked) == ("crouch", "")


def test_a_request_waits_no_longer_than_stated() -> None:
    robot = asked_too_fast(timeout_s=0.1)
    robot.ticks(5)
    robot.tick(joint_vel=(0.0, 0.0, 0.0))
    assert (robot.state, robot.policy.report.asked) == ("walk", "")
    check_wording(robot.policy.refusals[-1])


def test_after_a_request_that_waited_for_too_long_another_state_can_be_asked_for() -> None:
    fast = {"when": {"joint_speed": 2.0}, "otherwise": "wait", "timeout_s": 0.1}
    robot = SetRobot(
        {
            "states.walk.to": {"crouch": {**fast, "timeout_state": "low"}, "low": {}},
            "states.low": {"members": ["crouch"], "stand": True},
        }
    ).walking()
    robot.tick(joint_vel=(3.0, 0.0, 0.0))
    robot.requests.switch("crouch")
    robot.ticks(6)
    assert robot.state == "low"


def test_standing_up_goes_by_the_way_back() -> None:
    robot = crouching()
    robot.requests.stand()
    robot.ticks(3)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "walk")
    robot.ticks(5)
    assert robot.is_in(Mode.STAND)
    assert robot.policy.report.last[:2] == ("crouch", "walk")


def test_the_way_back_waits_for_its_conditions() -> None:
    robot = crouching({"states.crouch.to.walk": {"when": {"joint_speed": 2.0}}})
    robot.tick(joint_vel=(3.0, 0.0, 0.0))
    robot.requests.stand()
    robot.ticks(50)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "crouch")
    robot.tick(joint_vel=(0.0, 0.0, 0.0))
    robot.ticks(10)
    assert robot.is_in(Mode.STAND)


def test_a_switch_that_is_asked_for_on_the_way_back_ends_it() -> None:
    slow = {"walk": {"when": {"joint_speed": 2.0}}, "low": {"blend_s": 0.0}}
    low = {"members": ["crouch"], "stand": True}
    robot = crouching({"states.crouch.to": slow, "states.low": low})
    robot.tick(joint_vel=(3.0, 0.0, 0.0))
    robot.requests.stand()
    robot.ticks(1)
    robot.requests.switch("low")
    robot.ticks(5)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "low")


def test_a_state_that_ends_by_itself_is_left_after_its_time() -> None:
    robot = crouching({"states.crouch.ends": {"after_s": 0.4, "to": "walk"}})
    robot.ticks(10)
    assert robot.state == "crouch"
    robot.ticks(1)
    assert robot.state == "walk"
    check_wording(robot.policy.report.last[2])


def test_without_a_velocity_command_for_too_long_the_robot_goes_back_to_standing() -> None:
    robot = SetRobot({"silence_s": 1.0}).walking()
    robot.requests.switch("crouch")
    for _ in range(60):
        robot.controller.inputs["cmd_vel"].accept(robot.now_ns)
        robot.ticks(1)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "crouch")
    robot.ticks(52)
    assert robot.policy.report.last[:2] == ("crouch", "walk")
    robot.ticks(6)
    assert robot.is_in(Mode.STAND)
