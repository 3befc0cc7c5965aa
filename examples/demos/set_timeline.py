# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plot of the policy-set demo: modes, states and blends over time."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from examples.demos.plots import GREY, INK, RED, STYLE, mode_name
from examples.demos.switches import SetRound
from policy_core.interfaces import Mode
from robot_sim.rotation import tilt_rad

TIMELINE = "timeline.png"
_COLOURS = ("#2a78d6", "#e8a33d", "#2f8f5b", "#7a5fa8", "#b5739d", "#1f9e9e")
_MODE_COLOURS = ("#d9dce1", "#b9c4d0", "#8fa1b3", INK, RED)
_SHOWN_S = 90.0
"""Each round is plotted up to this time, s, so that a long round stays readable."""


def write_timeline(
    rounds: Sequence[SetRound], states: Sequence[str], title: str, path: Path
) -> None:
    """Write an image with one row per round: mode, state with blends, pushes, tilt.

    Args:
        rounds: The rounds; at least two.
        states: States of the set.
        title: Title of the last round.
        path: The image file.
    """
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(states)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13.0, 1.9 * len(rounds) + 0.8), layout="constrained")
        axes = figure.subplots(len(rounds), 1)
        for axis, each in zip(axes, rounds, strict=True):
            _plot(axis, each, colours)
        axes[-1].set_title(title)
        axes[-1].set_xlabel("simulated time [s]")
        handles = [
            *(Patch(color=colour, label=name) for name, colour in colours.items()),
            Patch(facecolor="none", edgecolor=INK, hatch="////", label="blend"),
            Line2D([], [], color=GREY, marker="v", linestyle="", label="push"),
            Line2D([], [], color=RED, marker="x", linestyle="", label="refused"),
            Line2D([], [], color=INK, linewidth=0.8, label="tilt"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        figure.savefig(path, dpi=110)


def _plot(axis: Axes, found: SetRound, colours: dict[str, str]) -> None:
    trace = found.trace
    _plot_modes(axis, found)
    _plot_states(axis, found, colours)
    tilted = axis.twinx()
    tilted.plot(trace.time_s, np.degrees(tilt_rad(trace.quat_xyzw)), color=INK, linewidth=0.8)
    tilted.set_ylim(0.0, 90.0)
    tilted.set_yticks([0, 30], ["0°", "30°"])
    tilted.grid(visible=False)
    refused_s = [event.at_s for event in found.events if not event.granted]
    axis.plot(refused_s, [0.62] * len(refused_s), "x", color=RED, markersize=5)
    axis.plot(found.pushes_s, [0.7] * len(found.pushes_s), "v", color=GREY, markersize=4)
    axis.set_title(found.name)
    axis.set_xlim(0.0, min(float(trace.time_s[-1]), _SHOWN_S))
    axis.set_ylim(0.0, 1.55)
    axis.set_yticks([1.0, 1.35], ["state", "mode"])
    axis.grid(visible=False)


def _plot_modes(axis: Axes, found: SetRound) -> None:
    mode, time_s = np.nan_to_num(found.trace.mode), found.trace.time_s
    starts = [0, *(np.flatnonzero(np.diff(mode)) + 1), len(mode) - 1]
    for start, end in pairwise(starts):
        width_s, colour = time_s[end] - time_s[start], _MODE_COLOURS[int(mode[start])]
        axis.barh(1.35, width_s, left=time_s[start], height=0.16, color=colour)
        if width_s > 1.0 and time_s[start] < _SHOWN_S:
            axis.text(
                time_s[start] + 0.2,
                1.35,
                mode_name(mode[start]),
                fontsize=6.5,
                va="center",
                color="white" if mode[start] >= Mode.RUN else INK,
                clip_on=True,
            )


def _plot_states(axis: Axes, found: SetRound, colours: dict[str, str]) -> None:
    """Draw the state at each time at which a policy ran; blends are hatched."""
    run_s = found.trace.time_s[found.trace.mode == Mode.RUN]
    switches = [event for event in found.events if event.granted]
    edges = [(run_s[0], found.initial), *((each.at_s, each.state) for each in switches)]
    for (at_s, state), (until_s, _) in pairwise([*edges, (run_s[-1], "")]):
        axis.barh(1.0, until_s - at_s, left=at_s, height=0.4, color=colours.get(state, GREY))
    axis.barh(
        [1.0] * len(switches),
        [event.ended_s - event.at_s for event in switches],
        left=[event.at_s for event in switches],
        height=0.4,
        color="none",
        edgecolor="white",
        hatch="//////",
        linewidth=0.0,
    )
