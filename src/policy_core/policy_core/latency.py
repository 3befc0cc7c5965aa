# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of tick durations, and detection of a policy that has become slow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policy_core.interfaces import F64, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles of the durations in a window, in s; 0 if the window is empty."""

    p50_s: float
    p99_s: float
    max_s: float


class LatencyWindow:
    """Window of the latest durations; one thread adds durations, another may read them."""

    def __init__(self, size: int = 1000) -> None:
        """Keep the latest `size` durations."""
        self._durations_s = np.zeros(size)
        self._count = 0

    def add(self, duration_ns: int) -> None:
        """Add a duration."""
        self._durations_s[self._count % self._durations_s.size] = duration_ns * 1e-9
        self._count += 1

    @property
    def count(self) -> int:
        """Number of durations added, including those no longer kept."""
        return self._count

    def since(self, count: int) -> F64:
        """Return the kept durations added after the first `count`, in s, oldest first."""
        now = self._count
        places = np.arange(max(count, now - self._durations_s.size), now)
        return self._durations_s[places % self._durations_s.size]

    def summary(self) -> Latency:
        """Return the percentiles of the window."""
        durations_s = self._durations_s[: min(self._count, self._durations_s.size)]
        if durations_s.size == 0:
            return Latency(p50_s=0.0, p99_s=0.0, max_s=0.0)
        # Not `np.percentile`, whose first call imports numpy modules for 10 ms during the ticks.
        last = durations_s.size - 1
        ranks = [math.ceil(last * percent / 100) for percent in (50, 99, 100)]
        p50_s, p99_s, max_s = np.sort(durations_s)[ranks].tolist()
        return Latency(p50_s=p50_s, p99_s=p99_s, max_s=max_s)


_FACTOR, _RECOVERED_FACTOR = 2.0, 1.5
"""Multiples of the reference median: a window above the first is slow; slowness ends below the
second.
"""
_SMALL_SHARE, _FULL_SHARE = 0.2, 0.8
"""A median below the first share of the period is never slow; one above the second always is."""
_FIRST_WINDOWS = 3
"""Number of initial windows; the fastest is the reference, since some may include warm-up."""


class MedianDrift:
    """Detects windows whose median duration is much longer than in the first windows.

    A window is slow if its median exceeds both twice the reference (the fastest median of the first
    three windows) and `small_s`, or if it exceeds `full_s`. After a slow window, the following
    windows also count as slow until their median is at most 1.5 times the reference, or at most
    `small_s`.

    Attributes:
        first_s: The reference: smallest median of the first three windows, s.
        slow: True if the latest window was slow.
    """

    def __init__(self, small_s: float, full_s: float = math.inf) -> None:
        """Start without a reference.

        Args:
            small_s: Medians up to this value are never slow, s.
            full_s: Medians above this value are always slow, s.
        """
        self._small_s, self._full_s = small_s, full_s
        self._firsts: list[float] = []
        self.first_s, self.slow = math.inf, False

    def add(self, median_s: float) -> None:
        """Add the median of the next window, in s, and update `slow`."""
        if len(self._firsts) < _FIRST_WINDOWS:
            self._firsts.append(median_s)
        self.first_s = min(self._firsts)
        factor = _RECOVERED_FACTOR if self.slow else _FACTOR
        grown = median_s > max(factor * self.first_s, self._small_s)
        self.slow = grown or median_s > self._full_s


class TickSlowness:
    """Compares the ticks of each second in RUN with those of the first seconds after activation.

    A second is one second's worth of RUN ticks, not necessarily consecutive. A median of at most
    20 % of the period is never slow; one above 80 % always is. In between, `MedianDrift` decides.
    """

    def __init__(self, period_s: float) -> None:
        """Start without a reference."""
        self._period_s = period_s
        self._ticks = max(1, round(1.0 / period_s))
        self.restart()

    def restart(self) -> None:
        """Discard all durations; called on each activation."""
        self._drift = MedianDrift(_SMALL_SHARE * self._period_s, _FULL_SHARE * self._period_s)
        self._durations_s: list[F64] = []
        self._ran = False
        self.text = ""
        """Description of what is slow, for the operator; empty if nothing is slow."""

    def add(self, durations_s: F64, mode: Mode) -> None:
        """Add the durations of the ticks since the last call, in s, oldest first.

        Args:
            durations_s: Duration of each tick.
            mode: Mode after the last tick. The durations count only if the robot was in RUN before
                and after these ticks, since the model runs only in RUN.
        """
        runs = mode is Mode.RUN
        if runs and self._ran:
            self._durations_s.append(durations_s)
        self._ran = runs
        if sum(map(len, self._durations_s)) >= self._ticks:
            self._judge(float(np.median(np.concatenate(self._durations_s))))
            self._durations_s.clear()

    def _judge(self, median_s: float) -> None:
        self._drift.add(median_s)
        self.text = (
            f"ticks take {median_s * 1e3:.2f} ms of {self._period_s * 1e3:.3g} ms (median over one "
            f"second), initially {self._drift.first_s * 1e3:.2f} ms"
            if self._drift.slow
            else ""
        )
