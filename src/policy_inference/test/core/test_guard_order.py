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
    silence_inputs,
)


def test_nan_comes_before_stale(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER)
    assert_safe(strider.tick(silent=BOTH, joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.STALE_STATE) == 0


def test_nan_damps_out_of_hold_too(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER + 2)
    assert_safe(strider.tick(silent=["imu/data"], joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(strider, Rule.NOT_FINITE)


def test_nan_comes_before_attitude(strider: Robot) -> None:
    strider.tick(joint_vel=(math.nan, 0.0, 0.0), quat_xyzw=TILTED)
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.ATTITUDE) == 0


def test_stale_comes_before_attitude(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER)
    strider.tick(silent=["joint_states"], quat_xyzw=TILTED)
    assert strider.is_in(Mode.HOLD)
    assert strider.count(Rule.ATTITUDE) == 0


def test_a_failing_inference_does_not_hide_a_fall(strider: Robot) -> None:
    strider.backend.during_run = fail
    strider.tick()
    assert strider.is_in(Mode.HOLD)
    assert_safe(strider.tick(quat_xyzw=TILTED))
    assert_latched(strider, Rule.ATTITUDE)


def test_a_late_result_that_is_not_finite_damps(strider: Robot) -> None:
    strider.answer(math.nan, 0.0, 0.0)
    strider.takes(PERIOD_NS + 1)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.INFERENCE_LATE) == 0
