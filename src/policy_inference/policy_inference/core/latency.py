# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long ticks take, over a window."""

import math
from dataclasses import dataclass

import numpy as np

from policy_inference.interfaces import F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles of a window, each a duration in it, s; zeros where nothing was measured."""

    p50_s: float
    p99_s: float
    max_s: float


class LatencyWindow:
    """The latest durations; one thread adds, another may summarise."""

    def __init__(self, size: int = 1000) -> None:
        """Keep the latest `size` durations."""
        self._durations_s = np.zeros(size)
        self._count = 0

    def add(self, duration_ns: int) -> None:
        """Note a duration."""
        self._durations_s[self._count % self._durations_s.size] = duration_ns * 1e-9
        self._count += 1

    @property
    def count(self) -> int:
        """How many were noted, also of those that are no longer kept."""
        return self._count

    def since(self, count: int) -> F64:
        """Return those noted after the first `count`, oldest first, s; only the kept ones."""
        now = self._count
        places = np.arange(max(count, now - self._durations_s.size), now)
        return self._durations_s[places % self._durations_s.size]

    def summary(self) -> Latency:
        """Return the percentiles of the window."""
        durations_s = self._durations_s[: min(self._count, self._durations_s.size)]
        if durations_s.size == 0:
            return Latency(p50_s=0.0, p99_s=0.0, max_s=0.0)
        # Not `np.percentile`, whose first call imports 10 ms of numpy beside the ticks.
        last = durations_s.size - 1
        ranks = [math.ceil(last * percent / 100) for percent in (50, 99, 100)]
        p50_s, p99_s, max_s = np.sort(durations_s)[ranks].tolist()
        return Latency(p50_s=p50_s, p99_s=p99_s, max_s=max_s)
