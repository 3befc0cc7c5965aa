# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Judge a version on trial by the gates in its `trial.yaml` while it runs, and record the trial."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue

import numpy as np

from policy_core.bundle.set_contract import HostedContract
from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule, Trip
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, JointTargets, Kind, Mode, OnFault
from policy_core.latency import LatencyWindow
from policy_core.observation.state import tilt_rad
from policy_core.words import FIRST_AWAITED
from policy_inference.candidate.gates import GateResult
from policy_store.trial_file import TrialSettings
from policy_store.trial_record import (
    TrialEvent,
    TrialLine,
    TrialState,
    VersionTrial,
    begin_run,
    new_line,
    read_trials,
    show_presence,
)

_MEAN_OVER_S = 5.0
"""Time constant of the exponential averages of the squared tracking error and torque."""
_MOTION_OVER_S = 2.0
"""Time constant of the averages of commanded and measured motion, which hide the gait and most of
the robot's delay."""
_FOLLOWING_OVER_S = 20.0
"""Time constant of the averages of the squared motion and its error; long, because a good policy
may fail to follow a single command under payload."""
_YAW_ARM_M = 0.5
"""Distance at which a yaw rate counts as a speed, about a robot's length."""
_LEAST_MOTION_MPS = 0.3
"""Commanded motion below which the error is a share of this speed: rest is judged, too, and many
policies stand still at small commands."""
_LATENCY_EVERY_TICKS = 50
"""Update interval of percentiles, in ticks; a percentile takes longer than all other figures."""


