# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long calls take."""

import time
from collections.abc import Callable


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
