# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The end of a run after a stated time."""

from __future__ import annotations

from policy_core.control.tick import Tick
from policy_core.control.verdict import RunEnd, RunVerdict
from policy_core.interfaces import Mode
from policy_inference.nodes.tick_observer import TickObserver


class RunTime(TickObserver):
    """Ends a run that has taken as long as was asked for."""

    def __init__(self, run_for_s: float) -> None:
        """Let each run take so long, s."""
        self._run_for_ns = round(run_for_s * 1e9)
        self._ends_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Return that the run is over, once it is."""
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            self._ends_ns = None
        elif self._ends_ns is None:
            self._ends_ns = tick.now_ns + self._run_for_ns
        elif tick.now_ns >= self._ends_ns:
            ran_s = self._run_for_ns * 1e-9
            return RunVerdict(RunEnd.DAMP, f"ran for {ran_s:g} s, as asked (run_for_s)")
        return None
