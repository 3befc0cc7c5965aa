# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long ticks take over a window, and whether the policy became slow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policy_core.interfaces import F64, Mode


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


_FACTOR, _RECOVERED_FACTOR = 2.0, 1.5
"""A median above the first times this is slow; below the first times that it no longer is."""
_SMALL_SHARE, _FULL_SHARE = 0.2, 0.8
"""Below the first share of the period nothing is slow; above the second everything is."""
_FIRST_WINDOWS = 3
"""The fastest of so many is what a tick takes; the very first ones may warm something up."""


class MedianDrift:
    """Compares medians of windows with those of the first ones.

    A window is slow when its median is above twice that of the fastest of the first three, unless
    it is small; or above `full_s`, whatever it was at first. It is slow until the median is below
    1.5 times that of then, or small.

    Attributes:
        first_s: The fastest of the first medians, s.
        slow: Whether the latest window was slow.
    """

    def __init__(self, small_s: float, full_s: float = math.inf) -> None:
        """Know nothing yet.

        Args:
            small_s: Up to here nothing is slow, s.
            full_s: Beyond this everything is, s.
        """
        self._small_s, self._full_s = small_s, full_s
        self._firsts: list[float] = []
        self.first_s, self.slow = math.inf, False

    def add(self, median_s: float) -> None:
        """Judge a window by its median, s."""
        if len(self._firsts) < _FIRST_WINDOWS:
            self._firsts.append(median_s)
        self.first_s = min(self._firsts)
        factor = _RECOVERED_FACTOR if self.slow else _FACTOR
        grown = median_s > max(factor * self.first_s, self._small_s)
        self.slow = grown or median_s > self._full_s


class TickSlowness:
    """Compares the ticks of each second in RUN with the first seconds since activation.

    A second is one of ticks in RUN, which need not follow one another. Up to 20 % of the period
    are not slow, beyond 80 % is slow; between them `MedianDrift` judges.
    """

    def __init__(self, period_s: float) -> None:
        """Know nothing yet of this policy."""
        self._period_s = period_s
        self._ticks = max(1, round(1.0 / period_s))
        self.restart()

    def restart(self) -> None:
        """Forget what ticks took; for each activation."""
        self._drift = MedianDrift(_SMALL_SHARE * self._period_s, _FULL_SHARE * self._period_s)
        self._durations_s: list[F64] = []
        self._ran = False
        self.text = ""
        """What is slow, for a person; empty where nothing is."""

    def add(self, durations_s: F64, mode: Mode) -> None:
        """Take the ticks since the last call, oldest first, [ticks] in s.

        Args:
            durations_s: How long each took.
            mode: At the end of them; those of a call in or before which another mode ended are
                left out, since only in RUN does the model run.
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
            f"ticks take {median_s * 1e3:.2f} ms (median of a second) of "
            f"{self._period_s * 1e3:.3g} ms, {self._drift.first_s * 1e3:.2f} ms at first"
            if self._drift.slow
            else ""
        )
