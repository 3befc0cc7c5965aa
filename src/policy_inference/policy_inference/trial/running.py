# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial under its controller: judged, stopped at a gate, and written to its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from policy_core.bundle.bundle import HostedContract
from policy_core.control.controller import Controller
from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits
from policy_core.interfaces import JointTargets, Mode
from policy_core.latency import LatencyWindow
from policy_inference.trial.ending import RunEnding
from policy_inference.trial.journal import TrialEvent
from policy_inference.trial.judge import BrokenGate, TrialJudge
from policy_inference.trial.record import TrialState, VersionTrial, trials_of
from policy_inference.trial.writer import TrialWriter

_RUNS = (Mode.RUN, Mode.HOLD)


class RunningTrial:
    """Ends the run at the first gate that is exceeded, and when the time of the trial is used up.

    `tick` belongs to the control thread; everything else may be called from another one.

    Attributes:
        trial: What is known of it, also what is not on the disk yet.
        judge: Its figures.
        writer: Of its record.
    """

    def __init__(
        self,
        trial: VersionTrial,
        contract: HostedContract,
        controller: Controller,
        latency: LatencyWindow,
        limits: Limits,
        *,
        stand: Callable[[], None],
        simulated_time: bool,
    ) -> None:
        """Begin to judge with the next tick.

        Args:
            trial: As its record has it.
            contract: Of the policy.
            controller: Whose ticks these are.
            latency: Durations of its ticks.
            limits: In force.
            stand: Asks the policy to stand up, and raises RefusedError where it may not yet.
            simulated_time: As for `TrialJudge`.
        """
        self.trial = trial
        self.judge = TrialJudge(
            trial.settings,
            contract,
            controller,
            latency,
            trial.counts,
            simulated_time=simulated_time,
        )
        self.writer = TrialWriter()
        self._controller = controller
        self._ending = RunEnding(contract, controller, limits, stand)
        self._broken: BrokenGate | None = None
        self._run_is_recorded = False

    @contextmanager
    def run(self) -> Iterator[None]:
        """Have a RUN recorded before it begins, which is granted or refused within.

        Raises:
            RefusedError: It cannot be recorded.
        """
        if self.trial.state is not TrialState.OPEN or self._controller.mode is not Mode.READY:
            yield
            return
        self.writer.begin_run(self.trial)
        try:
            yield
        except BaseException:
            self.writer.put(self.trial, TrialEvent.RUN_ENDED)
            raise
        self._run_is_recorded = True

    def tick(self, now_ns: int, missed: int, sent: JointTargets | None) -> None:
        """Judge a tick that has ended; it may end the run.

        Args:
            now_ns: Time of the tick, on the clock of ticks.
            missed: Deadlines before it at which no tick could start.
            sent: What it commanded.
        """
        broken, runs = self.judge.tick(now_ns, missed, sent), self._controller.mode in _RUNS
        if self.trial.state is TrialState.OPEN:
            self._broken = self._broken or broken
            if self._broken is not None:
                self._fail(self._broken)
            elif self.judge.time_is_up and runs:
                self._ending.tick(now_ns)
            elif self.judge.time_is_up:
                self._pass()
        # In this order: a run that is granted at this moment is on record, and goes on.
        if self._run_is_recorded and self._controller.mode not in _RUNS:
            self.end_run()

    def refresh(self) -> VersionTrial:
        """Return the trial as its record has it, unless more is known here than there.

        Raises:
            PolicyError: The record cannot be read.
        """
        if self.writer.is_idle and self._broken is None:
            trial = self.trial
            found = (one for one in trials_of(trial.file.parent) if one.number == trial.number)
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

    def _fail(self, broken: BrokenGate) -> None:
        reason, trial, counts = str(broken), self.trial, self.judge.counts
        try:
            self._controller.fault(Rule.TRIAL, reason)
        except RefusedError:  # a request is at work at this moment: at the next tick
            return
        self.trial = replace(
            trial,
            state=TrialState.FAILED,
            is_bad=True,
            reason=reason,
            gate=broken.gate,
            value=broken.value,
            limit=broken.limit,
            counts=counts,
        )
        self._run_is_recorded = False
        self.writer.put(
            trial,
            TrialEvent.GATE_FAILED,
            reason=reason,
            gate=broken.gate,
            value=broken.value,
            limit=broken.limit,
            counts=counts,
        )

    def _pass(self) -> None:
        self._ending.ended()
        trial, counts = self.trial, self.judge.counts
        self.trial = replace(trial, state=TrialState.PASSED, counts=counts)
        self._run_is_recorded = False
        self.writer.put(trial, TrialEvent.PASSED, counts=counts)
