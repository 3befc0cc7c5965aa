# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Draws walks and arm episodes: plots over time, a contact sheet, a video."""

from collections.abc import Callable
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.demos.runner import progress
from policy_core.interfaces import Mode
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_figures import SO101
from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array, LeggedRobot
from robot_sim.ground import LEVEL, Ground
from robot_sim.metrics import velocity_yaw_aligned
from robot_sim.render import write_contact_sheet, write_video
from robot_sim.rotation import tilt_rad
from robot_sim.trace import Trace

IMAGE_FILES = ("plots.png", "contact_sheet.png", "walk.mp4")
"""Files that `draw_walk` writes."""
BLUE, ORANGE, GREEN, INK, GREY = "#2563a8", "#e07b1a", "#2f8f5b", "#23272e", "#8a9099"
RED = "#d9534f"
STYLE: Any = {
    "font.size": 9.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}
_SMOOTHED_S = 0.4  # about a stride, which removes the motion of single steps
_READABLE_S = 0.6
_EPISODES_SHOWN = 10
_NARROWEST_DEG = 5.0


def draw_walk(
    trace: Trace,
    folder: Path,
    robot: LeggedRobot = LITE3,
    *,
    ground: Ground = LEVEL,
    dots: Callable[[int], Array | None] = lambda _: None,
) -> None:
    """Write plots, a contact sheet and a video.

    Without OpenGL, only the plots are written, and the log names the package to install.
    """
    plots, contact_sheet, video = (folder / name for name in IMAGE_FILES)
    write_plots(trace, plots, robot)
    progress.info("rendering a video; --no-images (make demo IMAGES=no) skips this")
    try:
        write_contact_sheet(trace, contact_sheet, robot, ground)
        write_video(trace, video, robot=robot, rate_hz=20.0, ground=ground, dots=dots)
    except SimError as error:
        progress.warning("no images of the robot: %s", error)


def write_plots(trace: Trace, path: Path, robot: LeggedRobot = LITE3) -> None:
    """Write one image (`.png`, `.svg`, ...) of all plots; the time axis spans the walk."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 13.0), layout="constrained")
        axes = figure.subplots(8, 1, sharex=True, height_ratios=(3, 2, 2, 2, 2, 2, 3, 2.2))
        smooth = _smoothed(velocity_yaw_aligned(trace), trace.time_s)
        for column, label in enumerate(("forward [m/s]", "left [m/s]", "turn [rad/s]")):
            axes[column].set_ylabel(label)
            axes[column].set_ylim(-1.05, 1.05)
            axes[column].plot(trace.time_s, smooth[:, column], color=BLUE, label="robot")
            _plot_command(axes[column], trace.time_s, trace.command[:, column])
        axes[0].set_title(f"velocity, mean over {_SMOOTHED_S:g} s")
        legend(axes[0], 2)
        _name_modes(axes[0], trace)
        _plot_tilt(axes[3], trace)
        _plot_imu(axes[4], trace, trace.ang_vel_body, "angular velocity of the body", "[rad/s]")
        _plot_imu(axes[5], trace, trace.lin_acc_body, "acceleration of the body", "[m/s²]")
        _plot_torque(axes[6], trace, robot)
        _plot_forces(axes[7], trace, robot)
        for axis in axes:
            _mark_changes(axis, trace)
        axes[-1].set_xlabel("simulated time [s]")
        axes[-1].set_xlim(trace.time_s[0], trace.time_s[-1])
        figure.savefig(path, dpi=130)


def _plot_command(axis: Axes, time_s: Array, values: Array, label: str | None = "command") -> None:
    axis.step(time_s, values, where="post", color=ORANGE, linestyle=(0, (4, 2)), label=label)


def _plot_tilt(axis: Axes, trace: Trace) -> None:
    tilt_deg = np.degrees(tilt_rad(trace.quat_xyzw))
    axis.fill_between(trace.time_s, tilt_deg, color=BLUE, alpha=0.25, linewidth=0.0)
    axis.plot(trace.time_s, tilt_deg, color=BLUE, linewidth=0.9)
    axis.set_title("tilt of the body")
    axis.set_ylabel("[°]")
    axis.set_ylim(0.0, max(10.0, 1.1 * tilt_deg.max()))


def _plot_imu(axis: Axes, trace: Trace, values: Array, title: str, unit: str) -> None:
    """Plot a vector [T, 3] measured by the IMU."""
    axis.set_prop_cycle(color=(BLUE, ORANGE, GREEN))
    axis.plot(trace.time_s, values, linewidth=0.7, alpha=0.8, label=["x", "y", "z"])
    axis.set_title(f"{title} (IMU)")
    axis.set_ylabel(unit)
    legend(axis, 3)


def _plot_torque(axis: Axes, trace: Trace, robot: LeggedRobot) -> None:
    """Plot the range of torques over all legs, for each kind of joint."""
    parts = np.array([robot.part(name) for name in robot.joint_names])
    kinds = dict(zip(parts.tolist(), robot.joints, strict=True))
    for (part, joint), colour in zip(kinds.items(), cycle((BLUE, ORANGE, GREEN)), strict=False):
        torques = trace.joint_effort[:, parts == part]
        label = f"{part} (rated ±{joint.effort_nm:g})"
        low, high = torques.min(axis=1), torques.max(axis=1)
        axis.fill_between(
            trace.time_s, low, high, color=colour, alpha=0.55, linewidth=0.0, label=label
        )
    axis.set_title("joint torques, range from the lowest to the highest leg")
    axis.set_ylabel("[N·m]")
    if len(kinds) <= 3:
        legend(axis, len(kinds))


def _plot_forces(axis: Axes, trace: Trace, robot: LeggedRobot) -> None:
    """Plot one row per foot: dark where the foot carries load, white where it is in the air."""
    rows = np.arange(len(robot.feet) + 1)
    edges_s = np.append(trace.time_s, 2.0 * trace.time_s[-1] - trace.time_s[-2])
    upward = trace.foot_force_world[:, :, 2].T
    mesh = axis.pcolormesh(
        edges_s, rows, upward, cmap="Blues", vmin=0.0, vmax=120.0, rasterized=True
    )
    axis.set_yticks(rows[:-1] + 0.5, [foot.leg for foot in robot.feet])
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set_title("vertical force on the feet")
    colorbar = axis.figure.colorbar(mesh, ax=axis, pad=0.01, aspect=8, extend="max")
    colorbar.set_label("[N]")


def legend(axis: Axes, columns: int) -> None:
    """Put the legend above the axes, where it hides no curve."""
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=columns, borderaxespad=0.0)


def mode_name(mode: float) -> str:
    """Return the name of a mode in a trace; empty before the first recorded command."""
    return Mode(int(mode)).name if np.isfinite(mode) else ""


def _write_above(axis: Axes, text: str, at: tuple[float, float], colour: str, align: str) -> None:
    """Write text next to a point in time, at a height given as a fraction of the axes' height."""
    axis.annotate(
        text,
        at,
        xytext=(3, 0),
        color=colour,
        va=align,
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=7.5,
    )


