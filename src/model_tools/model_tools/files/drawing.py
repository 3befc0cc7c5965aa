# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drawings as SVG to stand inside an HTML page, all in one style."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GREY, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#2563a8", "#d9730d", "#2f8f5b", "#8a4fbf", "#c2334d", "#5b7083")
_WIDTH_IN, _ROW_IN = 10.0, 2.6
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,  # names of joints may have dollar signs
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}
# What refers to other sites, and would make a browser ask whether it may.
_OUTSIDE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>| xmlns(:\w+)?=\"[^\"]*\"", re.DOTALL
)


def figure(rows: int, columns: int, row_in: float = _ROW_IN) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as a page, its rows `row_in` inches high, and its axes by row."""
    drawn = Figure(figsize=(_WIDTH_IN, row_in * rows + 0.4), layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False, sharex="col")
    return drawn, list(axes.ravel())


def svg(drawn: Figure, axes: Sequence[Axes], salt: str) -> str:
    """Return the drawing, with a legend of the first axes.

    The salt keeps the ids of several drawings in one page apart.
    """
    handles, labels = axes[0].get_legend_handles_labels()
    if labels:
        drawn.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        drawn.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _OUTSIDE.sub("", text.getvalue()).strip()