class TrialJudge:
    """Accumulates the policy's RUN time and figures; call every method on the control thread.

    Attributes:
        figures: Newest value for each active gate, in the unit stated in the gate's name.
        running: True if the policy is running, or is held during a run.
        temperature_c: Temperature, set by the caller; not finite if unknown.
        velocity_mps: Velocity of the base, vx and vy in the body frame, set by the caller; not
            finite if unknown.
    """

    def __init__(
        self,
        settings: TrialSettings,
        contract: HostedContract,
        tick: Tick,
        latency: LatencyWindow,
        counts: Mapping[str, float],
        *,
        simulated_time: bool,
    ) -> None:
        """Continue from the counts of earlier runs of the trial.

        Args:
            settings: Trial settings.
            contract: The policy's contract.
            tick: The policy controller's tick.
            latency: Tick durations.
            counts: See `VersionTrial.counts`.
            simulated_time: See `TrialGates.judged`.
        """
        self._gates = settings.gates.judged(simulated_time=simulated_time)
        self._settings, self._latency = settings, latency
        self._period_s = 1.0 / contract.rate_hz
        self._latency_from = latency.count
        state, joints = tick.state, contract.joints
        self._joint_pos, self._joint_vel = state["joint_pos"], state.get("joint_vel")
        self._gravity = state.get("gravity_body")
        self._motion = CommandFollowing(
            state.get("velocity_command"), state.get("ang_vel_body"), self._period_s
        )
        self._effort_limit = joints.effort_limit
        kinds = contract.command_kinds
        self._posed = np.array([kinds.get(name) is Kind.POSITION for name in joints.names])
        self._weight = min(1.0, self._period_s / _MEAN_OVER_S)
        self._sent = np.zeros((6, len(joints.names)))  # rows as in JointTargets.block
        self._has_sent = False
        self._tracking, self._torque = np.zeros((2, len(joints.names)))
        self._names = joints.names
        self._last_ns: int | None = None
        self._trip: Trip | None = tick.trip
        self._fault = ""
        self._run_ns = round(counts.get("run_time_s", 0.0) * 1e9)
        self._ticks, self._hold_ticks, self._missed, self._falls, self._latched = (
            int(counts.get(name, 0))
            for name in ("ticks", "hold_ticks", "missed_ticks", "falls", "latched_faults")
        )
        self.figures = dict.fromkeys(self._gates, 0.0)
        self.running = False
        self.temperature_c = math.nan
        self.velocity_mps = UNKNOWN_VELOCITY

    @property
    def run_time_s(self) -> float:
        """RUN time of the whole trial, in s, on the tick clock."""
        return self._run_ns * 1e-9

    @property
    def time_is_up(self) -> bool:
        return self.run_time_s >= self._settings.run_time_s

    @property
    def counts(self) -> dict[str, float]:
        return {
            "run_time_s": round(self.run_time_s, 3),
            "ticks": self._ticks,
            "hold_ticks": self._hold_ticks,
            "missed_ticks": self._missed,
            "falls": self._falls,
            "latched_faults": self._latched,
        }

    def observe(self, tick: Tick) -> GateResult | None:
        """Process a completed tick; return the first gate that fails, or None."""
        mode = tick.mode
        if self.running:
            self._note_faults(tick.trip)
        goes_on = mode is Mode.RUN or (mode is Mode.HOLD and self.running)
        if goes_on and self.running and self._last_ns is not None:
            self._run_ns += max(0, tick.now_ns - self._last_ns)
            self._missed += tick.missed
        if goes_on:
            held = mode is Mode.HOLD and tick.reason != FIRST_AWAITED
            self._ticks += 1
            self._hold_ticks += held
            if not held and tick.targets is not None:
                self._measure(tick.targets)
                self._motion.update(self.velocity_mps)
        else:
            self._has_sent = False
            self._motion.rest()
        judged = goes_on or self.running
        self.running, self._last_ns = goes_on, tick.now_ns
        self._trip = tick.trip
        return self._broken() if judged else None

    def _note_faults(self, trip: Trip | None) -> None:
        if trip is None or trip is self._trip or not trip.latched:
            return
        if trip.rule in (Rule.ESTOP, Rule.TRIAL):
            return
        self._latched += 1
        self._falls += trip.rule is Rule.ATTITUDE
        self._fault = f"{trip.rule.value}: {trip.reason}"

    def _measure(self, sent: JointTargets) -> None:
        """Compare the previous tick's command with the measurements since then."""
        if self._has_sent:
            position, velocity, effort, stiffness, damping, _ = self._sent
            error = position - self._joint_pos
            squares = np.where(self._posed, error * error, 0.0)
            self._tracking += self._weight * (squares - self._tracking)
            if self._joint_vel is not None:
                torque = stiffness * error + damping * (velocity - self._joint_vel) + effort
                share = np.minimum(np.abs(torque) / self._effort_limit, 1.0)
                self._torque += self._weight * (share * share - self._torque)
        self._sent[:], self._has_sent = sent.block, True

    def _broken(self) -> GateResult | None:
        measured, run_time_s = self._figures(), self.run_time_s
        broken: GateResult | None = None
        for name, gate in self._gates.items():
            value, detail = measured.get(name, (self.figures[name], ""))
            self.figures[name] = value
            # Not `>`: NaN must also exceed a gate.
            if broken is None and not value <= gate.limit and run_time_s >= gate.after_s:
                # The record can contain finite numbers only.
                value = value if math.isfinite(value) else sys.float_info.max
                broken = GateResult(figure=name, value=value, limit=gate.limit, detail=detail)
        return broken

    def _figures(self) -> dict[str, tuple[float, str]]:
        ticks = max(1, self._ticks)
        found = {
            "falls": (float(self._falls), self._fault),
            "latched_faults": (float(self._latched), self._fault),
            "hold_share": (self._hold_ticks / ticks, ""),
            "missed_ticks_share": (self._missed / (ticks + self._missed), ""),
            "tracking_error_rad": self._worst(self._tracking),
            "torque_share": self._worst(self._torque),
            "motion_error_share": (self._motion.error_share, self._motion.measured),
        }
        if self._gravity is not None:
            found["tilt_rad"] = tilt_rad(self._gravity), ""
        if math.isfinite(self.temperature_c):
            found["temperature_c"] = self.temperature_c, ""
        if "latency_share" in self._gates and self._ticks % _LATENCY_EVERY_TICKS == 0:
            durations_s = np.sort(self._latency.since(self._latency_from))
            if durations_s.size:
                p99_s = durations_s[math.ceil((durations_s.size - 1) * 0.99)]
                found["latency_share"] = float(p99_s) / self._period_s, ""
        return found

    def _worst(self, squares: F64) -> tuple[float, str]:
        worst = int(squares.argmax())
        return math.sqrt(squares[worst]), self._names[worst]


