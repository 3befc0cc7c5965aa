# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which rule of the guard acts where two apply."""

import math

from policy_inference.core.guard import Rule
from policy_inference.interfaces import Mode

from .robots import (
    BOTH,
    PERIOD_NS,
    STALE_AFTER,
    TILTED,
    Robot,
    assert_latched,
    assert_safe,
    fail,
    silence,
)


def test_nan_comes_before_stale(robot: Robot) -> None:
    silence(robot, STALE_AFTER)
    assert_safe(robot.tick(silent=BOTH, joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.STALE_STATE) == 0


def test_nan_damps_out_of_hold_too(robot: Robot) -> None:
    silence(robot, STALE_AFTER + 2)
    assert_safe(robot.tick(silent=["imu/data"], joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)


def test_nan_comes_before_attitude(robot: Robot) -> None:
    robot.tick(joint_vel=(math.nan, 0.0, 0.0), quat_xyzw=TILTED)
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.ATTITUDE) == 0


def test_stale_comes_before_attitude(robot: Robot) -> None:
    silence(robot, STALE_AFTER)
    robot.tick(silent=["joint_states"], quat_xyzw=TILTED)
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.ATTITUDE) == 0


def test_a_failing_inference_does_not_hide_a_fall(robot: Robot) -> None:
    robot.backend.during_run = fail
    robot.tick()
    assert robot.is_in(Mode.HOLD)
    assert_safe(robot.tick(quat_xyzw=TILTED))
    assert_latched(robot, Rule.ATTITUDE)


def test_a_late_result_that_is_not_finite_damps(robot: Robot) -> None:
    robot.answer(math.nan, 0.0, 0.0)
    robot.takes(PERIOD_NS + 1)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.INFERENCE_LATE) == 0
