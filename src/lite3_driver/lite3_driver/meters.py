# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rates and latencies, counted."""

from collections import deque

import numpy as np

NS_PER_S = 1_000_000_000
_KEPT = 1000


class Rate:
    """How often something happened over the last second."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._times_ns: deque[int] = deque()

    def add(self, now_ns: int) -> None:
        """Count one more."""
        self._times_ns.append(now_ns)
        self._forget(now_ns)

    def value_hz(self, now_ns: int) -> float:
        """Return how many there were over the last second."""
        self._forget(now_ns)
        return float(len(self._times_ns))

    def _forget(self, now_ns: int) -> None:
        while self._times_ns and self._times_ns[0] <= now_ns - NS_PER_S:
            self._times_ns.popleft()


class Latencies:
    """The latest thousand of them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept_ns: deque[int] = deque(maxlen=_KEPT)

    def add(self, latency_ns: int) -> None:
        """Keep one more."""
        self._kept_ns.append(latency_ns)

    def percentiles_s(self) -> tuple[float, float]:
        """Return the median and the 99th percentile; zeros where there was none."""
        if not self._kept_ns:
            return 0.0, 0.0
        median, high = np.percentile(self._kept_ns, (50, 99)) / NS_PER_S
        return float(median), float(high)
