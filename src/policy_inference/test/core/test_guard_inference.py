# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rule 5 of the guard, and time that passes between ticks."""

import numpy as np

from policy_inference.core.guard import Rule
from policy_inference.interfaces import Mode
from testkit.numbers import numbers_in
from testkit.wording import check_wording

from .contracts import DEFAULT
from .robots import MS, PERIOD_NS, Robot, assert_latched, assert_safe, fail


def test_inference_that_raises_holds_at_once_and_recovers(strider: Robot) -> None:
    last = strider.commanded()
    strider.backend.during_run = fail
    strider.answer(-0.5, -0.5, -0.5)
    held = strider.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert strider.is_in(Mode.HOLD)
    check_wording(strider.reason)
    assert strider.count(Rule.INFERENCE_ERROR) == 1
    strider.backend.during_run = lambda: None
    strider.tick()
    assert strider.is_in(Mode.RUN)


def test_inference_that_goes_on_raising_damps(strider: Robot) -> None:
    strider.backend.during_run = fail
    for _ in range(6):
        strider.tick()
    assert strider.is_in(Mode.HOLD)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.HELD_TOO_LONG)


def test_a_result_after_the_next_deadline_is_dropped(strider: Robot) -> None:
    last = strider.commanded()
    strider.answer(-0.5, -0.5, -0.5)
    strider.takes(PERIOD_NS + 1)
    held = strider.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert strider.is_in(Mode.HOLD)
    assert strider.count(Rule.INFERENCE_LATE) == 1


def test_a_result_just_in_time_is_used(strider: Robot) -> None:
    strider.answer(-0.2, -0.2, -0.2)
    strider.takes(PERIOD_NS)
    np.testing.assert_allclose(strider.commanded().position, np.subtract(DEFAULT, 0.1), atol=1e-7)
    assert strider.is_in(Mode.RUN)


def test_a_result_that_took_longer_than_a_hold_may_last_damps_at_once(strider: Robot) -> None:
    strider.takes(101 * MS)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.HELD_TOO_LONG)


def test_a_pause_of_the_loop_longer_than_a_hold_damps(strider: Robot) -> None:
    strider.now_ns += 121 * MS
    assert_safe(strider.tick())
    check_wording(strider.reason)
    assert numbers_in(strider.reason) == [141, 140]
    assert_latched(strider, Rule.CLOCK)


def test_a_pause_of_the_loop_shorter_than_a_hold_is_ridden_out(strider: Robot) -> None:
    strider.now_ns += 119 * MS
    strider.tick()
    assert strider.is_in(Mode.RUN)


def test_time_that_runs_backwards_damps(strider: Robot) -> None:
    strider.now_ns -= 2 * PERIOD_NS
    assert_safe(strider.tick())
    assert_latched(strider, Rule.CLOCK)
