# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a recording shows: modes with their reasons, what was measured and what was commanded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.recording import FORCES
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.state_fields import (
    COMMAND,
    IMU,
    JOINT_STATES,
    ODOMETRY,
    velocity_of,
)
from policy_core.interfaces import F64, Mode
from policy_core.words import FIRST_AWAITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A change of the mode, or of its reason.

    Attributes:
        tick, time_s: When; since the first tick.
        mode, reason: What it is from there on, and why.
        trip: Whether the guard took the policy's place there: it latched a fault, or holds.
    """

    tick: int
    time_s: float
    mode: Mode
    reason: str
    trip: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedFlight:
    """Ticks as arrays [ticks, ...]; what is not known is NaN.

    Attributes:
        tick: Their numbers.
        time_s: Since the first tick.
        mode: Modes, by number.
        because: Why it was recorded.
        edges: What happened, in order; the first is how it began.
        rpy_rad: Roll, pitch and yaw.
        ang_vel_body, lin_acc_body: rad/s and m/s^2.
        joint_pos, joint_vel, joint_effort, target: [ticks, joints] in the contract's order; rad,
            rad/s, N·m; commanded positions, rad.
        effort_limit: [joints], N·m.
        velocity_command, velocity: vx, vy m/s and yaw rate rad/s: commanded, and measured.
        forces, feet: Size of the force on each foot, N, and their names.
        ages_s: Of each input, by name.
        duration_s: From the sampling of the inputs to the command.
        joints: Their names.
    """

    tick: npt.NDArray[np.int64]
    time_s: F64
    mode: npt.NDArray[np.int64]
    because: str
    edges: tuple[Edge, ...]
    rpy_rad: F64
    ang_vel_body: F64
    lin_acc_body: F64
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    target: F64
    effort_limit: F64
    velocity_command: F64
    velocity: F64
    forces: F64
    feet: tuple[str, ...]
    ages_s: dict[str, F64]
    duration_s: F64
    joints: tuple[str, ...]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> RecordedFlight:
        """Return the chosen ticks [ticks]; what is not by tick stays whole."""
        kept = ("because", "edges", "effort_limit", "feet", "ages_s", "joints")
        arrays = {
            field.name: getattr(self, field.name)[chosen]
            for field in dataclasses.fields(self)
            if field.name not in kept
        }
        ages_s = {name: ages[chosen] for name, ages in self.ages_s.items()}
        return dataclasses.replace(self, **arrays, ages_s=ages_s)

    @property
    def trip(self) -> Edge | None:
        """The fault for which this was recorded, where it says so; else the last, if any.

        One that was latched comes before a HOLD, which may have been its beginning.
        """
        trips = [edge for edge in self.edges if edge.trip]
        meant = [edge for edge in trips if edge.reason and edge.reason in self.because] or trips
        return max(meant, key=lambda edge: (edge.mode is Mode.DAMP, edge.time_s), default=None)

    @property
    def seconds_by_mode(self) -> dict[str, float]:
        """How long each mode lasted, s."""
        period_s = float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else 0.0
        return {
            mode.name: count * period_s
            for mode in Mode
            if (count := int((self.mode == mode).sum()))
        }


class FlightLog:
    """Collects what a recording shows, tick by tick."""

    def __init__(self, contract: HostedContract, info: Info) -> None:
        """Begin; `contract` and `info` are those of the recording."""
        self._info, self._joints = info, info.joints
        self._limit = contract.joints.effort_limit
        self._rows: list[F64] = []
        self._widths: list[int] = []
        self._force_rows: list[F64] = []
        self._numbers: list[int] = []
        self._times_ns: list[int] = []
        self._modes: list[Mode] = []
        self._edges: list[Edge] = []
        self._feet: tuple[str, ...] = ()
        self._forces = np.zeros(0)
        self._effort = np.full(len(self._joints), np.nan)
        self._imu, self._command, self._velocity = np.full(10, np.nan), *np.full((2, 3), np.nan)

    def add(self, tick: RecordedTick) -> None:
        """Take a tick in."""
        for name, message in tick.messages.items():
            self._take(name, message)
        self._note_edge(tick)
        self._numbers.append(tick.number)
        self._times_ns.append(tick.time_ns)
        self._modes.append(tick.mode)
        joints, unknown = len(self._joints), np.nan
        quat = self._field(tick, "quat_xyzw", self._imu[:4])
        target = np.full(joints, unknown) if tick.command is None else tick.command[0]
        ages = [unknown if age is None else age * 1e-9 for age in tick.ages_ns.values()]
        parts = (
            rpy_rad(quat),
            self._field(tick, "ang_vel_body", self._imu[4:7]),
            self._imu[7:],
            self._field(tick, "joint_pos", np.full(joints, unknown)),
            self._field(tick, "joint_vel", np.full(joints, unknown)),
            self._effort,
            target,
            self._field(tick, "velocity_command", self._command),
            self._velocity,
            np.array(ages),
            np.array([tick.duration_s]),
        )
        self._widths = [part.size for part in parts]
        # One array per tick: of an hour, twelve each would be mostly their heads.
        self._rows.append(np.concatenate(parts))
        self._force_rows.append(self._forces)

    def flight(self) -> RecordedFlight:
        """Return all ticks so far as arrays."""
        feet = len(self._feet)
        # Forces that began to come in the middle: NaN before.
        forces = np.array(
            [row if row.size == feet else np.full(feet, np.nan) for row in self._force_rows]
        )
        (rpy, ang_vel, lin_acc, pos, vel, effort, target, command, velocity, ages, duration) = (
            np.split(np.array(self._rows), np.cumsum(self._widths)[:-1], axis=1)
        )
        times = np.array(self._times_ns, np.int64)
        return RecordedFlight(
            tick=np.array(self._numbers, np.int64),
            time_s=(times - times[0]) * 1e-9,
            mode=np.array(self._modes, np.int64),
            because=self._info.reason,
            edges=tuple(self._edges),
            rpy_rad=rpy,
            ang_vel_body=ang_vel,
            lin_acc_body=lin_acc,
            joint_pos=pos,
            joint_vel=vel,
            joint_effort=effort,
            target=target,
            effort_limit=self._limit,
            velocity_command=command,
            velocity=velocity,
            forces=forces,
            feet=self._feet,
            duration_s=duration[:, 0],
            joints=self._joints,
            ages_s={name: ages[:, i] for i, name in enumerate(self._info.inputs)},
        )

    def _note_edge(self, tick: RecordedTick) -> None:
        before = self._modes[-1] if self._modes else None
        if tick.mode is before and not tick.reason:
            return
        began_ns = self._times_ns[0] if self._times_ns else tick.time_ns
        fault = tick.mode is Mode.DAMP and tick.rule is not None
        began = tick.mode is Mode.HOLD and before is not Mode.HOLD
        held = began and tick.reason != FIRST_AWAITED
        trip = before is not None and (fault or held)
        self._edges.append(
            Edge(
                tick=tick.number,
                time_s=(tick.time_ns - began_ns) * 1e-9,
                mode=tick.mode,
                reason=tick.reason,
                trip=trip,
            )
        )

    def _take(self, name: str, message: Any) -> None:
        if name == JOINT_STATES.name and len(message.effort) == len(message.name):
            by_name = dict(zip(message.name, message.effort, strict=True))
            self._effort = np.array([by_name.get(joint, np.nan) for joint in self._joints])
        elif name == IMU.name:
            q, rate, acc = (
                message.orientation,
                message.angular_velocity,
                message.linear_acceleration,
            )
            self._imu = np.array([q.x, q.y, q.z, q.w, rate.x, rate.y, rate.z, acc.x, acc.y, acc.z])
        elif name == ODOMETRY.name:
            twist = message.twist.twist
            self._velocity = np.array([twist.linear.x, twist.linear.y, twist.angular.z])
        elif name == COMMAND:
            self._command = np.array(velocity_of(message))
        elif name == FORCES:
            self._feet = tuple(message.names)
            self._forces = np.array(
                [np.sqrt(force.x**2 + force.y**2 + force.z**2) for force in message.forces]
            )

    def _field(self, tick: RecordedTick, name: str, otherwise: F64) -> F64:
        """Return a field of the recorded state, where it has it."""
        part = self._info.fields.get(name)
        return otherwise if part is None else tick.state[part]


def rpy_rad(quat_xyzw: Sequence[float] | F64) -> F64:
    """Return roll, pitch and yaw [3] of an orientation, rotations about x, then y, then z fixed.

    Source: the usual decomposition R = Rz(yaw) Ry(pitch) Rx(roll), read off the rotation matrix.
    """
    x, y, z, w = quat_xyzw
    return np.array(
        [
            np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
            np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0)),
            np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        ]
    )
