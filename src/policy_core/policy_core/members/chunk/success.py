# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Success detection: checks whether the success condition has held for long enough in a run."""

from __future__ import annotations

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.worker import SuccessReading

DONE = "the success signal reports that the task is done"
"""Reason given for the end of a run."""


class SuccessWatch:
    """Detects the success signal in the ticks of a run.

    If a reading is missing, or so late that its chunk's steps have passed, the time for which the
    condition must hold starts again.

    Attributes:
        done: True from the success signal until the next run begins.
        probability: Probability in the newest reading; None without a reading, or if the signal
            comes from joints.
    """

    def __init__(self, contract: ChunkContract) -> None:
        """Resolve names to indices once; `contract` must have a success signal."""
        signal = contract.success
        assert signal is not None
        self._signal, self._for_ns = signal, round(signal.for_s * 1e9)
        self._joints = [contract.joints.names.index(name) for name in signal.joints]
        ends: F64 = np.array([*signal.joints.values()]).reshape(-1, 2)
        self._low, self._high = ends.T
        steps = 1 if signal.graph is None else contract.chunk.size
        self._longest_gap_ns = round(1.5e9 * steps / contract.rate_hz)
        self.restart()

    def restart(self) -> None:
        self.done = False
        self.probability: float | None = None
        self._since_ns: int | None = None
        self._newest_ns: int | None = None

    def observe(self, tick: Tick, reading: SuccessReading | None) -> RunVerdict | None:
        """Observe a tick; return the verdict that ends the run, or None if the run continues.

        Args:
            tick: The tick.
            reading: Newest classifier reading, or None.
        """
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            return None
        if tick.asked and tick.begins:
            self.restart()
        if self._signal.graph is None:
            joint_pos = tick.state["joint_pos"][self._joints]
            holds = bool(((self._low <= joint_pos) & (joint_pos <= self._high)).all())
            self.see(tick.now_ns, holds=holds)
        elif reading is not None and reading.time_ns != self._newest_ns:
            self.probability, threshold = reading.probability, self._signal.threshold
            assert threshold is not None
            is_late = tick.now_ns - reading.time_ns > self._longest_gap_ns
            holds = reading.probability is not None and reading.probability >= threshold
            self.see(reading.time_ns, holds=holds and not is_late)
        return self.verdict

    @property
    def verdict(self) -> RunVerdict | None:
        """Verdict that ends the run; None if the run continues."""
        return RunVerdict(EndStep.DAMP, DONE) if self.done and self._signal.then == "end" else None

    def see(self, time_ns: int, *, holds: bool) -> None:
        """Record whether the success condition holds at a time; times must increase."""
        newest_ns, self._newest_ns = self._newest_ns, time_ns
        if not holds:
            self._since_ns = None
            return
        if newest_ns is None or time_ns - newest_ns > self._longest_gap_ns:
            self._since_ns = None
        if self._since_ns is None:
            self._since_ns = time_ns
        self.done = self.done or time_ns - self._since_ns >= self._for_ns


def success_watch(contract: ChunkContract) -> SuccessWatch | None:
    """Return the detector for a policy's success signal; None if the policy has no such signal."""
    return None if contract.success is None else SuccessWatch(contract)
