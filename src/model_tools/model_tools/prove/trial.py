# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one case with one bundle: the real controller drives robot_sim, in lockstep."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from model_tools.errors import ToolError
from model_tools.simulation.controlled import ControlledPolicy, RecordingBackend
from model_tools.simulation.estimated import (
    EstimatedVelocity,
    EstimateError,
    VelocityError,
    watched_by_contract,
    watched_by_figures,
)
from model_tools.simulation.robot import LITE3, SimulatedRobot, WalkCase, WalkLimits
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend, Mode, Tensor
from policy_inference.flight.description import flight_settings, make_flight
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring, Wire
from policy_inference.flight.sensors import (
    CONTACT_FORCES,
    IMU,
    JOINT_STATES,
    ODOMETRY,
    TWIST,
    SensorMessages,
)
from policy_inference.flight.tap import Tap
from robot_sim.drives import DriveCommand
from robot_sim.faults import FaultPlan
from robot_sim.mapper import Mapper
from robot_sim.metrics import SETTLE_S, measure, velocity_yaw_aligned
from robot_sim.rotation import tilt_rad
from robot_sim.trace import Trace
from robot_sim.walk import Schedule, walk
from robot_sim.world import NS_PER_S, Sensors, WalkingWorld

_TOPICS = (JOINT_STATES, IMU, ODOMETRY, TWIST, CONTACT_FORCES)
_RING = 256
"""Number of ticks per write."""


class RecordedPolicy(ControlledPolicy):
    """A `ControlledPolicy` with the flight recorder's ring and writer, on simulated time.

    Use it as a context manager: on exit, the recording is complete, or absent after an exception.
    Sensor values are recorded as the messages that a robot would have received.
    """

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        place: Path,
        reason: str,
        robot: SimulatedRobot = LITE3,
        mapper: Mapper | None = None,
    ) -> None:
        """Start a recording.

        Args:
            bundle: A bundle with a valid contract.
            backend: Opened back end of the bundle, which the caller closes.
            place: Folder to write; a number is appended if it exists.
            reason: Reason for the recording, for readers.
            robot: Robot to simulate, described by a `figures.yaml`.
            mapper: See `ControlledRobot`.
        """
        tap = Tap(backend)
        super().__init__(bundle, tap, robot=robot, mapper=mapper)
        self._foot_names = robot.body.foot_names
        limits = limits_in_force(bundle.contract, StricterLimits())
        types = message_types()
        flight = make_flight(
            bundle, tap, self.controller, _TOPICS, settings=flight_settings(limits, tap)
        )
        self._messages, self._ring = (
            SensorMessages(types),
            Ring(self.controller.latest_tick, tap, _RING),
        )
        tap.show(self._ring)
        self._ring.restart()
        self._recording, self._written = Recording(place, types, flight, reason), 0

    @property
    def place(self) -> Path:
        return self._recording.place

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        began_ns = time.perf_counter_ns()
        drive = super().__call__(sensors, command)
        duration_ns = time.perf_counter_ns() - began_ns
        tick = self.controller.latest_tick
        tick.send(self.targets, self._ring.end, stamp_ns=sensors.time_ns, duration_ns=duration_ns)
        self._ring.record(tick, self._wire(sensors, command))
        if self._ring.end - self._written == _RING:
            self._write()
        return drive

    def __enter__(self) -> RecordedPolicy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._recording.discard()
            return
        with self._recording:
            self._write()

    def _write(self) -> None:
        ticks, _ = self._ring.copies(self._written, self._ring.end)
        self._recording.add(ticks)
        self._written = self._ring.end

    def _wire(self, sensors: Sensors, command: F64) -> Wire:
        make, stamp_ns = self._messages, sensors.time_ns
        state = self.controller.state
        # As the policy received it: estimated, or with the error under test.
        received = "lin_vel_body" in state.slices
        lin_vel_body = state["lin_vel_body"].copy() if received else sensors.lin_vel_body
        return (
            make.joint_states(
                stamp_ns,
                sensors.joint_names,
                sensors.joint_pos,
                sensors.joint_vel,
                sensors.joint_effort,
            ),
            make.imu(stamp_ns, sensors.quat_xyzw, sensors.ang_vel_body, sensors.lin_acc_body),
            make.odometry(
                stamp_ns,
                sensors.pos_world,
                sensors.quat_xyzw,
                lin_vel_body,
                sensors.ang_vel_body,
            ),
            make.twist(command.tolist()),
            make.contact_forces(stamp_ns, self._foot_names, sensors.foot_force_world),
        )


