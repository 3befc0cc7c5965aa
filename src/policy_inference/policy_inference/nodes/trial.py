# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial in a node: judged in each tick, stopped at its gates, replaced afterwards.

The first gate that breaks latches the fault `trial`. The version before is then loaded as by
`~/load`, while the robot is in DAMP, and `~/stand` is refused until it runs. When the RUN time of
the trial is used up, the velocity command fades to zero, and the robot stands, or holds what is
measured if the contract's fault behaviour is `hold_measured`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from policy_msgs.msg import TrialStatus

from policy_inference.core.guard import Rule
from policy_inference.core.trial.ending import RunEnding
from policy_inference.core.trial.journal import TrialEvent, this_process
from policy_inference.core.trial.judge import BrokenGate, TrialJudge
from policy_inference.core.trial.record import (
    TrialState,
    VersionTrial,
    trial_of_bundle,
    trials_of,
)
from policy_inference.core.trial.writer import TrialWriter
from policy_inference.errors import PolicyError, RefusedError
from policy_inference.interfaces import JointTargets, Mode
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes.pacing import Tick
from policy_inference.nodes.temperatures import Temperatures
from policy_inference.nodes.tick_observer import Prepared

if TYPE_CHECKING:  # which makes one of these
    from policy_inference.nodes.policy_node import PolicyNode

_RUNS = (Mode.RUN, Mode.HOLD)


class PreparedTrial(Prepared):
    """The trial of a policy that has not taken over yet."""

    def __init__(self, policy: OpenedPolicy[Any], *, simulated_time: bool) -> None:
        """Make the judge of a policy on trial.

        Args:
            policy: It, or one that is not on trial.
            simulated_time: Whether its ticks go by simulated time.
        """
        self.trial = policy.request.trial or _last_trial(policy)
        self.judge: TrialJudge | None = None
        if policy.request.trial is not None:
            self.judge = TrialJudge(
                policy.request.trial.settings,
                policy.bundle.contract,
                policy.controller,
                policy.latency,
                policy.request.trial.counts,
                simulated_time=simulated_time,
            )


def _last_trial(policy: OpenedPolicy[Any]) -> VersionTrial | None:
    """Return the trial of another version of a policy's bundle, to report on."""
    try:
        return trial_of_bundle(policy.request.bundle)
    except PolicyError:
        return None


