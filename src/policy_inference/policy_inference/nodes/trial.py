# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial in a node: judged in every tick, stopped by any failed gate, then replaced.

The first exceeded gate latches the `trial` fault. The previous version is then loaded, as by
`~/load`, while the robot is in DAMP, and `~/stand` is refused until that version is loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from nav_msgs.msg import Odometry
from policy_msgs.msg import PolicyStatus, TrialStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from policy_core.bundle.state_fields import ODOMETRY
from policy_core.control.tick import RunVerdict, Tick
from policy_core.errors import PolicyError
from policy_core.interfaces import Mode
from policy_inference.candidate.running import UNKNOWN_VELOCITY, RunningTrial
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.machine.machine import number_in
from policy_inference.nodes import qos
from policy_inference.nodes.tick_observer import Prepared, TickObserver, do_nothing
from policy_store.trial_record import (
    THIS_PROCESS,
    TrialEvent,
    TrialState,
    VersionTrial,
    trial_of_bundle,
)

_Trials = tuple[RunningTrial | None, VersionTrial | None]
"""The trial being judged, and the bundle's newest trial, for reports."""


_ODOMETRY_AGE_S = 0.5
"""Age, on the steady clock, from which odometry counts as unknown."""


class OdometryWatch:
    """Newest base velocity in `odom`, if any node publishes it."""

    def __init__(self, node: Node) -> None:
        """Subscribe."""
        self._node = node
        self._velocity_mps, self._received_s = UNKNOWN_VELOCITY, -math.inf
        self._subscription: Any = None
        try:
            self._subscription = node.create_subscription(
                Odometry,
                ODOMETRY.name,
                self._receive,
                qos.SAMPLE,
                callback_group=MutuallyExclusiveCallbackGroup(),
            )
        except Exception as error:  # noqa: BLE001  raised without permission, as under SROS 2
            node.get_logger().warning(f"{ODOMETRY.name} is not received: {error}")

    @property
    def velocity_mps(self) -> tuple[float, float]:
        """Velocity vx, vy in the body frame; not finite if unknown or too old."""
        is_new = time.monotonic() - self._received_s < _ODOMETRY_AGE_S
        return self._velocity_mps if is_new else UNKNOWN_VELOCITY

    def close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _receive(self, message: Odometry) -> None:
        linear = message.twist.twist.linear
        self._velocity_mps, self._received_s = (linear.x, linear.y), time.monotonic()


