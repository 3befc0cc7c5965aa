# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The clock that durations are taken from."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A clock that never goes back, and can be waited for."""

    def now_ns(self) -> int:
        """Return the time, ns."""

    def sleep_until(self, deadline_ns: int) -> None:
        """Return at that time, or at once where it is over."""


class SteadyClock:
    """The machine's own."""

    def now_ns(self) -> int:
        """Return the time since some moment in the past, ns."""
        return time.perf_counter_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep, unless that time is over."""
        left_ns = deadline_ns - time.perf_counter_ns()
        if left_ns > 0:
            time.sleep(left_ns * 1e-9)