UNKNOWN_VELOCITY = (math.nan, math.nan)


class CommandFollowing:
    """Compares the commanded motion with the measured one, both averaged."""

    def __init__(self, command: F64 | None, ang_vel_body: F64 | None, period_s: float) -> None:
        """Start at rest.

        Args:
            command: State field with the commanded vx, vy and yaw rate; None if there is none.
            ang_vel_body: State field with the angular velocity; None if it is not measured.
            period_s: Period of a tick.
        """
        self._command, self._ang_vel = command, ang_vel_body
        self._weight = min(1.0, period_s / _MOTION_OVER_S)
        self._square_weight = min(1.0, period_s / _FOLLOWING_OVER_S)
        self._wanted, self._error = [0.0] * 3, [0.0] * 3
        self._wanted_square = self._error_square = 0.0
        self._ticks = 0
        self.measured = ""
        """Source of the measured motion, for messages."""

    @property
    def error_share(self) -> float:
        """Error as a share of the commanded motion, root mean squares over about 20 s."""
        wanted = math.sqrt(self._wanted_square)
        return math.sqrt(self._error_square) / max(wanted, _LEAST_MOTION_MPS)

    def rest(self) -> None:
        """Forget the averages of the motion, because the policy does not move the robot."""
        self._wanted, self._error = [0.0] * 3, [0.0] * 3

    def update(self, velocity_mps: tuple[float, float]) -> None:
        """Add a tick; an axis that is not measured counts neither as commanded nor as an error."""
        if self._command is None:
            return
        vx, vy, yaw_rate = self._command.tolist()
        yaw_speed = math.nan if self._ang_vel is None else _YAW_ARM_M * float(self._ang_vel[2])
        has_odometry = all(map(math.isfinite, velocity_mps))
        self.measured = "odom and IMU" if has_odometry else "yaw rate of the IMU, no odom"
        axes = zip((vx, vy, _YAW_ARM_M * yaw_rate), (*velocity_mps, yaw_speed), strict=True)
        for axis, (wanted, measured) in enumerate(axes):
            is_measured = math.isfinite(measured)
            error = measured - wanted if is_measured else 0.0
            self._wanted[axis] += self._weight * (wanted * is_measured - self._wanted[axis])
            self._error[axis] += self._weight * (error - self._error[axis])
        for_wanted = sum(value * value for value in self._wanted)
        for_error = sum(value * value for value in self._error)
        self._ticks += 1
        weight = max(self._square_weight, 1.0 / self._ticks)  # at first, the mean of all ticks
        self._wanted_square += weight * (for_wanted - self._wanted_square)
        self._error_square += weight * (for_error - self._error_square)


_BEGUN_WITHIN_S = 0.5
"""Maximum wait until the record is on disk; a longer wait would block an e-stop."""
_AGAIN_AFTER_S = 1.0
_LEAVE_WITHIN_S = 1.0
_REMEDY = (
    "give the node's user write permission (`policy_store activate ... --trial ... --node-user "
    "USER`), and free disk space"
)


