# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the arm as plots: command and measured position of each joint."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from policy_core.interfaces import Mode
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_figures import SO101
from robot_sim.demo.plots import BLUE, GREEN, GREY, ORANGE, STYLE, legend
from robot_sim.figures import Array

_EPISODES = 10
"""Largest number in one plot: more cannot be read."""
_NARROWEST_DEG = 5.0
_RED = "#b3362b"


def write_arm_plots(trace: ArmTrace, path: Path) -> None:
    """Write one image (`.png`, `.svg`, ...) of the first episodes, a row for each joint.

    The time axis shows episodes only, without the time between them.

    Args:
        trace: Of a run with an episode at least.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    rows = np.flatnonzero((trace.episode >= 0) & (trace.episode < _EPISODES))
    period_s = float(np.median(np.diff(trace.time_s)))
    time_s: Array = np.arange(len(rows), dtype=np.float64) * period_s
    starts = [0, *(np.flatnonzero(np.diff(trace.episode[rows])) + 1).tolist(), len(rows)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 12.0), layout="constrained")
        axes = figure.subplots(len(SO101.joint_names), 1, sharex=True)
        for joint, (name, axis) in enumerate(zip(SO101.joint_names, axes, strict=True)):
            position, target = (
                np.degrees(values[rows, joint]) for values in (trace.pose, trace.target)
            )
            _plot_joint(axis, time_s, position, target, starts)
            _shade_hold(axis, time_s, trace.mode[rows], period_s)
            axis.set_title(name)
            axis.set_ylabel("[°]")
        legend(axes[0], 3)
        _name_episodes(axes[0], trace, time_s, rows, starts)
        axes[-1].set_xlabel("simulated time in episodes [s]")
        axes[-1].set_xlim(time_s[0], time_s[-1] + period_s)
        figure.savefig(path, dpi=130)


def _plot_joint(
    axis: Axes, time_s: Array, position: Array, target: Array, starts: list[int]
) -> None:
    """Draw each episode apart, so that no line joins the end of one and the start of the next."""
    for number, (start, end) in enumerate(pairwise(starts)):
        part, named = slice(start, end), number == 0
        axis.plot(
            time_s[part],
            position[part],
            color=BLUE,
            linewidth=1.4,
            label="measured" if named else None,
        )
        axis.step(
            time_s[part],
            target[part],
            where="post",
            color=ORANGE,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            label="command" if named else None,
        )
        axis.axvline(time_s[start], color=GREY, linewidth=0.7, alpha=0.6, zorder=0.5)
    axis.margins(y=0.2)
    low, high = axis.get_ylim()
    half = max(_NARROWEST_DEG, high - low) / 2.0  # tenths of a degree shall not look like motion
    axis.set_ylim((low + high) / 2.0 - half, (low + high) / 2.0 + half)


def _shade_hold(axis: Axes, time_s: Array, mode: Array, period_s: float) -> None:
    """Shade the ticks in HOLD, in which the policy had no target."""
    for row in np.flatnonzero(mode == Mode.HOLD):
        axis.axvspan(time_s[row], time_s[row] + period_s, color=GREY, alpha=0.25, linewidth=0.0)


def _name_episodes(
    axis: Axes, trace: ArmTrace, time_s: Array, rows: npt.NDArray[np.intp], starts: list[int]
) -> None:
    """Write the seed of each episode at its start, green where it succeeded, else red."""
    for start in starts[:-1]:
        episode = trace.episode[rows[start]]
        axis.annotate(
            f"seed {trace.seed[episode]}",
            (time_s[start], 0.97),
            xytext=(3, 0),
            color=GREEN if trace.succeeded[episode] else _RED,
            va="top",
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=7.5,
        )