class NodeTrial:
    """Judges the ticks of a node whose policy is on trial; of another one it only reports."""

    def __init__(self, node: PolicyNode[Any], policy: OpenedPolicy[Any]) -> None:
        """Judge this policy from the next tick on."""
        self._node = node
        self._simulated_time = bool(node.get_parameter("use_sim_time").value)
        self._writer: TrialWriter | None = None
        self._back_problem, self._going_back = "", False
        self._temperatures = Temperatures(node)
        self._use(policy, self.prepared(policy))

    def prepared(self, policy: OpenedPolicy[Any]) -> PreparedTrial:
        """Return the trial of another policy."""
        return PreparedTrial(policy, simulated_time=self._simulated_time)

    def follow(self, policy: OpenedPolicy[Any], prepared: PreparedTrial) -> Callable[[], object]:
        """Judge another policy from now on; return what ends the trial of the one before."""
        before, trial, contract = self._writer, self._trial, policy.bundle.contract
        self._use(policy, prepared)
        if trial is None or before is None:
            return before.close if before is not None else _nothing
        if trial.state is TrialState.FAILED and trial.name == contract.name:
            before.put(trial, TrialEvent.ROLLED_BACK, version=contract.version)
            self._trial = self._trial or trial
        return before.close

    def _use(self, policy: OpenedPolicy[Any], prepared: PreparedTrial) -> None:
        self._trial, self._judge = prepared.trial, prepared.judge
        self._writer = TrialWriter() if prepared.judge is not None else None
        self._broken: BrokenGate | None = None
        self._run_is_recorded = False
        self._ending = RunEnding(policy.bundle.contract, policy.controller, policy.limits)

    @property
    def problem(self) -> str:
        """Which version failed its trial, or why its record cannot be written; or empty."""
        trial, found = self._trial, list[str]()
        if trial is not None and trial.state is TrialState.FAILED:
            found.append(f"{trial} failed its trial: {trial.reason}")
        if self._writer is not None and self._writer.problem:
            found.append(self._writer.problem)
        return "; ".join([*found, *filter(None, [self._back_problem])])

    def diagnostics(self) -> Mapping[str, str]:
        """Return state, time and figures of the trial."""
        trial, judge = self._trial, self._judge
        if trial is None:
            return {}
        known = {"trial.version": trial.version, "trial.state": trial.state.value}
        if judge is None:
            return known
        limits = trial.settings.judged
        return {
            **known,
            "trial.run_time_s": f"{judge.run_time_s:.1f}",
            **{
                f"trial.{name}": f"{value:.4g} of {limits[name].limit:g}"
                for name, value in judge.figures.items()
            },
        }

    def status(self) -> list[TrialStatus]:
        """Return the newest trial of the bundle for the status; nothing where there is none."""
        trial = self._trial
        if trial is None:
            return []
        return [
            TrialStatus(
                version=trial.version,
                version_before=trial.version_before,
                state=trial.state.value,
                reason=trial.reason,
                run_time_s=self._judge.run_time_s if self._judge else trial.run_time_s,
                run_time_limit_s=trial.settings.run_time_s,
                gate=trial.gate,
                value=trial.value,
                limit=trial.limit,
            )
        ]

    def refusals(self, *, run: bool) -> list[str]:
        """Return the reasons of the trial to refuse `stand`, or `run`.

        A version whose trial has failed or was ended is replaced first: that begins here if it has
        not begun.
        """
        if self._judge is None or self._trial is None:
            return []
        try:
            trial = self._trial = self._newest()
        except PolicyError as error:
            return [str(error)]
        if trial.state in (TrialState.FAILED, TrialState.ENDED):
            self._go_back()
            why = self._back_problem or "that takes a moment: ask again"
            what = "failed its trial" if trial.state is TrialState.FAILED else "is not on trial"
            return [f"{trial} {what} ({trial.reason}); the version in use is loaded first; {why}"]
        if run and trial.state is TrialState.PASSED:
            return [
                f"the trial of {trial} has ended, no gate broke; `model_tools trial keep "
                f"{trial.name}` keeps the version, `model_tools trial end {trial.name}` goes back"
            ]
        if run and trial.runner not in (None, this_process()):
            return [f"another process runs {trial} (process {trial.runner.split()[1]})"]
        return []

    def _newest(self) -> VersionTrial:
        """Return the trial as its record has it, unless more is known here than there.

        Raises:
            PolicyError: The record cannot be read.
        """
        trial, writer = self._trial, self._writer
        assert trial is not None
        if writer is None or not writer.is_idle or self._broken is not None:
            return trial
        found = (one for one in trials_of(trial.file.parent) if one.number == trial.number)
        lost = replace(trial, state=TrialState.ENDED, reason="its record was removed")
        return next(found, lost)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Have a RUN recorded before it begins, which is granted or refused within.

        Raises:
            RefusedError: It cannot be recorded.
        """
        trial, writer = self._trial, self._writer
        recorded = writer is not None and trial is not None and trial.state is TrialState.OPEN
        if not recorded or self._node.controller.mode is not Mode.READY:
            yield
            return
        assert writer is not None and trial is not None
        writer.begin_run(trial)
        try:
            yield
        except BaseException:
            writer.put(trial, TrialEvent.RUN_ENDED)
            raise
        self._run_is_recorded = True

    def record(
        self, tick: Tick, duration_ns: int, sent: JointTargets | None, sequence: int | None
    ) -> None:
        """Judge a tick, on the control thread; it may end the run."""
        judge, trial = self._judge, self._trial
        if judge is None or trial is None:
            return
        broken = judge.tick(tick.now_ns, tick.missed, sent)
        if trial.state is TrialState.OPEN:
            self._broken = self._broken or broken
            if self._broken is not None:
                self._fail(trial, self._broken)
            elif judge.time_is_up and self._node.controller.mode in _RUNS:
                self._ending.tick(tick.now_ns)
            elif judge.time_is_up:
                self._pass(trial)
        if self._run_is_recorded and self._node.controller.mode not in _RUNS:
            self._record_end()

    def _fail(self, trial: VersionTrial, broken: BrokenGate) -> None:
        assert self._writer is not None and self._judge is not None
        try:
            self._node.controller.fault(Rule.TRIAL, str(broken))
        except RefusedError:  # a request is at work at this moment: at the next tick
            return
        self._trial = replace(
            trial,
            state=TrialState.FAILED,
            is_bad=True,
            reason=str(broken),
            gate=broken.gate,
            value=broken.value,
            limit=broken.limit,
            counts=self._judge.counts,
        )
        self._run_is_recorded = False
        self._writer.put(
            trial,
            TrialEvent.GATE_BROKE,
            reason=str(broken),
            gate=broken.gate,
            value=broken.value,
            limit=broken.limit,
            counts=self._judge.counts,
        )

    def _pass(self, trial: VersionTrial) -> None:
        assert self._writer is not None and self._judge is not None
        self._ending.ended()
        counts = self._judge.counts
        self._trial = replace(trial, state=TrialState.PASSED, counts=counts)
        self._run_is_recorded = False
        self._writer.put(trial, TrialEvent.PASSED, counts=counts)

    def _record_end(self) -> None:
        if self._trial is None or self._writer is None or self._judge is None:
            return
        self._run_is_recorded = False
        self._writer.put(self._trial, TrialEvent.RUN_ENDED, counts=self._judge.counts)

    def start(self) -> None:
        """Nothing is to be restarted: the trial goes on where it was."""

    def watch(self) -> None:
        """A tick that failed is seen by the next one."""

    def log(self) -> None:
        """Look at the temperature, and at whether another version has to run; between ticks."""
        if self._judge is None or self._trial is None:
            return
        self._judge.temperature_c = self._temperatures.highest_c(self._node.reporter.telemetry)
        if self._trial.state is TrialState.FAILED and not self._back_problem:
            self._go_back()

    def _go_back(self) -> None:
        """Have the version in use loaded; once, until that has failed."""
        trial, writer = self._trial, self._writer
        if trial is None or writer is None or self._going_back:
            return
        if writer.is_idle:
            bundle = trial.name
        elif writer.problem:  # by its own name, since the record does not have the reason yet
            bundle = f"{trial.name}@{trial.version_before}"
        else:
            return
        self._going_back = True
        self._node.load_by_itself(bundle, self._went_back)

    def _went_back(self, problem: str) -> None:
        self._back_problem, self._going_back = problem, False

    def stop(self) -> None:
        """Have the end of a run written; after the last tick."""
        if self._run_is_recorded:
            self._record_end()

    @property
    def left_behind(self) -> bool:
        """Whether its thread could not be ended, because it hangs in the disk."""
        return self._writer is not None and self._writer.left_behind

    def close(self) -> None:
        """End the thread, and destroy what was created."""
        self._temperatures.close()
        if self._writer is not None:
            self._writer.close()


def _nothing() -> None:
    """The policy before was not on trial."""
