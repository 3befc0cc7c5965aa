# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drawings of a flight over time as SVG; each marks where the guard took over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_tools.files.drawing import COLOURS, GREY, INK, STYLE, figure, svg
from model_tools.prove.replaying.flight import RecordedFlight
from model_tools.prove.replaying.stages import StageCourse
from policy_core.interfaces import F64, Mode

_BAD = "#b3261e"
_MODE_COLOURS = {
    Mode.DAMP: "#e8b4b0",
    Mode.STAND: "#dfe7f1",
    Mode.READY: "#c9d8ec",
    Mode.RUN: "#cfe9d9",
    Mode.HOLD: "#f6dba8",
}
_MANY = 1500
"""Ticks up to which each is drawn; beyond, the least and the largest of each span are."""
_CLOSE_UP_S, _LONG_S, _LONGEST = 1.5, 30.0, 70
_AXES = ("vx, m/s", "vy, m/s", "yaw rate, rad/s")


def overview(flight: RecordedFlight) -> str:
    """Return modes, attitude and torque in one drawing, and the moment that matters beside it."""
    share = np.abs(flight.joint_effort) / flight.effort_limit
    known = np.isfinite(share).any(axis=1)
    largest = np.full(len(share), np.nan)
    largest[known] = 100.0 * np.nanmax(share[known], axis=1)
    with mpl.rc_context(STYLE):
        drawn, axes = figure(3, 2, row_in=1.6)
        near = np.abs(flight.time_s - moment_s(flight)) <= _CLOSE_UP_S
        for column in range(2):
            part = flight if column == 0 else flight.rows(near)
            modes, attitude, torque = axes[column::2]
            _modes(modes, part)
            for i, name in enumerate(("roll", "pitch")):
                _line(attitude, part, np.degrees(part.rpy_rad[:, i]), COLOURS[i], name)
            attitude.set_title("attitude, degrees")
            _line(torque, part, largest if column == 0 else largest[near], COLOURS[2], "")
            torque.axhline(100.0, color=GREY, linewidth=0.8, linestyle="--")
            torque.set_title("largest torque of a joint, % of its limit")
            _mark(axes[column::2], part)
            torque.set_xlabel("s")
        axes[0].set_title("mode")
        trip = flight.trip
        axes[1].set_title(
            "about the largest tilt" if trip is None else _brief(trip.reason),
            color=INK if trip is None else _BAD,
        )
        return svg(drawn, [axes[2], *axes], "overview")


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def close_up(flight: RecordedFlight) -> RecordedFlight:
    """Return the ticks about the moment that matters; all where that would be most of them."""
    if flight.time_s[-1] - flight.time_s[0] <= _LONG_S:
        return flight
    return flight.rows(np.abs(flight.time_s - moment_s(flight)) <= _CLOSE_UP_S)


def moment_s(flight: RecordedFlight) -> float:
    """Return when the guard took over; else when the body was tilted most."""
    if flight.trip:
        return flight.trip.time_s
    tilt = np.nan_to_num(np.cos(flight.rpy_rad[:, 0]) * np.cos(flight.rpy_rad[:, 1]), nan=1.0)
    return float(flight.time_s[int(np.argmin(tilt))])


def imu(flight: RecordedFlight) -> str:
    """Return angular velocity and linear acceleration of the body."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(2, 1, row_in=1.7)
        for i, name in enumerate("xyz"):
            _line(axes[0], flight, flight.ang_vel_body[:, i], COLOURS[i], name)
            _line(axes[1], flight, flight.lin_acc_body[:, i], COLOURS[i], name)
        axes[0].set_title("angular velocity of the body, rad/s")
        axes[1].set_title("linear acceleration of the body, m/s²")
        return _finished(drawn, axes, flight, "imu")


def velocities(flight: RecordedFlight) -> str:
    """Return commanded and measured velocity."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(3, 1, row_in=1.3)
        for i, name in enumerate(_AXES):
            _line(axes[i], flight, flight.velocity[:, i], COLOURS[0], "measured")
            _line(axes[i], flight, flight.velocity_command[:, i], INK, "commanded")
            axes[i].set_title(name)
        return _finished(drawn, axes, flight, "velocity")


def torques(flight: RecordedFlight) -> str:
    """Return the torque of each joint, and its limit."""

    def draw(axes: Axes, joint: int) -> None:
        limit = flight.effort_limit[joint]
        _line(axes, flight, flight.joint_effort[:, joint], COLOURS[0], "torque")
        for sign in (-1.0, 1.0):
            axes.axhline(
                sign * limit,
                color=_BAD,
                linewidth=0.8,
                linestyle="--",
                label="limit" if sign > 0 else None,
            )

    return _by_joint(flight, draw, "torque", "N·m")


def positions(flight: RecordedFlight) -> str:
    """Return the position of each joint, and its target."""

    def draw(axes: Axes, joint: int) -> None:
        _line(axes, flight, flight.target[:, joint], COLOURS[1], "target")
        _line(axes, flight, flight.joint_pos[:, joint], COLOURS[0], "measured")

    return _by_joint(flight, draw, "position", "rad")


