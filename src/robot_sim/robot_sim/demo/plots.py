# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A walk drawn: plots of velocity, tilt, IMU, torques and forces, a contact sheet, a video."""

import logging
import time
from collections.abc import Callable
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array, LeggedRobot
from robot_sim.metrics import velocity_yaw_aligned
from robot_sim.render import write_contact_sheet, write_video
from robot_sim.rotation import tilt_rad
from robot_sim.trace import Trace

VIDEO_RATE_HZ = 20.0
IMAGE_FILES = ("plots.png", "contact_sheet.png", "walk.mp4")
"""Files that `draw` writes."""
_MEASURED_IMAGES = 10
_log = logging.getLogger("robot_sim_demo")
BLUE, ORANGE, GREEN, INK, GREY = "#2563a8", "#e07b1a", "#2f8f5b", "#23272e", "#8a9099"
_COLOURS = (BLUE, ORANGE, GREEN)
_SMOOTHED_S = 0.4  # about a stride: what is left is how the robot moves, not how it steps
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
_FORCE_SHOWN_N = 120.0
_READABLE_S = 0.6
MODE_NAMES = {0.0: "DAMP", 1.0: "STAND", 2.0: "READY", 3.0: "RUN", 4.0: "HOLD"}
"""Modes as the trace has them: the numbers of policy_msgs/JointCommand."""


def draw(trace: Trace, folder: Path, robot: LeggedRobot = LITE3) -> None:
    """Write plots, a contact sheet and a video.

    Without OpenGL it writes the plots only, and the log names the package to install.
    """
    plots, contact_sheet, video = (folder / name for name in IMAGE_FILES)
    write_plots(trace, plots, robot)
    _log.info("%s", plots)
    try:
        write_contact_sheet(trace, contact_sheet, robot=robot)
        _log.info("%s", contact_sheet)
        write_video(trace, video, robot=robot, rate_hz=VIDEO_RATE_HZ, on_image=_forecast())
        _log.info("%s", video)
    except SimError as error:
        _log.warning("no images of the robot: %s", error)


