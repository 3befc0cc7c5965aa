# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A flight over time as charts; each marks where the guard took over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from model_tools.prove.replaying.flight import RecordedFlight
from model_tools.prove.replaying.stages import StageCourse
from policy_core.interfaces import F64, Mode
from policy_store.report import Chart, Plot, Section, Series, Tone

_TONES = {Mode.DAMP: Tone.BAD, Mode.RUN: Tone.GOOD, Mode.HOLD: Tone.WARN}
_CLOSE_UP_S, _LONG_S, _SHORT_IN = 1.5, 30.0, 1.6
Values = Callable[[RecordedFlight], Sequence[tuple[str, F64]]]


def overview(flight: RecordedFlight) -> Plot:
    """Return modes, attitude and torque of all the flight, and beside it of its worst moment."""
    near = flight.rows(np.abs(flight.time_s - _moment_s(flight)) <= _CLOSE_UP_S)

    def attitude(part: RecordedFlight) -> list[tuple[str, F64]]:
        return [(name, np.degrees(part.rpy_rad[:, i])) for i, name in enumerate(("roll", "pitch"))]

    def torque(part: RecordedFlight) -> list[tuple[str, F64]]:
        share = np.nan_to_num(np.abs(part.joint_effort) / part.effort_limit, nan=-np.inf)
        return [("torque", 100.0 * share.max(axis=1, initial=-np.inf))]

    rows: list[tuple[str, Values]] = [
        ("attitude, degrees", attitude),
        ("largest torque of a joint, % of its limit", torque),
    ]
    parts = (flight, near)
    charts = [_modes(part) for part in parts]
    charts += [_chart(title, part, values(part)) for title, values in rows for part in parts]
    return Plot(charts=charts, columns=2, row_in=_SHORT_IN)


def flight_sections(flight: RecordedFlight) -> Iterator[Section]:
    """Yield what was recorded over time, as far as it was."""
    imu = _vectors(
        flight,
        "xyz",
        {
            "angular velocity of the body, rad/s": flight.ang_vel_body,
            "linear acceleration of the body, m/s²": flight.lin_acc_body,
        },
    )
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
    ages = [(name, 1e3 * each) for name, each in flight.ages_s.items()]
    times = [
        _chart("age of the inputs at the tick, ms", flight, ages),
        _chart("from the sampling to the command, ms", flight, [("tick", 1e3 * flight.duration_s)]),
    ]
    for title, charts, columns in (
        ("IMU", imu, 1),
        ("Velocity", velocity, 1),
        ("Joint torques", _torques(flight), 3),
        ("Foot forces", feet, 1),
        (f"Joint positions, {near.time_s[0]:.1f} to {near.time_s[-1]:.1f} s", _positions(near), 3),
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
    """Return the targets that were recorded, and those that were computed again."""
    ticks, expected, found = course.rows()
    time_s = flight.time_s[np.searchsorted(flight.tick, ticks)]
    charts = [
        Chart(
            title=f"{joint}, target",
            series=[
                Series(label="recorded", x=time_s, y=expected[:, i], tone=Tone.PLAIN),
                Series(label="computed again", x=time_s, y=found[:, i]),
            ],
            marks=_marks(flight),
        )
        for i, joint in enumerate(flight.joints)
    ]
    return Plot(charts=charts, columns=min(3, len(charts)), row_in=_SHORT_IN)


def _torques(flight: RecordedFlight) -> list[Chart]:
    ends_s = flight.time_s[[0, -1]]
    return [
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


def _positions(flight: RecordedFlight) -> list[Chart]:
    return [
        _chart(
            f"{joint}, rad",
            flight,
            [("measured", flight.joint_pos[:, i])],
            expected=("target", flight.target[:, i]),
        )
        for i, joint in enumerate(flight.joints)
    ]


def _vectors(flight: RecordedFlight, axes: str, values: dict[str, F64]) -> list[Chart]:
    return [
        _chart(title, flight, [(name, each[:, i]) for i, name in enumerate(axes)])
        for title, each in values.items()
    ]


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
    """Return when the guard took over; else when the body was tilted most."""
    if flight.trip:
        return flight.trip.time_s
    tilt = np.nan_to_num(np.cos(flight.rpy_rad[:, 0]) * np.cos(flight.rpy_rad[:, 1]), nan=1.0)
    return float(flight.time_s[int(np.argmin(tilt))])


def _marks(flight: RecordedFlight) -> list[float]:
    first_s, last_s = float(flight.time_s[0]), float(flight.time_s[-1])
    return [one.time_s for one in flight.edges if one.trip and first_s <= one.time_s <= last_s]
