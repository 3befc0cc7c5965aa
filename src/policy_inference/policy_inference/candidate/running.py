# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial in a controller: judged, stopped at a gate, and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from policy_core.bundle.set_contract import HostedContract
from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_core.guard.limits import Limits
from policy_core.interfaces import Mode, OnFault
from policy_core.latency import LatencyWindow
from policy_inference.candidate.gates import GateResult
from policy_inference.candidate.judge import TrialJudge
from policy_inference.candidate.writer import TrialWriter
from policy_store.trial_record import (
    TrialEvent,
    TrialLine,
    TrialState,
    VersionTrial,
    new_line,
    read_trials,
)

_RUNS = (Mode.RUN, Mode.HOLD)


class RunningTrial:
    """Ends the run at the first exceeded gate, or when the trial's time is used up.

    `observe` belongs to the control thread; everything else may be called from another one.

    Attributes:
        trial: Present knowledge, including what is not yet on disk.
        judge: Its figures.
        writer: Writer of its record.
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
            trial: As in its record.
            contract: Contract of the policy.
            tick: Tick of its controller.
            latency: Durations of its ticks.
            limits: Limits in force.
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
        """Record a RUN before it begins; the context grants or refuses it.

        Args:
            mode: Mode at the request; a RUN that will be refused anyway is not recorded.
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
        """Judge a completed tick; return the verdict if the run must end."""
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
        elif self._broken is not None and runs:  # a request was being processed at that moment
            verdict = RunVerdict(EndStep.FAULT, str(self._broken))
        # A recorded run without a tick is just being granted.
        if ran and not runs:
            self.end_run()
        return verdict

    def refresh(self) -> VersionTrial:
        """Return the trial from its record, unless the present knowledge is newer."""
        if self.writer.is_idle and self._broken is None:
            trial = self.trial
            found = (one for one in read_trials(trial.file.parent) if one.trial == trial.trial)
            lost = replace(trial, state=TrialState.ENDED, reason="its record was removed")
            self.trial = next(found, lost)
        return self.trial

    def end_run(self) -> None:
        if self._run_is_recorded:
            self._run_is_recorded = False
            self.writer.put(self.trial, TrialEvent.RUN_ENDED, counts=self.judge.counts)

    def close(self) -> None:
        self.writer.close()

    def _fail(self, broken: GateResult) -> RunVerdict:
        self._run_is_recorded = False
        why = {"gate": broken.figure, "value": broken.value, "limit": broken.limit}
        self._decide(TrialEvent.GATE_FAILED, reason=str(broken), **why)
        return RunVerdict(EndStep.FAULT, str(broken))

    def _decide(self, event: TrialEvent, **values: object) -> None:
        values["counts"] = self.judge.counts
        self.writer.put(self.trial, event, **values)
        self.trial = self.trial.after(TrialLine(**new_line(self.trial.trial, event, **values)))


_REASON = "the RUN time of the trial is used up"
_STILL_S = 1.0
"""Time after the velocity command has faded, in which a walking robot comes to rest."""
_STAND_WITHIN_S = 2.0
"""A foot at touchdown may be measured beyond its limits for a tick, so stand is retried."""


class RunEnding:
    """The velocity command fades to zero, the robot comes to rest, then it stands.

    A set takes its way back to a state from which the robot may stand up.

    With `hold_measured`, the robot holds its pose instead of standing.
    """

    def __init__(self, contract: HostedContract, limits: Limits) -> None:
        """Prepare; nothing happens yet.

        Args:
            contract: Has the fault behaviour and, for a set, the duration of the way back.
            limits: Limits in force, for the fade time of a command.
        """
        self._holds = OnFault(contract.safety.on_fault) is OnFault.HOLD_MEASURED
        self._stand_within_ns = round((_STAND_WITHIN_S + contract.way_back_s) * 1e9)
        self._rests_ns = limits.command_ramp_ns + round(_STILL_S * 1e9)
        self._began_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Return the present step to end the run; control thread, after one of its ticks."""
        takes_command = tick.state.get("velocity_command") is not None
        if self._began_ns is None:
            self._began_ns = tick.now_ns
            if takes_command:
                return RunVerdict(EndStep.FADE_COMMAND, _REASON)
        late_ns = tick.now_ns - self._began_ns - (self._rests_ns if takes_command else 0)
        if late_ns < 0:
            return None
        # Obstacles to standing may last a few ticks only, so it is requested again.
        if self._holds or late_ns > self._stand_within_ns:
            return RunVerdict(EndStep.DAMP, _REASON)
        return RunVerdict(EndStep.STAND, _REASON) if tick.mode is Mode.RUN else None