GET_UP_S = 3.0
"""Time allowed to reach RUN beyond `stand.longest_s`, since a loaded robot takes longer to rise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkOutcome:
    """Outcome of a case. Values cover the time that the robot survived.

    Attributes:
        name, group: Name and group of the case.
        passed: True if all limits hold; None without limits.
        survived_s, duration_s: Time that the robot stayed on its feet in RUN, and required time.
        error: |mean velocity - command| for vx, vy (m/s) and wz (rad/s), from 2 s after each
            command, averaged over the commands of the case.
        tilt_deg: Largest tilt.
        torque_limit_share: Share of samples (joint x physics step) at the torque limit.
        action_change: Mean |change of the action per tick|, after 2 s.
        altered_share: Share of ticks in which the guard changed a target.
        stopped_by: Why the controller left RUN, or a note that the robot fell; otherwise empty.
        estimate: Error of the base velocity estimator, from RUN on; None without one.
    """

    name: str
    group: str
    passed: bool | None
    survived_s: float
    duration_s: float
    error: tuple[float, float, float]
    tilt_deg: float
    torque_limit_share: float
    action_change: float
    altered_share: float
    stopped_by: str
    estimate: EstimateError | None = None

    @property
    def survived(self) -> bool:
        return self.survived_s >= self.duration_s


def try_case(
    bundle: JointBundle,
    backend: Backend,
    case: WalkCase,
    recording: Path | None = None,
    robot: SimulatedRobot = LITE3,
) -> tuple[WalkOutcome, Trace]:
    """Let the robot stand up, and begin the case as soon as the policy runs.

    Args:
        bundle: A bundle with a valid contract.
        backend: Opened back end of the bundle, which the caller closes.
        case: Case to run.
        recording: Folder for a flight recording of everything; not supported for a robot from a
            model file.
        robot: Robot to simulate.

    Returns:
        The outcome, and the trace of the walk, or of standing up if the robot got no further.
    """
    recorder, mapper = RecordingBackend(backend), Mapper(case.ground)
    if recording is None:
        policy = ControlledPolicy(bundle, recorder, robot=robot, mapper=mapper)
        return _try(bundle, recorder, policy, case, robot)
    if robot.model is not None:
        raise ToolError(
            f"{recording}: expected a recording of a robot whose feet are known, found {robot.name}"
        )
    reason = f"acceptance: {case.name}"
    with RecordedPolicy(
        bundle, recorder, recording, reason, robot=robot, mapper=mapper
    ) as recorded:
        return _try(bundle, recorder, recorded, case, robot)


def _try(
    bundle: JointBundle,
    recorder: RecordingBackend,
    policy: ControlledPolicy,
    case: WalkCase,
    robot: SimulatedRobot,
) -> tuple[WalkOutcome, Trace]:
    world = robot.world(bundle.contract, case)
    world.latency_ns = round(case.latency_ms * 1_000_000)
    world.scale_gains(stiffness=case.stiffness_scale, damping=case.damping_scale)
    contract = bundle.contract
    policy.estimated = estimated = _estimated(contract, case, robot)
    watch = None if estimated is None else estimated.watch
    if case.velocity_error_mps:
        policy.velocity_error = VelocityError(case.velocity_error_mps, case.seed)
    stood = walk(
        world,
        policy,
        [],
        duration_s=contract.stand.longest_s + GET_UP_S,
        rate_hz=contract.rate_hz,
        until=lambda _: policy.controller.mode is Mode.RUN,
        watch=watch,
    )
    if policy.controller.mode is not Mode.RUN:
        return _did_not_walk(case, policy), stood
    world.reset_saturated_share()
    altered, first, start_s = policy.altered_ticks, recorder.runs, world.time_ns / NS_PER_S
    trace = walk(
        world,
        policy,
        _within_range(case.schedule, contract),
        duration_s=case.duration_s,
        rate_hz=contract.rate_hz,
        faults=FaultPlan(case.faults_from(start_s), seed=case.seed, joint_names=world.joint_names),
        until=lambda _: world.fallen or _has_stopped(policy),
        watch=watch,
    )
    snapshot = policy.controller.snapshot()
    stopped = _has_stopped(policy)
    actions = recorder.recorded()[contract.action.output][first:]
    outcome = WalkOutcome(
        name=case.name,
        group=case.group,
        passed=None,
        duration_s=case.duration_s,
        survived_s=float(trace.time_s[-1] - trace.time_s[0])
        if stopped or world.fallen
        else case.duration_s,
        error=_error(trace, world),
        tilt_deg=float(np.degrees(tilt_rad(trace.quat_xyzw).max())),
        torque_limit_share=world.saturated_share,
        action_change=_action_change(actions, contract.rate_hz),
        altered_share=(policy.altered_ticks - altered) / len(trace.time_s),
        stopped_by=snapshot.reason if stopped else "fell" if world.fallen else "",
        estimate=None if estimated is None else estimated.error(start_s),
    )
    judged = None if case.limits is None else _holds(outcome, case.limits)
    return dataclasses.replace(outcome, passed=judged), trace


def _within_range(schedule: Schedule, contract: JointContract) -> Schedule:
    """Return the commands limited to the trained range; errors are measured against these."""
    trained = contract.velocity_command
    if trained is None:
        return schedule
    clipped = [np.clip(velocity, trained.min, trained.max).tolist() for _, velocity in schedule]
    return [(at_s, (vx, vy, wz)) for (at_s, _), (vx, vy, wz) in zip(schedule, clipped, strict=True)]


def _estimated(
    contract: JointContract, case: WalkCase, robot: SimulatedRobot
) -> EstimatedVelocity | None:
    """Return the estimator, with the legs from the contract or the robot's `figures.yaml`."""
    found = watched_by_contract(contract, case.sensor_errors)
    if found is None and case.estimator:
        return watched_by_figures(robot.body, case.sensor_errors)
    return found


