# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of a comparison as SVG to stand inside an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from model_tools.files.drawing import COLOURS, GREY, INK, STYLE, figure, svg
from model_tools.prove.comparison.walking import AXES, Walked
from policy_core.interfaces import F64
from policy_inference.comparison.open_loop import Difference
from robot_sim.metrics import velocity_yaw_aligned
from robot_sim.rotation import tilt_rad

_SMOOTHED_S = 0.4  # about a stride: what is left is how the robot moves, not how it steps
Named = Sequence[tuple[str, Difference]]


def error_by_value(found: Named) -> str:
    """Return bars of the RMSE by joint, a group for each artifact, with the largest error above."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1)
        names = found[0][1].names
        width = 0.8 / len(found)
        for i, (label, difference) in enumerate(found):
            places = np.arange(len(names)) + (i - (len(found) - 1) / 2) * width
            colour = _colour(i + 1)
            rmse, largest = _finite(difference.rmse_each), _finite(difference.max_abs_each)
            axes[0].bar(places, rmse, width * 0.9, color=colour, label=label)
            axes[0].plot(places, largest, "_", color=colour, markersize=9)
        axes[0].set_xticks(range(len(names)), names, rotation=30, ha="right")
        if any(np.isfinite(d.rmse_each[d.rmse_each > 0.0]).any() for _, d in found):
            axes[0].set_yscale("log")  # precisions are decades apart
            # Else its numbers are formulas of TeX, which STYLE shows as they are written.
            axes[0].yaxis.set_major_formatter(LogFormatter())
            axes[0].yaxis.set_minor_formatter(LogFormatter())
        axes[0].set_title("error by joint: RMSE (bar), largest (line)")
        axes[0].grid(visible=False, axis="x")
        return svg(drawn, axes, "error")


def cosine_by_row(found: Named) -> str:
    """Return the cosine of each row, where an artifact leaves the reference's direction."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1)
        for i, (label, difference) in enumerate(found):
            axes[0].plot(
                difference.rows, difference.cosine, color=_colour(i + 1), label=label, linewidth=0.8
            )
        axes[0].set_title("cosine of found and expected output, by row")
        axes[0].set_xlabel("row")
        return svg(drawn, axes, "cosine")


def worst_row(label: str, found: Difference) -> str:
    """Return the row with the largest error: expected and found, by joint."""
    row, _ = found.worst_place
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1)
        places = np.arange(len(found.names))
        axes[0].bar(places - 0.2, _finite(found.expected[row]), 0.36, color=GREY, label="expected")
        axes[0].bar(places + 0.2, _finite(found.found[row]), 0.36, color=_colour(1), label=label)
        axes[0].set_xticks(places, found.names, rotation=30, ha="right")
        axes[0].axhline(0.0, color=INK, linewidth=0.8)
        axes[0].set_title(f"worst row, {found.rows[row]}")
        axes[0].grid(visible=False, axis="x")
        return svg(drawn, axes, f"worst {label}")


def walks(found: Sequence[tuple[str, Sequence[Walked]]]) -> str:
    """Return velocity and tilt over time, a column for each command."""
    with mpl.rc_context(STYLE):
        commands = [walk.command for walk in found[0][1]]
        drawn, axes = figure(2, len(commands))
        for column, command in enumerate(commands):
            axis = int(np.argmax(np.abs(command)))
            velocity, tilt = axes[column], axes[len(commands) + column]
            velocity.set_title("({:g}, {:g}, {:g})".format(*command))
            velocity.axhline(command[axis], color=GREY, linewidth=1.0, linestyle="--")
            velocity.set_ylabel(f"{AXES[axis]}, {'rad/s' if axis == 2 else 'm/s'}")
            tilt.set(ylabel="tilt, degrees", xlabel="s")
            for i, (label, artifact) in enumerate(found):
                _draw(velocity, tilt, artifact[column], axis, _colour(i), label)
            tilt.set_ylim(bottom=0.0)
        return svg(drawn, axes, "walks")


def _draw(velocity: Axes, tilt: Axes, walk: Walked, axis: int, colour: str, label: str) -> None:
    trace = walk.trace
    time_s = trace.time_s - trace.time_s[0]
    course = velocity_yaw_aligned(trace)[:, axis]
    velocity.plot(time_s, _smoothed(time_s, course), color=colour, label=label)
    tilt.plot(time_s, np.degrees(tilt_rad(trace.quat_xyzw)), color=colour, linewidth=0.8)


def _smoothed(time_s: F64, values: F64) -> F64:
    """Return the mean over a stride about each time."""
    period_s = float(np.diff(time_s[:2])[0]) if len(time_s) > 1 else _SMOOTHED_S
    window = np.ones(min(len(values), max(1, round(_SMOOTHED_S / period_s))))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _finite(values: F64) -> F64:
    """Return NaN, which is a gap, for infinities, which have no place in a drawing."""
    return np.where(np.isfinite(values), values, np.nan)


def _colour(index: int) -> str:
    """Return the colour of an artifact; the reference, 0, is ink."""
    return INK if index == 0 else COLOURS[(index - 1) % len(COLOURS)]


def worst_chunk(label: str, chunks: Difference) -> str:
    """Return the chunk with the largest error: expected and found, over the steps, by joint."""
    names, row = chunks.names, int(chunks.rows[chunks.worst_place[0]])
    steps = chunks.rows == row
    with mpl.rc_context(STYLE):
        drawn, axes = figure(-(-len(names) // 3), min(3, len(names)))
        for i, (name, axis) in enumerate(zip(names, axes, strict=False)):
            axis.plot(chunks.expected[steps, i], color=GREY, label="expected")
            axis.plot(chunks.found[steps, i], color=COLOURS[0], label=label, linewidth=0.9)
            axis.set_title(f"{name}, observation {row}")
            axis.set_xlabel("step")
        return svg(drawn, axes, f"chunk {label}")
