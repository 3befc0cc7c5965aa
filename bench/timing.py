# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long calls take."""

import time
from collections.abc import Callable, Sequence


def timed_us(calls: int, period_s: float, call: Callable[[], object]) -> list[float]:
    """Return how long each call took, at this period; 0: one right after the other."""
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
    """Return how long each of some calls took, which take turns: each meets the same noise.

    What a machine does besides changes from one second to the next, by more than calls differ.

    Args:
        turns: Of each.
        period_s: Time from one call to the next; 0: one right after the other.
        calls: What is timed.
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