def write_plots(trace: Trace, path: Path, robot: LeggedRobot = LITE3) -> None:
    """Write one image (`.png`, `.svg`, ...) with all plots over the time of the walk.

    Raises:
        OSError: The file cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 13.0), layout="constrained")
        axes = figure.subplots(8, 1, sharex=True, height_ratios=(3, 2, 2, 2, 2, 2, 3, 2.2))
        smooth = _smoothed(velocity_yaw_aligned(trace), trace.time_s)
        for column, axis in enumerate(axes[:3]):
            _plot_velocity(axis, trace, smooth, column)
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


def _plot_velocity(axis: Axes, trace: Trace, smooth: Array, column: int) -> None:
    label = ("forward [m/s]", "left [m/s]", "turn [rad/s]")[column]
    axis.plot(trace.time_s, smooth[:, column], color=BLUE, linewidth=1.4, label="robot")
    axis.step(
        trace.time_s,
        trace.command[:, column],
        where="post",
        color=ORANGE,
        linewidth=1.4,
        linestyle=(0, (4, 2)),
        label="command",
    )
    axis.set_ylabel(label)
    axis.set_ylim(-1.05, 1.05)
    if column == 0:
        axis.set_title(f"velocity, mean over {_SMOOTHED_S:g} s")
        legend(axis, 2)


def _plot_tilt(axis: Axes, trace: Trace) -> None:
    tilt_deg = np.degrees(tilt_rad(trace.quat_xyzw))
    axis.fill_between(trace.time_s, tilt_deg, color=BLUE, alpha=0.25, linewidth=0.0)
    axis.plot(trace.time_s, tilt_deg, color=BLUE, linewidth=0.9)
    axis.set_title("tilt of the body")
    axis.set_ylabel("[°]")
    axis.set_ylim(0.0, max(10.0, 1.1 * tilt_deg.max()))


def _plot_imu(axis: Axes, trace: Trace, values: Array, title: str, unit: str) -> None:
    """Show a vector [T, 3] that the IMU measures."""
    for column, (name, colour) in enumerate(zip("xyz", _COLOURS, strict=True)):
        axis.plot(
            trace.time_s, values[:, column], color=colour, linewidth=0.7, alpha=0.8, label=name
        )
    axis.set_title(f"{title} (IMU)")
    axis.set_ylabel(unit)
    legend(axis, 3)


def _plot_torque(axis: Axes, trace: Trace, robot: LeggedRobot) -> None:
    """Show how far the torques of each kind of joint reach, over all legs."""
    parts = np.array([robot.part(name) for name in robot.joint_names])
    kinds = dict(zip(parts.tolist(), robot.joints, strict=True))
    for (part, joint), colour in zip(kinds.items(), cycle(_COLOURS), strict=False):
        torques = trace.joint_effort[:, parts == part]
        low, high = torques.min(axis=1), torques.max(axis=1)
        axis.fill_between(
            trace.time_s,
            low,
            high,
            color=colour,
            alpha=0.55,
            linewidth=0.0,
            label=f"{part} (rated ±{joint.effort_nm:g})",
        )
    axis.set_title("joint torques, from the lowest to the highest of all legs")
    axis.set_ylabel("[N·m]")
    if len(kinds) <= len(_COLOURS):
        legend(axis, len(kinds))


def _plot_forces(axis: Axes, trace: Trace, robot: LeggedRobot) -> None:
    """Show each foot as a row: dark where it carries load, white in the air."""
    upward = trace.foot_force_world[:, :, 2].T
    rows = np.arange(len(robot.feet) + 1)
    mesh = axis.pcolormesh(
        _edges(trace.time_s),
        rows,
        upward,
        cmap="Blues",
        vmin=0.0,
        vmax=_FORCE_SHOWN_N,
        rasterized=True,
    )
    axis.set_yticks(rows[:-1] + 0.5, [foot.leg for foot in robot.feet])
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set_title("vertical force on the feet")
    colorbar = axis.figure.colorbar(mesh, ax=axis, pad=0.01, aspect=8, extend="max")
    colorbar.set_label("[N]")


def legend(axis: Axes, columns: int) -> None:
    """Put the legend above the axes, where no curve is."""
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=columns, borderaxespad=0.0)


def _name_modes(axis: Axes, trace: Trace) -> None:
    """Write each mode that lasts long enough to be read at the foot of the axes."""
    starts = [0, *(np.flatnonzero(np.diff(np.nan_to_num(trace.mode, nan=-1.0))) + 1)]
    for start, end in pairwise([*starts, len(trace.time_s) - 1]):
        name = MODE_NAMES.get(trace.mode[start])
        if name is not None and trace.time_s[end] - trace.time_s[start] >= _READABLE_S:
            axis.annotate(
                name,
                (trace.time_s[start], 0.04),
                xytext=(3, 0),
                color=GREY,
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=7.5,
            )


def _mark_changes(axis: Axes, trace: Trace) -> None:
    """Draw a line where the command or the mode changes."""
    state = np.column_stack([trace.command, trace.mode])
    for row, (before, after) in enumerate(pairwise(state), start=1):
        if not np.array_equal(before, after, equal_nan=True):
            axis.axvline(trace.time_s[row], color=GREY, linewidth=0.7, alpha=0.6, zorder=0.5)


def _smoothed(values: Array, time_s: Array) -> Array:
    """Return the centred moving mean of columns [T, n]."""
    width = min(len(time_s), max(1, round(_SMOOTHED_S / float(np.median(np.diff(time_s))))))
    kernel = np.ones(width)
    count = np.convolve(np.ones(len(time_s)), kernel, mode="same")
    columns = [np.convolve(column, kernel, mode="same") / count for column in values.T]
    return np.stack(columns, axis=1)


def _edges(time_s: Array) -> Array:
    """Return the times between which each row counts, [T + 1]."""
    step_s = float(np.median(np.diff(time_s)))
    return np.append(time_s, time_s[-1] + step_s)


def _forecast() -> Callable[[int, int], None]:
    """Return a callback that measures some images, and logs the time for the others."""
    began_s = time.monotonic()

    def look(done: int, total: int) -> None:
        if done == _MEASURED_IMAGES:
            left_s = (time.monotonic() - began_s) / done * (total - done)
            _log.info(
                "rendering %d images for the video, about %.0f s; --no-images (make demo "
                "IMAGES=no) leaves it out",
                total,
                left_s,
            )

    return look
