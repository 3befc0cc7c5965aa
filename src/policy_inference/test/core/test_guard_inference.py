# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rule 5 of the guard, and time that passes between ticks."""

import numpy as np

from policy_inference.core.guard import Rule
from policy_inference.interfaces import Mode

from .contracts import DEFAULT
from .robots import MS, PERIOD_NS, Robot, assert_latched, assert_safe, fail


def test_inference_that_raises_holds_at_once_and_recovers(robot: Robot) -> None:
    last = robot.commanded()
    robot.backend.during_run = fail
    robot.answer(-0.5, -0.5, -0.5)
    held = robot.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert robot.is_in(Mode.HOLD)
    assert robot.reason == "scripted: the device is gone"
    assert robot.count(Rule.INFERENCE_ERROR) == 1
    robot.backend.during_run = lambda: None
    robot.tick()
    assert robot.is_in(Mode.RUN)


def test_inference_that_goes_on_raising_damps(robot: Robot) -> None:
    robot.backend.during_run = fail
    for _ in range(6):
        robot.tick()
    assert robot.is_in(Mode.HOLD)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_result_after_the_next_deadline_is_dropped(robot: Robot) -> None:
    last = robot.commanded()
    robot.answer(-0.5, -0.5, -0.5)
    robot.takes(PERIOD_NS + 1)
    held = robot.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.INFERENCE_LATE) == 1


def test_a_result_just_in_time_is_used(robot: Robot) -> None:
    robot.answer(-0.2, -0.2, -0.2)
    robot.takes(PERIOD_NS)
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.1), atol=1e-7)
    assert robot.is_in(Mode.RUN)


def test_a_result_that_took_longer_than_a_hold_may_last_damps_at_once(robot: Robot) -> None:
    robot.takes(101 * MS)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_pause_of_the_loop_longer_than_a_hold_damps(robot: Robot) -> None:
    robot.now_ns += 121 * MS
    assert_safe(robot.tick())
    assert "141 ms since the last tick, limit 140 ms" in robot.reason
    assert_latched(robot, Rule.CLOCK)


def test_a_pause_of_the_loop_shorter_than_a_hold_is_ridden_out(robot: Robot) -> None:
    robot.now_ns += 119 * MS
    robot.tick()
    assert robot.is_in(Mode.RUN)


def test_time_that_runs_backwards_damps(robot: Robot) -> None:
    robot.now_ns -= 2 * PERIOD_NS
    assert_safe(robot.tick())
    assert_latched(robot, Rule.CLOCK)
