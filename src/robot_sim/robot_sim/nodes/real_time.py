# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated time that keeps up with the clocks of this machine."""

import time
from typing import Any

from robot_sim.driven import NS_PER_S

_BEHIND_NS = 100_000_000


class RealTimePacer:
    """Paces a simulation; where the machine is too slow, time is set right and the log says so."""

    def __init__(self, logger: Any) -> None:
        """Begin at simulated time 0; `logger` is that of a node."""
        self._logger = logger
        self._offset_ns, self._wall_offset_ns = time.monotonic_ns(), time.time_ns()

    def stamp_ns(self, time_ns: int) -> int:
        """Return a simulated time as ns since 1970."""
        return self._wall_offset_ns + time_ns

    def wait(self, time_ns: int) -> None:
        """Sleep until a simulated time has come."""
        ahead_ns = self._offset_ns + time_ns - time.monotonic_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns / NS_PER_S)
        elif ahead_ns < -_BEHIND_NS:
            self._logger.warning(
                f"{-ahead_ns / 1e6:.0f} ms behind real time", throttle_duration_sec=5.0
            )
            self._offset_ns, self._wall_offset_ns = (
                self._offset_ns - ahead_ns,
                self._wall_offset_ns - ahead_ns,
            )
