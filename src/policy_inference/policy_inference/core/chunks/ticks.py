# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers the ticks of a run, so that a step of a chunk belongs to one of them."""

import math

_EARLY = 0.25
"""Share of a period by which a tick may come early; it may come late by the rest."""


class TickCounter:
    """Tells which tick a time is, with jitter and after ticks that were left out.

    Late ticks are common and early ones are not, so the earliest phase seen is the true one.
    """

    def __init__(self, period_ns: int) -> None:
        """Begin with the next time that is asked for."""
        self._period_ns = period_ns
        self.reset()

    def reset(self) -> None:
        """Count the next time that is asked for as 0."""
        self._start_ns: int | None = None

    def pause(self, duration_ns: int) -> None:
        """Leave out a time in which no tick passes."""
        if self._start_ns is not None:
            self._start_ns += duration_ns

    def number(self, now_ns: int) -> int:
        """Return the number of the tick at this time."""
        if self._start_ns is None:
            self._start_ns = now_ns
        elapsed_ns = now_ns - self._start_ns
        number = math.floor(elapsed_ns / self._period_ns + _EARLY)
        self._start_ns = min(self._start_ns, now_ns - number * self._period_ns)
        return number