class NodeTrial(TickObserver):
    """Judges the ticks of a node whose policy is on trial; for other policies, it only reports."""

    def __init__(
        self,
        node: Node,
        policy: OpenedPolicy[Any],
        temperatures_c: Callable[[], tuple[Mapping[str, str], Sequence[float]]],
        load: Callable[[str, Callable[[str], None]], None],
        *,
        simulated_time: bool,
    ) -> None:
        """Judge this policy from the next tick on.

        Args:
            node: Node that subscribes to the odometry during a trial.
            policy: The policy.
            temperatures_c: Returns the latest telemetry for the machine and the device, with the
                unit in each key, and the drive temperatures, °C; NaN if unknown.
            load: Loads a different bundle without a service request; then calls the given function
                with the error, or with "".
            simulated_time: True if the ticks use simulated time.
        """
        self._temperatures_c, self._load, self._simulated_time = (
            temperatures_c,
            load,
            simulated_time,
        )
        self._back_problem, self._going_back = "", False
        self._node = node
        self._odometry: OdometryWatch | None = None
        self._running, self._newest = self.prepared(policy).part
        self._watch_odometry()

    def prepared(self, policy: OpenedPolicy[Any]) -> Prepared[_Trials]:
        trial = policy.request.trial
        if trial is None:
            with suppress(PolicyError):  # a trial of another version is only reported
                return Prepared(part=(None, trial_of_bundle(policy.request.bundle)))
            return Prepared(part=(None, None))
        running = RunningTrial(
            trial,
            policy.bundle.contract,
            policy.controller.latest_tick,
            policy.latency,
            policy.limits,
            simulated_time=self._simulated_time,
        )
        return Prepared(part=(running, trial), abandon=running.close)

    def adopt(self, policy: OpenedPolicy[Any], prepared: Prepared[_Trials]) -> Callable[[], object]:
        before, contract = self._running, policy.bundle.contract
        self._running, self._newest = prepared.part
        self._watch_odometry()
        if before is None:
            return do_nothing
        trial = before.trial
        if trial.state is TrialState.FAILED and trial.name == contract.name:
            before.writer.put(trial, TrialEvent.ROLLED_BACK, version=contract.version)
            self._newest = self._newest or trial
        return before.close

    @property
    def _trial(self) -> VersionTrial | None:
        return self._newest if self._running is None else self._running.trial

    @property
    def problem(self) -> str:
        """Message about a failed trial, its record, or a failed rollback; may be empty."""
        trial, found = self._trial, list[str]()
        if trial is not None and trial.state is TrialState.FAILED:
            found.append(f"{trial} failed its trial: {trial.reason}")
        if self._running is not None:
            found += [self._running.writer.problem, self._back_problem]
        return "; ".join(filter(None, found))

    def diagnostics(self) -> Mapping[str, str]:
        running = self._running
        if running is None:
            return {}
        limits = running.trial.settings.gates.judged()
        return {
            f"trial.{name}": f"{value:.4g} of {limits[name].limit:g}"
            for name, value in running.judge.figures.items()
        }

    def report(self, status: PolicyStatus) -> None:
        trial, running = self._trial, self._running
        if trial is None:
            return
        status.trial = [
            TrialStatus(
                version=trial.version,
                version_before=trial.version_before,
                state=trial.state.value,
                reason=trial.reason,
                run_time_s=running.judge.run_time_s if running else trial.run_time_s,
                run_time_limit_s=trial.settings.run_time_s,
                gate=trial.gate,
                value=trial.value,
                limit=trial.limit,
            )
        ]

    def refusals(self, mode: Mode, *, run: bool) -> Sequence[str]:
        """Return the trial's reasons to refuse `stand` or `run`.

        A version whose trial has failed or was ended is replaced first; the replacement begins here
        at the latest. However, the version that is moving a robot may always bring it to a stand.
        """
        if self._running is None or (mode in (Mode.RUN, Mode.HOLD) and not run):
            return []
        try:
            trial = self._running.refresh()
        except PolicyError as error:
            return [str(error)]
        if trial.state in (TrialState.FAILED, TrialState.ENDED):
            self._go_back(self._running)
            why = self._back_problem or "this takes a moment: request it again"
            what = "failed its trial" if trial.state is TrialState.FAILED else "is not on trial"
            return [f"{trial} {what} ({trial.reason}); the version in use is loaded first; {why}"]
        if run and trial.state is TrialState.PASSED:
            return [
                f"the trial of {trial} has ended, and no gate failed; `policy_store trial keep "
                f"{trial.name}` keeps the version, `policy_store trial end {trial.name}` "
                "goes back to the previous version"
            ]
        if run and trial.runner not in (None, THIS_PROCESS):
            return [f"another process runs {trial} (process {trial.runner.split()[1]})"]
        return []

    def granting_run(self, mode: Mode) -> AbstractContextManager[None]:
        return nullcontext() if self._running is None else self._running.run(mode)

    def observe(self, tick: Tick) -> RunVerdict | None:
        if self._running is None:
            return None
        if self._odometry is not None:
            self._running.judge.velocity_mps = self._odometry.velocity_mps
        return self._running.observe(tick)

    def log(self) -> None:
        """Check the temperature, and whether a different version must run; call between ticks.

        A passed trial is re-read until a person has kept or ended it. Meanwhile RUN is refused, so
        the robot is at rest and the control thread no longer changes the trial.
        """
        running = self._running
        if running is None:
            return
        running.judge.temperature_c = _highest_c(*self._temperatures_c())
        if running.trial.state is TrialState.PASSED:
            with suppress(PolicyError):  # the next request reports it
                running.refresh()
        if running.trial.state is TrialState.FAILED and not self._back_problem:
            self._go_back(running)

    def _go_back(self, running: RunningTrial) -> None:
        trial, writer = running.trial, running.writer
        if self._going_back:
            return
        if writer.is_idle:
            bundle = trial.name
        elif writer.problem:  # named explicitly, since the record does not state the failure yet
            bundle = f"{trial.name}@{trial.version_before}"
        else:
            return
        self._going_back = True
        self._load(bundle, self._went_back)

    def _went_back(self, problem: str) -> None:
        self._back_problem, self._going_back = problem, False

    def stop(self) -> None:
        if self._running is not None:
            self._running.end_run()

    @property
    def left_behind(self) -> bool:
        return self._running is not None and self._running.writer.left_behind

    def close(self) -> None:
        if self._odometry is not None:
            self._odometry.close()
        if self._running is not None:
            self._running.close()

    def _watch_odometry(self) -> None:
        """Subscribe to the odometry while a gate needs it."""
        running = self._running
        gates = None if running is None else running.trial.settings.gates
        is_needed = gates is not None and gates.motion_error_share is not None
        if is_needed and self._odometry is None:
            self._odometry = OdometryWatch(self._node)
        elif not is_needed and self._odometry is not None:
            self._odometry.close()
            self._odometry = None


def _highest_c(telemetry: Mapping[str, str], drives_c: Sequence[float]) -> float:
    """Return the highest temperature of the machine, device and drives; NaN if none is known."""
    reported = [
        number
        for key, text in telemetry.items()
        if key.endswith("_temperature_c") and (number := number_in(text)) is not None
    ]
    return max([*reported, *filter(math.isfinite, drives_c)], default=math.nan)
