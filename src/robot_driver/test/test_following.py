# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that are followed, at each limit and just beyond it; torques that show who commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_driver.following import (
    LONGEST_VALID_NS,
    CommandAcknowledgement,
    Follower,
    command_problem,
    drive_values,
    law_torque,
)
from robot_driver.interfaces import (
    DAMPING,
    EFFORT,
    F64,
    MODE_DAMP,
    MODE_HOLD_MEASURED,
    POSITION,
    STIFFNESS,
    VELOCITY,
    WireCommand,
)
from testkit.numbers import numbers_in

from .holding_arm import FIGURES, ArmState
from .test_holding_arm import MS, RUN, arm_wire_command

LOWEST = FIGURES.lowest_rad - FIGURES.position_margin_rad
HIGHEST = FIGURES.highest_rad + FIGURES.position_margin_rad
MOST_EFFORT = 3.0 * FIGURES.largest_torque_nm[0]
FLOAT32 = float(np.finfo(np.float32).max)


def arm_command(
    sequence: int = 1, mode: int = RUN, at_ms: int = 0, valid_ms: int = 50, **columns: Any
) -> WireCommand:
    """Return a command whose columns are zero but for these; a value, or one per joint."""
    values = np.zeros((3, 5))
    for name, column in columns.items():
        values[:, {"position": POSITION, "velocity": VELOCITY, "effort": EFFORT,
                   "stiffness": STIFFNESS, "damping": DAMPING}[name]] = column  # fmt: skip
    made = arm_wire_command(sequence, mode, np.zeros(3), at_ms * MS, valid_ms)
    return replace(made, values=values)


def arm_state(effort: Any = 0.0, position: Any = 0.0) -> ArmState:
    return ArmState(1, np.zeros(3) + position, joint_effort=np.zeros(3) + effort)


