# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Durations of calls."""

import time
from collections.abc import Callable, Sequence


def timed_us(calls: int, period_s: float, call: Callable[[], object]) -> list[float]:
    """Return the duration of each call, at this period; 0: back to back."""
    took_us = []
    start_s = time.perf_counter()
    for turn in range(calls):
        if period_s:
            time.sleep(max(0.0, start_s + turn * period_s - time.perf_counter()))
        began_ns = time.perf_counter_ns()
        call()
        took_us.append((time.perf_counter_ns() - began_ns) * 1e-3)
    return took_us


def in_turns_us(
    turns: int,
    period_s: float,
    calls: Sequence[Callable[[], object]],
    before: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Return the durations of some calls, which take turns so that each meets the same noise.

    Other load on a machine changes from one second to the next, by more than calls differ.

    Args:
        turns: Of each.
        period_s: Time from one call to the next; 0: back to back.
        calls: The calls to time.
        before: Called before each, and not timed.
    """
    took_us: list[list[float]] = [[] for _ in calls]
    for _ in range(turns):
        for call, of_call in zip(calls, took_us, strict=True):
            time.sleep(period_s)
            before()
            began_ns = time.perf_counter_ns()
            call()
            of_call.append((time.perf_counter_ns() - began_ns) * 1e-3)
    return took_us