def targets(flight: RecordedFlight, course: StageCourse) -> str:
    """Return the targets that were recorded, and those that were computed again."""
    ticks, expected, found = course.rows()
    again = np.full(flight.target.shape, np.nan)
    recorded = again.copy()
    rows = np.searchsorted(flight.tick, ticks)
    again[rows], recorded[rows] = found, expected

    def draw(axes: Axes, joint: int) -> None:
        _line(axes, flight, recorded[:, joint], INK, "recorded")
        _line(axes, flight, again[:, joint], COLOURS[4], "computed again")

    return _by_joint(flight, draw, "target", "target")


def forces(flight: RecordedFlight) -> str:
    """Return the size of the force on each foot."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(len(flight.feet), 1, row_in=1.1)
        for i, name in enumerate(flight.feet):
            _line(axes[i], flight, flight.forces[:, i], COLOURS[0], "")
            axes[i].set_title(f"{name}, N")
        return _finished(drawn, axes, flight, "forces")


def times(flight: RecordedFlight) -> str:
    """Return ages of the inputs, and how long each tick took."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(2, 1, row_in=1.5)
        for i, (name, ages) in enumerate(flight.ages_s.items()):
            _line(axes[0], flight, 1e3 * ages, COLOURS[i % len(COLOURS)], name)
        axes[0].set_title("age of the inputs at the tick, ms")
        for each in axes:
            each.set_ylim(bottom=0.0)
        _line(axes[1], flight, 1e3 * flight.duration_s, COLOURS[0], "")
        axes[1].set_title("from the sampling to the command, ms")
        return _finished(drawn, axes, flight, "times")


def _by_joint(
    flight: RecordedFlight, draw: Callable[[Axes, int], None], name: str, unit: str
) -> str:
    columns = 3 if len(flight.joints) > 2 else 1
    rows = -(-len(flight.joints) // columns)
    with mpl.rc_context(STYLE):
        drawn, axes = figure(rows, columns, row_in=1.4)
        for joint, title in enumerate(flight.joints):
            draw(axes[joint], joint)
            axes[joint].set_title(f"{title}, {unit}")
        for unused in axes[len(flight.joints) :]:
            unused.set_visible(False)
        return _finished(drawn, axes, flight, name)


def _modes(axes: Axes, flight: RecordedFlight) -> None:
    """Draw modes as a band, with their names."""
    changes = np.flatnonzero(np.diff(flight.mode)) + 1
    starts = [0, *changes.tolist()]
    ends = [*flight.time_s[changes].tolist(), flight.time_s[-1]]
    span_s = max(float(flight.time_s[-1] - flight.time_s[0]), 1e-9)
    for start, end_s in zip(starts, ends, strict=True):
        mode, start_s = Mode(int(flight.mode[start])), float(flight.time_s[start])
        axes.axvspan(start_s, end_s, color=_MODE_COLOURS[mode], linewidth=0)
        if end_s - start_s > 0.05 * span_s:
            axes.text((start_s + end_s) / 2, 0.5, mode.name, ha="center", va="center")
    axes.set(ylim=(0.0, 1.0), yticks=[])
    axes.grid(visible=False)


def _line(axes: Axes, flight: RecordedFlight, values: F64, colour: str, label: str) -> None:
    """Draw a course; of very many ticks only how far it goes, which looks the same."""
    time_s, drawn = flight.time_s, np.where(np.isfinite(values), values, np.nan)
    if len(time_s) > _MANY:
        span = -(-2 * len(time_s) // _MANY)
        count = len(time_s) // span
        kept = drawn[: count * span].reshape(count, span)
        low, high = (
            edge(kept, axis=1, initial=sign * np.inf, where=np.isfinite(kept))
            for edge, sign in ((np.min, 1.0), (np.max, -1.0))
        )
        drawn = np.stack([low, high], axis=1).reshape(-1)
        drawn = np.where(np.isfinite(drawn), drawn, np.nan)
        time_s = np.repeat(time_s[: count * span : span], 2)
    axes.plot(time_s, drawn, color=colour, linewidth=0.9, label=label or None)


def _finished(drawn: Figure, axes: Sequence[Axes], flight: RecordedFlight, salt: str) -> str:
    """Mark the trips and draw."""
    _mark(axes, flight)
    axes[-1].set_xlabel("s")
    return svg(drawn, axes, salt)


def _mark(axes: Sequence[Axes], flight: RecordedFlight) -> None:
    """Mark where the guard took over, in drawings from the first tick to the last."""
    first_s, last_s = float(flight.time_s[0]), float(flight.time_s[-1])
    for each in axes:
        for edge in flight.edges:
            if edge.trip and first_s <= edge.time_s <= last_s:
                each.axvline(edge.time_s, color=_BAD, linewidth=1.4 if edge is flight.trip else 0.7)
        if last_s > first_s:
            each.set_xlim(first_s, last_s)
