# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recorded flight over time: as arrays, and as charts that mark interventions of the guard."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_tools.prove.replaying.recording import FORCES, Info, RecordedTick
from model_tools.prove.replaying.stages import StageCourse
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.state_fields import (
    COMMAND,
    IMU,
    JOINT_STATES,
    ODOMETRY,
    read_velocity,
)
from policy_core.interfaces import F64, Mode
from policy_core.words import FIRST_AWAITED
from policy_store.report import Chart, Plot, Section, Series, Tone
from robot_sim.rotation import roll_pitch_yaw

_VECTORS = ("rpy_rad", "ang_vel_body", "lin_acc_body", "velocity_command", "velocity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A change of mode or reason.

    Attributes:
        tick, time_s: Tick, and time since the first tick.
        mode, reason: The new mode and its reason.
        trip: True if the guard replaced the policy, by a latched fault or HOLD.
    """

    tick: int
    time_s: float
    mode: Mode
    reason: str
    trip: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedFlight:
    """A flight as arrays [ticks, ...]; NaN where unknown.

    Attributes:
        tick: Tick numbers.
        time_s: Time since the first tick.
        mode: Modes, by number.
        because: Reason for the recording.
        edges: Changes in order; the first is the initial mode.
        rpy_rad: Roll, pitch and yaw.
        ang_vel_body, lin_acc_body: rad/s and m/s^2.
        joint_pos, joint_vel, joint_effort, target: [ticks, joints] in the contract's order; rad,
            rad/s, N·m; commanded positions, rad.
        effort_limit: [joints], N·m.
        velocity_command, velocity: vx, vy m/s and yaw rate rad/s: commanded, and measured.
        forces, feet: Magnitude of the force on each foot, N, and names of the feet.
        ages_s: Age of each input, by name.
        duration_s: Time from sampling the inputs to the command.
        joints: Names of the joints.
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
        """Return the chosen ticks [ticks]; arrays that are not per tick stay whole."""
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
        """The fault that triggered the recording, if stated; otherwise the last one, if any.

        A latched fault has precedence over a HOLD, which may have preceded it.
        """
        trips = [edge for edge in self.edges if edge.trip]
        meant = [edge for edge in trips if edge.reason and edge.reason in self.because] or trips
        return max(meant, key=lambda edge: (edge.mode is Mode.DAMP, edge.time_s), default=None)

    @property
    def seconds_by_mode(self) -> dict[str, float]:
        period_s = float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else 0.0
        return {
            mode.name: count * period_s
            for mode in Mode
            if (count := int((self.mode == mode).sum()))
        }


class FlightLog:
    """Collects the content of a recording, tick by tick."""

    def __init__(self, contract: HostedContract, info: Info, most: int) -> None:
        """Prepare for up to `most` ticks of a recording, given its contract and description."""
        self._info, self._limit = info, contract.joints.effort_limit
        joints = (np.float64, (len(info.joints),))
        # One record per tick: for an hour, twelve small arrays per tick would be mostly overhead.
        self._rows = np.zeros(
            most,
            [
                ("tick", np.int64),
                ("time_ns", np.int64),
                ("mode", np.int64),
                *((name, np.float64, (3,)) for name in _VECTORS),
                *((name, *joints) for name in ("joint_pos", "joint_vel", "joint_effort", "target")),
                ("ages_s", np.float64, (len(info.inputs),)),
                ("duration_s", np.float64),
            ],
        )
        self._count = 0
        self._force_rows: list[F64] = []
        self._edges: list[Edge] = []
        self._feet: tuple[str, ...] = ()
        self._forces = np.zeros(0)
        self._effort = np.full(len(info.joints), np.nan)
        self._imu, self._command, self._velocity = np.full(10, np.nan), *np.full((2, 3), np.nan)

    def add(self, tick: RecordedTick) -> None:
        for name, message in tick.messages.items():
            self._take(name, message)
        self._note_edge(tick)
        fields = {name: tick.state[part] for name, part in self._info.fields.items()}
        quat = fields.get("quat_xyzw", self._imu[:4])
        self._rows[self._count] = (
            tick.number,
            tick.time_ns,
            tick.mode,
            roll_pitch_yaw(quat) if np.isfinite(quat).all() else np.nan,
            fields.get("ang_vel_body", self._imu[4:7]),
            self._imu[7:],
            fields.get("velocity_command", self._command),
            self._velocity,
            fields.get("joint_pos", np.nan),
            fields.get("joint_vel", np.nan),
            self._effort,
            np.nan if tick.command is None else tick.command[0],
            [np.nan if age is None else age * 1e-9 for age in tick.ages_ns.values()],
            tick.duration_s,
        )
        self._force_rows.append(self._forces)
        self._count += 1

    def flight(self) -> RecordedFlight:
        feet, rows = len(self._feet), self._rows[: self._count]
        # NaN before the first forces, which may start in the middle.
        forces = np.array(
            [row if row.size == feet else np.full(feet, np.nan) for row in self._force_rows]
        )
        arrays = {
            name: rows[name] for name in rows.dtype.names or () if name not in ("time_ns", "ages_s")
        }
        return RecordedFlight(
            **arrays,
            time_s=(rows["time_ns"] - rows["time_ns"][0]) * 1e-9,
            because=self._info.reason,
            edges=tuple(self._edges),
            effort_limit=self._limit,
            forces=forces,
            feet=self._feet,
            joints=self._info.joints,
            ages_s={name: rows["ages_s"][:, i] for i, name in enumerate(self._info.inputs)},
        )

    def _note_edge(self, tick: RecordedTick) -> None:
        before = Mode(int(self._rows["mode"][self._count - 1])) if self._count else None
        if tick.mode is before and not tick.reason:
            return
        began_ns = int(self._rows["time_ns"][0]) if self._count else tick.time_ns
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
            self._effort = np.array([by_name.get(joint, np.nan) for joint in self._info.joints])
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
            self._command = np.array(read_velocity(message))
        elif name == FORCES:
            self._feet = tuple(message.names)
            self._forces = np.array(
                [np.sqrt(force.x**2 + force.y**2 + force.z**2) for force in message.forces]
            )


_TONES = {Mode.DAMP: Tone.BAD, Mode.RUN: Tone.GOOD, Mode.HOLD: Tone.WARN}
_CLOSE_UP_S, _LONG_S, _SHORT_IN = 1.5, 30.0, 1.6


def overview(flight: RecordedFlight) -> Plot:
    """Plot modes, attitude and torque over the flight and, beside it, around the worst moment."""
    near = flight.rows(np.abs(flight.time_s - _moment_s(flight)) <= _CLOSE_UP_S)

    parts = (flight, near)
    charts = [_modes(part) for part in parts]
    for part in parts:
        roll, pitch, _ = np.degrees(part.rpy_rad).T
        charts.append(_chart("attitude, degrees", part, [("roll", roll), ("pitch", pitch)]))
    for part in parts:
        share = np.nan_to_num(np.abs(part.joint_effort) / part.effort_limit, nan=-np.inf)
        largest = 100.0 * share.max(axis=1, initial=-np.inf)
        title = "largest torque of a joint, % of its limit"
        charts.append(_chart(title, part, [("torque", largest)]))
    return Plot(charts=charts, columns=2, row_in=_SHORT_IN)


def flight_sections(flight: RecordedFlight) -> Iterator[Section]:
    imu = [
        _chart(title, flight, [(name, each[:, i]) for i, name in enumerate("xyz")])
        for title, each in (
            ("angular velocity of the body, rad/s", flight.ang_vel_body),
            ("linear acceleration of the body, m/s²", flight.lin_acc_body),
        )
    ]
    velocity = [
        _chart(
            title,
            flight,
            [("measured", flight.velocity[:, i])],
            expected=("commanded", flight.velocity_command[:, i]),
        )
        for i, title in enumerate(("vx, m/s", "vy, m/s", "yaw rate, rad/s"))
    ]
    feet = [
        _chart(f"{foot}, N", flight, [("force", flight.forces[:, i])])
        for i, foot in enumerate(flight.feet)
    ]
    near = flight
    if flight.time_s[-1] - flight.time_s[0] > _LONG_S:
        near = flight.rows(np.abs(flight.time_s - _moment_s(flight)) <= _CLOSE_UP_S)
    positions = [
        _chart(
            f"{joint}, rad",
            near,
            [("measured", near.joint_pos[:, i])],
            expected=("target", near.target[:, i]),
        )
        for i, joint in enumerate(flight.joints)
    ]
    ends_s = flight.time_s[[0, -1]]
    torques = [
        Chart(
            title=f"{joint}, N·m",
            series=[
                Series(label="torque", x=flight.time_s, y=flight.joint_effort[:, i]),
                Series(label="limit", x=ends_s, y=np.full(2, limit), tone=Tone.BAD),
                Series(x=ends_s, y=np.full(2, -limit), tone=Tone.BAD),
            ],
            marks=_marks(flight),
        )
        for i, (joint, limit) in enumerate(zip(flight.joints, flight.effort_limit, strict=True))
    ]
    ages = [(name, 1e3 * each) for name, each in flight.ages_s.items()]
    times = [
        _chart("age of the inputs at the tick, ms", flight, ages),
        _chart("from sampling to command, ms", flight, [("tick", 1e3 * flight.duration_s)]),
    ]
    for title, charts, columns in (
        ("IMU", imu, 1),
        ("Velocity", velocity, 1),
        ("Joint torques", torques, 3),
        ("Foot forces", feet, 1),
        (f"Joint positions, {near.time_s[0]:.1f} to {near.time_s[-1]:.1f} s", positions, 3),
        ("Ages and latency", times, 1),
    ):
        if any(
            np.isfinite(one.y).any()
            for chart in charts
            for one in chart.series
            if one.tone is not Tone.BAD
        ):
            plot = Plot(charts=charts, columns=min(columns, len(charts)), row_in=_SHORT_IN)
            yield Section(title=title, parts=[plot])


def targets_plot(flight: RecordedFlight, course: StageCourse) -> Plot:
    """Return a plot of the recorded and the recomputed targets."""
    ticks, expected, found = course.rows()
    time_s = flight.time_s[np.searchsorted(flight.tick, ticks)]
    charts = [
        Chart(
            title=f"{joint}, target",
            series=[
                Series(label="recorded", x=time_s, y=expected[:, i], tone=Tone.PLAIN),
                Series(label="recomputed", x=time_s, y=found[:, i]),
            ],
            marks=_marks(flight),
        )
        for i, joint in enumerate(flight.joints)
    ]
    return Plot(charts=charts, columns=min(3, len(charts)), row_in=_SHORT_IN)


def _chart(
    title: str,
    flight: RecordedFlight,
    values: Sequence[tuple[str, F64]],
    expected: tuple[str, F64] | None = None,
) -> Chart:
    series = [Series(label=label, x=flight.time_s, y=each) for label, each in values]
    if expected is not None:
        series.insert(0, Series(label=expected[0], x=flight.time_s, y=expected[1], tone=Tone.PLAIN))
    return Chart(title=title, series=series, marks=_marks(flight), x_label="s")


def _modes(flight: RecordedFlight) -> Chart:
    changes = np.flatnonzero(np.diff(flight.mode)) + 1
    ends_s = [*flight.time_s[changes].tolist(), float(flight.time_s[-1])]
    spans = list[tuple[float, float, str, Tone]]()
    span_s = max(float(flight.time_s[-1] - flight.time_s[0]), 1e-9)
    for start, end_s in zip([0, *changes.tolist()], ends_s, strict=True):
        mode, start_s = Mode(int(flight.mode[start])), float(flight.time_s[start])
        name = mode.name if end_s - start_s > 0.05 * span_s else ""
        spans.append((start_s, end_s, name, _TONES.get(mode, Tone.PLAIN)))
    return Chart(title="mode", series=[], spans=spans, marks=_marks(flight))


def _moment_s(flight: RecordedFlight) -> float:
    """Return the time at which the guard intervened, otherwise the time of the largest tilt."""
    if flight.trip:
        return flight.trip.time_s
    tilt = np.nan_to_num(np.cos(flight.rpy_rad[:, 0]) * np.cos(flight.rpy_rad[:, 1]), nan=1.0)
    return float(flight.time_s[int(np.argmin(tilt))])


def _marks(flight: RecordedFlight) -> list[float]:
    first_s, last_s = float(flight.time_s[0]), float(flight.time_s[-1])
    return [one.time_s for one in flight.edges if one.trip and first_s <= one.time_s <= last_s]