def _name_modes(axis: Axes, trace: Trace) -> None:
    """At the bottom of the axes, write the name of each mode that lasts long enough."""
    starts = [0, *(np.flatnonzero(np.diff(np.nan_to_num(trace.mode, nan=-1.0))) + 1)]
    for start, end in pairwise([*starts, len(trace.time_s) - 1]):
        if trace.time_s[end] - trace.time_s[start] >= _READABLE_S:
            at = trace.time_s[start], 0.04
            _write_above(axis, mode_name(trace.mode[start]), at, GREY, "baseline")


def _mark_changes(axis: Axes, trace: Trace) -> None:
    """Draw a line where the command or the mode changes."""
    state = np.column_stack([trace.command, trace.mode])
    for row, (before, after) in enumerate(pairwise(state), start=1):
        if not np.array_equal(before, after, equal_nan=True):
            axis.axvline(trace.time_s[row], color=GREY, linewidth=0.7, alpha=0.6, zorder=0.5)


def _smoothed(values: Array, time_s: Array) -> Array:
    """Return the centered moving averages of the columns of `values` [T, n]."""
    width = min(len(time_s), max(1, round(_SMOOTHED_S / float(np.median(np.diff(time_s))))))
    kernel = np.ones(width)
    count = np.convolve(np.ones(len(time_s)), kernel, mode="same")
    columns = [np.convolve(column, kernel, mode="same") / count for column in values.T]
    return np.stack(columns, axis=1)


def write_arm_plots(trace: ArmTrace, path: Path) -> None:
    """Write one image (`.png`, `.svg`, ...) of the first episodes, one row per joint.

    The time axis omits the time between episodes.

    Args:
        trace: Trace of a run with at least one episode.
        path: The image file.
    """
    rows = np.flatnonzero((trace.episode >= 0) & (trace.episode < _EPISODES_SHOWN))
    period_s = float(np.median(np.diff(trace.time_s)))
    time_s: Array = np.arange(len(rows), dtype=np.float64) * period_s
    starts = [0, *(np.flatnonzero(np.diff(trace.episode[rows])) + 1).tolist(), len(rows)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 12.0), layout="constrained")
        axes = figure.subplots(len(SO101.joint_names), 1, sharex=True)
        for joint, (name, axis) in enumerate(zip(SO101.joint_names, axes, strict=True)):
            _plot_joint(
                axis,
                time_s,
                np.degrees(trace.pose[rows, joint]),
                np.degrees(trace.target[rows, joint]),
                starts,
            )
            # in HOLD the policy had no target
            for row in np.flatnonzero(trace.mode[rows] == Mode.HOLD):
                axis.axvspan(time_s[row], time_s[row] + period_s, color=GREY, alpha=0.25, lw=0.0)
            axis.set_title(name)
            axis.set_ylabel("[°]")
        legend(axes[0], 3)
        for start in starts[:-1]:
            number = trace.episode[rows[start]]
            colour = GREEN if trace.succeeded[number] else RED
            _write_above(
                axes[0], f"seed {trace.seed[number]}", (time_s[start], 0.97), colour, "top"
            )
        axes[-1].set_xlabel("simulated time in episodes [s]")
        axes[-1].set_xlim(time_s[0], time_s[-1] + period_s)
        figure.savefig(path, dpi=130)


def _plot_joint(
    axis: Axes, time_s: Array, position: Array, target: Array, starts: list[int]
) -> None:
    """Plot each episode separately, so that no line connects an episode's end to the next start."""
    for number, (start, end) in enumerate(pairwise(starts)):
        part, named = slice(start, end), number == 0
        label = "measured" if named else None
        axis.plot(time_s[part], position[part], color=BLUE, label=label)
        _plot_command(axis, time_s[part], target[part], "command" if named else None)
        axis.axvline(time_s[start], color=GREY, linewidth=0.7, alpha=0.6, zorder=0.5)
    axis.margins(y=0.2)
    low, high = axis.get_ylim()
    half = max(_NARROWEST_DEG, high - low) / 2.0  # tenths of a degree must not look like motion
    axis.set_ylim((low + high) / 2.0 - half, (low + high) / 2.0 + half)
