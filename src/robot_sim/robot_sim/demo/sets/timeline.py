# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo of a policy set, drawn: modes, states and blends over time, and a video."""

import logging
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from robot_sim.demo.plots import GREY, INK, MODE_NAMES, STYLE
from robot_sim.demo.sets.performance import SetDemoResult, SwitchRound
from robot_sim.demo.summary import RUN_MODE, shown
from robot_sim.errors import SimError
from robot_sim.render import write_video
from robot_sim.rotation import tilt_rad

TIMELINE, VIDEO = "timeline.png", "walk.mp4"
_COLOURS = ("#2a78d6", "#e8a33d", "#2f8f5b", "#7a5fa8", "#b5739d", "#1f9e9e")
_MODE_COLOURS = {0.0: "#d9dce1", 1.0: "#b9c4d0", 2.0: "#8fa1b3", 3.0: INK, 4.0: "#d9534f"}
_SHOWN_S, _VIDEO_S = 90.0, 24.0
"""Of each round, so that a long one can be read; of the first round."""
_log = logging.getLogger("robot_sim_demo")


def write_timeline(result: SetDemoResult, path: Path) -> None:
    """Write an image with a row per round: mode, state with blends, pushes, tilt.

    Raises:
        OSError: The file cannot be written.
    """
    rounds = [*result.rounds, result.failing]
    names = [*result.bundle.contract.states]
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13.0, 1.9 * len(rounds) + 0.8), layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(rounds), 1))
        for axis, each in zip(axes, rounds, strict=True):
            _plot(axis, each, colours)
        axes[-2 if len(rounds) > 1 else -1].set_xlabel("")
        axes[-1].set_title(f"{result.failing.name}: the policy of {result.failed} fails")
        axes[-1].set_xlabel("simulated time [s]")
        handles = [
            *(Patch(color=colour, label=name) for name, colour in colours.items()),
            Patch(facecolor="none", edgecolor=INK, hatch="////", label="blend"),
            Line2D([], [], color=GREY, marker="v", linestyle="", label="push"),
            Line2D([], [], color="#d9534f", marker="x", linestyle="", label="refused"),
            Line2D([], [], color=INK, linewidth=0.8, label="tilt"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        figure.savefig(path, dpi=110)


def _plot(axis: Axes, found: SwitchRound, colours: dict[str, str]) -> None:
    trace, ends_s = found.trace, min(float(found.trace.time_s[-1]), _SHOWN_S)
    _plot_modes(axis, found)
    _plot_states(axis, found, colours)
    tilt_deg = np.degrees(tilt_rad(trace.quat_xyzw))
    tilted = axis.twinx()
    tilted.plot(trace.time_s, tilt_deg, color=INK, linewidth=0.8)
    tilted.set_ylim(0.0, 90.0)
    tilted.set_yticks([0, 30], ["0°", "30°"])
    tilted.grid(visible=False)
    refused_s = [event.at_s for event in found.events if not event.granted]
    axis.plot(refused_s, [0.62] * len(refused_s), "x", color="#d9534f", markersize=5)
    axis.plot(found.pushes_s, [0.7] * len(found.pushes_s), "v", color=GREY, markersize=4)
    axis.set_title(found.name)
    axis.set_xlim(0.0, ends_s)
    axis.set_ylim(0.0, 1.55)
    axis.set_yticks([1.0, 1.35], ["state", "mode"])
    axis.grid(visible=False)


def _plot_modes(axis: Axes, found: SwitchRound) -> None:
    mode, time_s = np.nan_to_num(found.trace.mode), found.trace.time_s
    starts = [0, *(np.flatnonzero(np.diff(mode)) + 1), len(mode) - 1]
    for start, end in pairwise(starts):
        width_s = time_s[end] - time_s[start]
        colour = _MODE_COLOURS.get(float(mode[start]), GREY)
        axis.barh(1.35, width_s, left=time_s[start], height=0.16, color=colour)
        if width_s > 1.0 and time_s[start] < _SHOWN_S:
            name = MODE_NAMES.get(float(mode[start]), "")
            light = mode[start] in (RUN_MODE, 4.0)
            axis.text(
                time_s[start] + 0.2,
                1.35,
                name,
                fontsize=6.5,
                va="center",
                color="white" if light else INK,
                clip_on=True,
            )


def _plot_states(axis: Axes, found: SwitchRound, colours: dict[str, str]) -> None:
    """Draw the states while a policy ran; blends are hatched."""
    run = np.flatnonzero(found.trace.mode == RUN_MODE)
    begin_s, end_s = found.trace.time_s[run[0]], found.trace.time_s[run[-1]]
    switches = [event for event in found.events if event.granted]
    edges = [(begin_s, found.initial), *((each.at_s, each.state) for each in switches)]
    for (at_s, state), (until_s, _) in pairwise([*edges, (end_s, "")]):
        axis.barh(1.0, until_s - at_s, left=at_s, height=0.4, color=colours.get(state, GREY))
    for event in switches:
        axis.barh(
            1.0,
            event.ended_s - event.at_s,
            left=event.at_s,
            height=0.4,
            color="none",
            edgecolor="white",
            hatch="//////",
            linewidth=0.0,
        )


def write_walk(found: SwitchRound, path: Path) -> None:
    """Write a video of the begin of a round; without OpenGL the log says what to install."""
    trace = shown(found.trace)
    rows = trace.time_s < trace.time_s[0] + _VIDEO_S
    try:
        write_video(trace.rows(slice(0, int(rows.sum()))), path)
    except SimError as error:
        _log.warning("no video: %s", error)