def _has_stopped(policy: ControlledPolicy) -> bool:
    return policy.controller.mode not in (Mode.RUN, Mode.HOLD)


def _did_not_walk(case: WalkCase, policy: ControlledPolicy) -> WalkOutcome:
    snapshot, nothing = policy.controller.snapshot(), float("nan")
    reason = policy.refusal if snapshot.mode is Mode.READY else snapshot.reason
    return WalkOutcome(
        name=case.name,
        group=case.group,
        passed=None if case.limits is None else False,
        survived_s=0.0,
        duration_s=case.duration_s,
        error=(nothing, nothing, nothing),
        tilt_deg=nothing,
        torque_limit_share=nothing,
        action_change=nothing,
        altered_share=nothing,
        stopped_by=f"{snapshot.mode.name}: {reason}",
    )


def _holds(outcome: WalkOutcome, limits: WalkLimits) -> bool:
    return (
        outcome.survived
        and all(error <= limits.error for error in outcome.error)
        and outcome.tilt_deg <= limits.tilt_deg
        and outcome.torque_limit_share <= limits.torque_limit_share
        and outcome.action_change <= limits.action_change
        and outcome.altered_share <= limits.altered_share
    )


def _error(trace: Trace, world: WalkingWorld) -> tuple[float, float, float]:
    """Return the mean error of commands that lasted long enough; of all rows if none did."""
    segments = measure(
        trace, effort_limit_nm=world.effort_limit_nm, fallen_height_m=world.fallen_height_m
    ).segments
    if segments:
        errors = np.array([segment.error for segment in segments])
    else:
        errors = np.abs((velocity_yaw_aligned(trace) - trace.command).mean(axis=0, keepdims=True))
    vx, vy, wz = errors.mean(axis=0).tolist()
    return vx, vy, wz


def _action_change(actions: Tensor, rate_hz: float) -> float:
    settled = actions[round(SETTLE_S * rate_hz) :]
    changes = np.diff(settled if len(settled) > 1 else actions, axis=0)
    return float(np.abs(changes).mean()) if len(changes) else float("nan")
