# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long runs took: percentiles and a histogram over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_core.interfaces import F64

_LOWEST, _HIGHEST = -7, 2
"""Powers of ten, s: all that a run of a model may take."""


class Durations:
    """Durations of single runs, in the order in which they were measured."""

    def __init__(self, durations_ns: Sequence[int] | F64) -> None:
        """Keep them; there is at least one."""
        self.each_s: F64 = np.asarray(durations_ns, np.float64) * 1e-9

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.each_s)

    def plus(self, other: Durations) -> Durations:
        """Return the time of both together, run by run; there are as many."""
        return Durations((self.each_s + other.each_s) * 1e9)

    def percentile_s(self, percent: float) -> float:
        """Return what this share of the runs did not exceed, s."""
        return float(np.percentile(self.each_s, percent))

    def halves_p50_s(self) -> tuple[float, float]:
        """Return the medians of the first and of the second half, s; there are at least two."""
        middle = len(self) // 2
        return float(np.median(self.each_s[:middle])), float(np.median(self.each_s[middle:]))

    def histogram(self, per_decade: int = 10) -> tuple[list[float], list[int]]:
        """Return the edges of bins, s, and how many runs are in each, from first to last in use.

        There is one edge more than there are bins; all are equally wide on a logarithmic scale.
        """
        edges_s = np.logspace(_LOWEST, _HIGHEST, (_HIGHEST - _LOWEST) * per_decade + 1)
        counts, _ = np.histogram(np.clip(self.each_s, edges_s[0], edges_s[-1]), edges_s)
        used = np.flatnonzero(counts)
        first, end = int(used[0]), int(used[-1]) + 1
        return edges_s[first : end + 1].tolist(), counts[first:end].tolist()