def up(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def down(value: float) -> float:
    return float(np.nextafter(value, -np.inf))


@pytest.mark.parametrize(
    ("columns", "beyond"),
    [
        ({"stiffness": FIGURES.largest_stiffness}, {"stiffness": up(FIGURES.largest_stiffness)}),
        ({"damping": FIGURES.largest_damping}, {"damping": up(FIGURES.largest_damping)}),
        ({"stiffness": 0.0}, {"stiffness": [1.0, 1.0, -1e-9]}),
        ({"damping": 0.0}, {"damping": [1.0, 1.0, -1e-9]}),
        ({"effort": MOST_EFFORT}, {"effort": [0.0, up(MOST_EFFORT), 0.0]}),
        ({"effort": -MOST_EFFORT}, {"effort": [0.0, 0.0, down(-MOST_EFFORT)]}),
        ({"stiffness": 1.0, "position": LOWEST}, {"stiffness": 1.0, "position": down(LOWEST[0])}),
        ({"stiffness": 1.0, "position": HIGHEST}, {"stiffness": 1.0, "position": up(HIGHEST[0])}),
        (
            {"stiffness": [0.0, 1.0, 1.0], "position": [9.0, 0.0, 0.0]},
            {"stiffness": [1e-9, 1.0, 1.0], "position": [9.0, 0.0, 0.0]},
        ),
        ({"velocity": FLOAT32}, {"velocity": up(FLOAT32)}),
        ({"position": -FLOAT32}, {"position": [0.0, 0.0, np.nan]}),
    ],
)
def test_a_value_at_its_limit_is_valid_and_one_beyond_it_is_not(
    columns: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert command_problem(arm_command(**columns), FIGURES) == ""
    assert command_problem(arm_command(**beyond), FIGURES) != ""


@pytest.mark.parametrize(
    ("valid_for_ns", "is_valid"),
    [(1, True), (LONGEST_VALID_NS, True), (0, False), (LONGEST_VALID_NS + 1, False)],
)
def test_a_command_is_valid_for_more_than_nothing_and_one_second_at_most(
    valid_for_ns: int, is_valid: bool
) -> None:
    command = replace(arm_command(), valid_for_ns=valid_for_ns)
    assert (command_problem(command, FIGURES) == "") is is_valid


@pytest.mark.parametrize("limit", [[-1e-9, 1.0, 1.0], [1.0, np.inf, 1.0], [1.0, 1.0, np.nan]])
def test_an_effort_limit_is_a_finite_number_from_zero_on(limit: list[float]) -> None:
    assert command_problem(replace(arm_command(), effort_limit=np.zeros(3)), FIGURES) == ""
    assert command_problem(replace(arm_command(), effort_limit=np.array(limit)), FIGURES) != ""


@pytest.mark.parametrize("column", ["stiffness", "velocity", "effort"])
def test_a_command_to_damp_has_a_damping_alone(column: str) -> None:
    columns: dict[str, Any] = {column: [0.0, 0.0, 0.1]}
    assert command_problem(arm_command(mode=RUN, **columns), FIGURES) == ""
    assert command_problem(arm_command(mode=MODE_DAMP, **columns), FIGURES) != ""
    assert command_problem(arm_command(mode=MODE_DAMP, damping=1.0, position=1.0), FIGURES) == ""


def follower_at_rest() -> Follower:
    """Return a follower that accepted command 1, in the mode of rest; no joint is stiff."""
    follower = Follower(FIGURES, max_start_error_rad=0.5)
    follower.follow(arm_command(1, MODE_HOLD_MEASURED), arm_state())
    assert follower.latch is None
    return follower


@pytest.mark.parametrize(
    ("columns", "is_followed"),
    [
        ({"stiffness": 1.0, "position": [0.5, -0.5, 0.5]}, True),
        ({"stiffness": 1.0, "position": [0.0, -up(0.5), 0.0]}, False),
        ({"stiffness": 0.0, "position": 0.6}, True),
        ({"damping": 2.0, "velocity": [0.125, 0.0, 0.0], "effort": [0.25, 0.0, 0.0]}, True),
        ({"damping": 2.0, "velocity": [0.0, 0.125, 0.0], "effort": [0.0, 0.26, 0.0]}, False),
        ({"effort": [0.0, 0.0, -up(0.5)]}, False),
    ],
)
def test_a_joint_starts_near_its_position_and_with_little_torque(
    columns: dict[str, Any], is_followed: bool
) -> None:
    follower = follower_at_rest()
    follower.follow(arm_command(2, **columns), arm_state())
    assert (follower.latch is None) is is_followed
    assert (follower.refusal == "") is is_followed
    assert follower.counts == {"command_received": 2, "command_refused": int(not is_followed)}


@pytest.mark.parametrize(
    ("stiffness", "columns", "is_followed"),
    [
        # It may become four times as stiff anywhere; stiffer is a new start.
        (2.0, {"stiffness": 8.0, "position": 0.7}, True),
        (2.0, {"stiffness": up(8.0), "position": 0.7}, False),
        # From 1 N m/rad on, it is held and no longer only pushed.
        (1.0, {"stiffness": 1.0, "effort": 2.0}, True),
        (down(1.0), {"stiffness": 1.0, "effort": 2.0}, False),
    ],
)
def test_a_stiff_joint_no_longer_starts(
    stiffness: float, columns: dict[str, Any], is_followed: bool
) -> None:
    follower = follower_at_rest()
    follower.follow(arm_command(2, stiffness=stiffness), arm_state())
    follower.follow(arm_command(3, **columns), arm_state())
    assert (follower.latch is None) is is_followed


def test_after_each_hold_the_joints_start_again() -> None:
    follower = follower_at_rest()
    follower.follow(arm_command(2, stiffness=2.0), arm_state())
    follower.hold("asked")
    follower.follow(arm_command(3, MODE_HOLD_MEASURED), arm_state())
    follower.follow(arm_command(4, stiffness=2.0, position=0.7), arm_state())
    assert follower.latch is not None


def test_nothing_is_followed_before_a_state_or_before_the_mode_of_rest() -> None:
    follower = Follower(FIGURES, max_start_error_rad=0.5)
    follower.follow(arm_command(1, stiffness=1.0), arm_state())
    assert follower.valid(0) is None
    follower.follow(arm_command(2, MODE_HOLD_MEASURED), None)
    assert follower.valid(0) is None
    follower.follow(arm_command(3, MODE_HOLD_MEASURED), arm_state())
    assert follower.valid(0) is follower.newest


@pytest.mark.parametrize(
    ("silent_ms", "step", "is_followed"),
    [
        (49, 1, True),
        (49, 100, True),
        (49, 101, False),
        (49, 0, False),
        (49, -1, False),
        # After a silence as long as its validity, by 1000 per second of it as well.
        (50, 150, True),
        (50, 151, False),
    ],
)
def test_a_sequence_that_jumps_is_that_of_another_sender(
    silent_ms: int, step: int, is_followed: bool
) -> None:
    follower = follower_at_rest()
    follower.follow(arm_command(1 + step, MODE_HOLD_MEASURED, at_ms=silent_ms), arm_state())
    assert (follower.latch is None) is is_followed


def test_a_command_expires_when_its_validity_has_passed() -> None:
    follower = follower_at_rest()
    assert follower.valid(50 * MS - 1) is follower.newest
    assert follower.latch is None
    assert follower.valid(50 * MS) is None
    assert numbers_in(follower.latch) == [0.05]
    assert follower.valid(0) is None


def test_a_refused_command_ends_following_only_in_the_mode_of_rest() -> None:
    follower = follower_at_rest()
    follower.follow(arm_command(2, RUN, stiffness=-1.0), arm_state())
    assert follower.latch is None
    follower.follow(arm_command(2, MODE_HOLD_MEASURED, stiffness=-1.0), arm_state())
    assert follower.latch is not None


def test_a_sender_has_a_problem_for_a_second_after_a_refused_command_or_until_a_valid_one() -> None:
    follower = follower_at_rest()
    assert follower.sender_problem(0) == ""
    follower.notice(arm_command(2, stiffness=-1.0, at_ms=10))
    assert follower.sender_problem(1010 * MS - 1) != ""
    assert follower.sender_problem(1010 * MS) == ""
    follower.notice(arm_command(3, at_ms=20))
    assert follower.sender_problem(20 * MS) == ""


def test_a_command_beyond_its_effort_limit_is_weakened_to_it() -> None:
    command = replace(
        arm_command(stiffness=[10.0, 10.0, 1.0], damping=1.0, position=1.0, effort=[0.0, 2.0, 0.0]),
        effort_limit=np.array([5.0, 2.0, 2.0]),
    )
    largest = np.array([4.0, 4.0, 4.0])
    state = arm_state()
    values = drive_values(command, state, largest, None)
    np.testing.assert_allclose(law_torque(values, state), [4.0, 2.0, 1.0])
    np.testing.assert_array_equal(values[:, :EFFORT], command.values[:, :EFFORT])
    np.testing.assert_array_equal(values[2], command.values[2])


def test_only_a_joint_with_hardly_any_gain_gets_its_row_of_the_rest() -> None:
    values = np.hstack([np.zeros((3, 3)), [[0.0, 2.0], [0.05, 0.04], [20.0, 0.0]]])
    rest = np.tile([0.0, 0.0, 0.0, 0.0, 5.0], (3, 1))
    sent = drive_values(replace(arm_command(), values=values), arm_state(), np.full(3, 10.0), rest)
    np.testing.assert_array_equal(sent, [values[0], rest[1], values[2]])


RIGID: dict[str, Any] = {"stiffness": 10.0, "position": 0.25}
"""A command that asks each joint at zero for 2.5 N m; more than `demand_nm`, 1 N m."""


def acknowledged(sent: F64, effort: Any, seconds: float) -> str:
    """Return the problem after the robot has shown these torques for a time."""
    heard = CommandAcknowledgement(FIGURES, 5.0, "it")
    heard.known = True
    for now_ms in range(0, round(1000 * seconds) + 1, 10):
        heard.see(arm_state(effort), sent, now_ms * MS)
    return heard.problem(round(1000 * seconds) * MS)


@pytest.mark.parametrize(
    ("columns", "effort", "obeys"),
    [
        (RIGID, [0.0, 0.0, 1.25], True),
        (RIGID, down(1.25), False),
        (RIGID | {"stiffness": [10.0, 0.0, 0.0]}, 0.0, True),
        (RIGID | {"stiffness": [10.0, 10.0, 0.0]}, 0.0, False),
        ({"stiffness": 10.0, "position": 0.1}, 0.0, True),
        ({"stiffness": 10.0, "position": up(0.1)}, 0.0, False),
        ({}, [0.0, 1.0, 1.0], True),
        ({}, [0.0, 0.0, 2.0], True),
        ({}, [0.0, up(1.0), -up(1.0)], False),
        ({"effort": [0.0, 2.0, 2.0]}, [0.0, 3.0, 3.0], True),
    ],
)
def test_joints_show_whether_they_obey(columns: dict[str, Any], effort: Any, obeys: bool) -> None:
    sent = arm_command(**columns).values
    assert (acknowledged(sent, effort, 0.3) == "") is obeys
    assert acknowledged(sent, effort, 0.29) == ""


def test_a_joint_that_obeys_in_between_has_not_ignored_its_command() -> None:
    heard, sent = CommandAcknowledgement(FIGURES, 5.0, "it"), arm_command(**RIGID).values
    heard.known = True
    for now_ms in range(0, 600, 10):
        heard.see(arm_state(2.5 if now_ms == 200 else 0.0), sent, now_ms * MS)
        assert (heard.problem(now_ms * MS) == "") is (now_ms < 510)


@pytest.mark.parametrize(
    ("torque_nm", "strained_ms", "seen_ms", "known", "is_problem"),
    [
        (4.9, 500, 500, True, False),
        (5.0, 401, 500, False, True),
        (-5.0, 401, 500, False, True),
        (5.0, 400, 500, True, False),
        (0.0, 0, 400, False, False),
        (0.0, 0, 401, True, False),
    ],
)
def test_torques_show_whether_another_controller_holds_the_robot(
    torque_nm: float, strained_ms: int, seen_ms: int, known: bool, is_problem: bool
) -> None:
    heard = CommandAcknowledgement(FIGURES, 5.0, "it")
    heard.begin(0)
    heard.see(arm_state([0.0, torque_nm, 0.0]), None, strained_ms * MS)
    heard.see(arm_state(), None, seen_ms * MS)
    assert heard.problem(499 * MS) == ""
    assert not heard.known
    assert (heard.problem(500 * MS) != "") is is_problem
    assert heard.known is known


def test_torques_that_cannot_be_trusted_are_not_judged() -> None:
    heard = CommandAcknowledgement(FIGURES, 0.0, "it")
    heard.begin(0)
    assert heard.problem(0) == ""
    assert heard.known
