# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of a replayed dataset as SVG to stand inside an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from lerobot_bridge.open_loop.figures import Figures
from lerobot_bridge.open_loop.predict import Predicted
from lerobot_bridge.open_loop.report import UNITS
from model_tools.files.drawing import COLOURS, GREY, STYLE, figure, svg

_COLUMNS = 2


def course(one: Predicted, names: Sequence[str], units: Sequence[str], rate_hz: float) -> str:
    """Return an episode over time by joint, with dots where a chunk begins."""
    times_s = np.arange(len(one.actions)) / rate_hz
    begins, marked = list(one.begins), len(one.begins) < len(one.actions)
    with mpl.rc_context(STYLE):
        drawn, axes = figure(-(-len(names) // _COLUMNS), min(_COLUMNS, len(names)), 2.0)
        for i, (name, unit, axis) in enumerate(zip(names, units, axes, strict=False)):
            axis.plot(times_s, one.actions[:, i], color=GREY, label="recorded")
            axis.plot(
                times_s, one.predicted[:, i], color=COLOURS[1], label="predicted", linewidth=0.9
            )
            if marked:
                axis.plot(
                    times_s[begins],
                    one.predicted[begins, i],
                    ".",
                    color=COLOURS[1],
                    markersize=4,
                    label="chunk begins",
                )
            axis.set_title(f"{name}, {UNITS[unit]}")
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        for axis in axes[len(names) - min(_COLUMNS, len(names)) : len(names)]:
            axis.set_xlabel("s")
            axis.xaxis.set_tick_params(labelbottom=True)
        return svg(drawn, axes, f"episode {one.episode.index}")


def error_by_step(figures: Figures) -> str:
    """Return the error over the steps of a chunk: how far ahead the policy can be believed."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1, 1.8)
        axes[0].plot(figures.by_step, color=COLOURS[0], marker=".")
        axes[0].set_ylim(bottom=0.0)
        axes[0].set_title("mean error by step of the chunk, in standard deviations of the actions")
        axes[0].set_xlabel("step")
        return svg(drawn, axes, "steps")
