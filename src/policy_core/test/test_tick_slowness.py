# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When ticks count as slow."""

from collections.abc import Sequence

import numpy as np
import pytest

from policy_core.interfaces import Mode
from policy_core.latency import Latency, LatencyWindow, TickSlowness
from testkit.numbers import numbers_in
from testkit.wording import check_wording

PERIOD_S, TICKS = 0.02, 50
FAST_S, SLOW_S = 0.002, 0.009


def after(seconds: Sequence[float], mode: Mode = Mode.RUN) -> TickSlowness:
    """Return the watch after seconds in RUN whose ticks took this long, s."""
    slowness = TickSlowness(PERIOD_S)
    slowness.add(np.array([]), Mode.RUN)
    for duration_s in seconds:
        slowness.add(np.full(TICKS, duration_s), mode)
    return slowness


def test_ticks_that_take_longer_than_at_first_are_slow_with_their_figures() -> None:
    text = after([FAST_S, FAST_S, SLOW_S]).text

    check_wording(text)
    assert numbers_in(text) == [9.0, 20, 2.0]


@pytest.mark.parametrize(
    ("first_s", "then_s"),
    [(FAST_S, FAST_S), (0.004, 0.007), (0.0001, 0.0039)],
    ids=["as ever", "below twice the first", "below 20 % of the period"],
)
def test_healthy_ticks_are_not_slow(first_s: float, then_s: float) -> None:
    assert not after([first_s, first_s, first_s, then_s, then_s]).text


def test_ticks_that_fill_the_period_are_slow_from_the_first_second_on() -> None:
    assert after([0.017]).text


def test_it_is_slow_until_it_is_clearly_fast_again() -> None:
    slowness = after([0.003, 0.008])
    slowness.add(np.full(TICKS, 0.0055), Mode.RUN)  # above 1.5 times, below twice
    assert slowness.text
    slowness.add(np.full(TICKS, 0.004), Mode.RUN)
    assert not slowness.text


def test_holding_now_and_then_does_not_hide_slow_ticks() -> None:
    slowness = after([FAST_S])
    for report in range(40):
        mode = Mode.HOLD if report % 4 == 0 else Mode.RUN
        slowness.add(np.full(TICKS // 5, SLOW_S), mode)

    assert slowness.text


def test_activation_forgets_what_was_before() -> None:
    slowness = after([FAST_S, SLOW_S])
    slowness.restart()

    assert not slowness.text
    slowness.add(np.array([]), Mode.RUN)
    slowness.add(np.full(TICKS, SLOW_S), Mode.RUN)
    assert not slowness.text


def test_summary_gives_durations_of_the_window_by_their_rank() -> None:
    window = LatencyWindow(101)
    assert window.summary() == Latency(p50_s=0.0, p99_s=0.0, max_s=0.0)
    for duration_s in [1000, *range(101, 0, -1)]:  # the first one is kept no more
        window.add(duration_s * 1_000_000_000)

    assert window.summary() == Latency(p50_s=51.0, p99_s=100.0, max_s=101.0)
