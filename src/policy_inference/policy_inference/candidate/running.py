# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial under its controller: judged, stopped at a gate, and written to its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from policy_core.bundle.set_contract import HostedContract
from policy_core.control.tick import Tick
from policy_core.control.verdict import RunEnd, RunVerdict
from policy_core.guard.limits import Limits
from policy_core.interfaces import Mode
from policy_core.latency import LatencyWindow
from policy_inference.candidate.ending import RunEnding
from policy_inference.candidate.gates import GateResult
from policy_inference.candidate.judge import TrialJudge
from policy_inference.candidate.writer import TrialWriter
from policy_store.trial_record import (
    TrialEvent,
    TrialLine,
    TrialState,
    VersionTrial,
    new_line,
    trials_of,
)

_RUNS = (Mode.RUN, Mode.HOLD)


class RunningTrial:
    """Ends the run at the first gate that is exceeded, and when the time of the trial is used up.

    `observe` belongs to the control thread; everything else may be called from another one.

    Attributes:
        trial: What is known of it, also what is not on the disk yet.
        judge: Its figures.
        writer: Of its record.
    """

    def __init__(
        self,
        trial: VersionTrial,
        contract: HostedContract,
        tick: Tick,
        latency: LatencyWindow,
        limits: Limits,
        *,
        simulated_time: bool,
    ) -> None:
        """Begin to judge with the next tick.

        Args:
            trial: As its record has it.
            contract: Of the policy.
            tick: Of its controller.
            latency: Durations of its ticks.
            limits: In force.
            simulated_time: As for `TrialJudge`.
        """
        self.trial = trial
        self.judge = TrialJudge(
            trial.settings,
            contract,
            tick,
            latency,
            trial.counts,
            simulated_time=simulated_time,
        )
        self.writer = TrialWriter()
        self._ending = RunEnding(contract, limits)
        self._broken: GateResult | None = None
        self._run_is_recorded = False

    @contextmanager
    def run(self, mode: Mode) -> Iterator[None]:
        """Have a RUN recorded before it begins, which is granted or refused within.

        Args:
            mode: In which it is asked for; one that is not granted anyway is not recorded.
        """
        if self.trial.state is not TrialState.OPEN or mode is not Mode.READY:
            yield
            return
        self.writer.begin_run(self.trial)
        self._run_is_recorded = True
        try:
            yield
        except BaseException:
            self._run_is_recorded = False
            self.writer.put(self.trial, TrialEvent.RUN_ENDED)
            raise

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Judge a tick that has ended; return how the run is to end, if it is."""
        ran = self.judge.running or any(request == "run" for request, _ in tick.granted)
        broken, runs = self.judge.observe(tick), tick.mode in _RUNS
        verdict: RunVerdict | None = None
        if self.trial.state is TrialState.OPEN:
            self._broken = self._broken or broken
            if self._broken is not None:
                verdict = self._fail(self._broken)
            elif self.judge.time_is_up and runs:
                verdict = self._ending.observe(tick)
            elif self.judge.time_is_up:
                self.end_run()
                self._decide(TrialEvent.PASSED)
        elif self._broken is not None and runs:  # a request was at work at that moment
            verdict = RunVerdict(RunEnd.FAULT, str(self._broken))
        # One that is on record and was in no tick yet is being granted at this moment.
        if ran and not runs:
            self.end_run()
        return verdict

    def refresh(self) -> VersionTrial:
        """Return the trial as its record has it, unless more is known here than there."""
        if self.writer.is_idle and self._broken is None:
            trial = self.trial
            found = (one for one in trials_of(trial.file.parent) if one.trial == trial.trial)
            lost = replace(trial, state=TrialState.ENDED, reason="its record was removed")
            self.trial = next(found, lost)
        return self.trial

    def end_run(self) -> None:
        """Record that a run has ended, if one has begun."""
        if self._run_is_recorded:
            self._run_is_recorded = False
            self.writer.put(self.trial, TrialEvent.RUN_ENDED, counts=self.judge.counts)

    def close(self) -> None:
        """Write what is due, within a bounded time."""
        self.writer.close()

    def _fail(self, broken: GateResult) -> RunVerdict:
        self._run_is_recorded = False
        why = {"gate": broken.figure, "value": broken.value, "limit": broken.limit}
        self._decide(TrialEvent.GATE_FAILED, reason=str(broken), **why)
        return RunVerdict(RunEnd.FAULT, str(broken))

    def _decide(self, event: TrialEvent, **values: object) -> None:
        values["counts"] = self.judge.counts
        self.writer.put(self.trial, event, **values)
        self.trial = self.trial.after(TrialLine(**new_line(self.trial.trial, event, **values)))