class TrialWriter:
    """Writes trial events to the trial's record, in order, and retries failed writes.

    Attributes:
        problem: Reason why the newest event could not yet be written to disk; empty if it was
            written.
    """

    def __init__(self) -> None:
        self._jobs: Queue[Callable[[], None] | None] = Queue()
        self._closed = threading.Event()
        self._presence: int | None = None
        self.problem = ""
        self._thread = threading.Thread(target=self._serve, name="trial", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        return self._jobs.unfinished_tasks == 0

    @property
    def left_behind(self) -> bool:
        """True if the thread is still hung in disk access after `close`."""
        return self._closed.is_set() and self._thread.is_alive()

    def put(self, trial: VersionTrial, event: TrialEvent, **values: object) -> None:
        """Queue an event for writing; never blocks."""
        self._jobs.put(lambda: trial.append(event, **values))

    def begin_run(self, trial: VersionTrial) -> None:
        """Record that RUN begins, and wait until the record is on disk."""
        done, found = threading.Event(), list[OSError]()

        def write() -> None:
            try:
                if self._presence is None:
                    self._presence = show_presence(trial.file)
                begin_run(trial)
            except OSError as error:
                found.append(error)
            done.set()

        self._jobs.put(write)
        if done.wait(_BEGUN_WITHIN_S) and not found:
            return
        if not done.is_set():
            self.put(trial, TrialEvent.RUN_ENDED)
        why = found[0].strerror if found else f"no answer within {_BEGUN_WITHIN_S:g} s"
        raise RefusedError(
            f"RUN refused: {trial.file}: expected a writable record of the trial, "
            f"found: {why}; {_REMEDY}"
        )

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(_LEAVE_WITHIN_S)
        self._closed.set()
        if self._presence is not None and not self._thread.is_alive():
            os.close(self._presence)
            self._presence = None

    def _serve(self) -> None:
        while (write := self._jobs.get()) is not None:
            while not self._succeeds(write):
                if self._closed.wait(_AGAIN_AFTER_S):
                    return
            self._jobs.task_done()

    def _succeeds(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.problem = f"{error.filename or 'record of the trial'}: {error.strerror}; {_REMEDY}"
            return False
        self.problem = ""
        return True


_RUNS = (Mode.RUN, Mode.HOLD)


class RunningTrial:
    """Ends the run when a gate fails, or when the trial's time is up.

    Call `observe` on the control thread; everything else may be called from any thread.

    Attributes:
        trial: Current state, including anything not yet on disk.
        judge: Judges the trial, and holds its figures.
        writer: Writer for the trial's record.
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
        """Begin judging with the next tick.

        Args:
            trial: The trial as recorded.
            contract: The policy's contract.
            tick: The policy controller's tick.
            latency: Tick durations.
            limits: Limits in force.
            simulated_time: Same as for `TrialJudge`.
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
        """Record a RUN before it begins; the body of the `with` statement grants or refuses it.

        Args:
            mode: Mode at the time of the request; a RUN that would be refused anyway is not
                recorded.
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
        """Judge a completed tick; return a verdict if the run must end."""
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
        elif self._broken is not None and runs:  # the last FAULT step was refused
            verdict = RunVerdict(EndStep.FAULT, str(self._broken))
        # A run that is recorded but has not ticked yet is still being granted.
        if ran and not runs:
            self.end_run()
        return verdict

    def refresh(self) -> VersionTrial:
        """Return the trial as recorded on disk, unless the current state is newer."""
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
"""Time for a walking robot to come to rest after the velocity command has faded."""
_STAND_WITHIN_S = 2.0
"""Time for retrying `stand`, since a foot at touchdown may exceed limits for a tick."""


class RunEnding:
    """Ends a run: the velocity command fades to zero, the robot comes to rest, and then stands.

    A set first returns to a state from which the robot may stand up.

    With `hold_measured`, the robot holds its pose instead of standing.
    """

    def __init__(self, contract: HostedContract, limits: Limits) -> None:
        """Prepare to end a run; take no action yet.

        Args:
            contract: Defines the fault behavior and, for a set, the duration of the way back.
            limits: Limits in force, for the command's fade time.
        """
        self._holds = OnFault(contract.safety.on_fault) is OnFault.HOLD_MEASURED
        self._stand_within_ns = round((_STAND_WITHIN_S + contract.way_back_s) * 1e9)
        self._rests_ns = limits.command_ramp_ns + round(_STILL_S * 1e9)
        self._began_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Return the step to take now, if any; call on the control thread after each tick."""
        takes_command = tick.state.get("velocity_command") is not None
        if self._began_ns is None:
            self._began_ns = tick.now_ns
            if takes_command:
                return RunVerdict(EndStep.FADE_COMMAND, _REASON)
        late_ns = tick.now_ns - self._began_ns - (self._rests_ns if takes_command else 0)
        if late_ns < 0:
            return None
        # Obstacles to standing may last only a few ticks, so stand is requested in each tick.
        if self._holds or late_ns > self._stand_within_ns:
            return RunVerdict(EndStep.DAMP, _REASON)
        return RunVerdict(EndStep.STAND, _REASON) if tick.mode is Mode.RUN else None
