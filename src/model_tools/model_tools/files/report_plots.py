# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Report plots as SVG inside an HTML page, all in one style."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import count
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from policy_core.interfaces import F64
from policy_store.report import Chart, Plot, Series, Tone

_INK, _GREY, _GRID, _BAD = "#1f2933", "#7b8794", "#e4e7eb", "#b3261e"
_COLOURS = ("#2563a8", "#d9730d", "#2f8f5b", "#8a4fbf", "#c2334d", "#5b7083")
_GROUND = {
    Tone.PLAIN: "#dfe7f1",
    Tone.GOOD: "#cfe9d9",
    Tone.WARN: "#f6dba8",
    Tone.BAD: "#e8b4b0",
}
_WIDTH_IN, _MOST_POINTS, _HALF_WIDTH = 10.0, 1500, 0.4
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "text.parse_math": False,  # joint names may contain dollar signs
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
}
# References to other sites, for which a browser might ask permission.
_OUTSIDE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>| xmlns(:\w+)?=\"[^\"]*\"", re.DOTALL
)


def svg(plot: Plot, salt: str) -> str:
    """Return a plot as SVG text, with a legend.

    The salt keeps the ids of several drawings on one page unique.
    """
    rows = -(-len(plot.charts) // plot.columns)
    with mpl.rc_context(_STYLE | {"svg.hashsalt": salt}):
        drawn = Figure(figsize=(_WIDTH_IN, plot.row_in * rows + 0.4), layout="constrained")
        places = drawn.subplots(rows, plot.columns, squeeze=False).ravel()
        labels = dict.fromkeys(
            series.label
            for chart in plot.charts
            for series in chart.series
            if series.tone is None and series.kind != "range"
        )
        colours = dict(zip(labels, (_COLOURS[i % len(_COLOURS)] for i in count()), strict=False))
        for axes, chart in zip(places, plot.charts, strict=False):
            _draw(axes, chart, colours)
        for unused in places[len(plot.charts) :]:
            unused.set_visible(False)
        handles = {
            label: handle
            for axes in places
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if handles:
            drawn.legend(
                handles.values(), handles, loc="outside upper right", ncols=min(len(handles), 6)
            )
        text = io.StringIO()
        drawn.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _OUTSIDE.sub("", text.getvalue()).strip()


def top_view(points: F64) -> bytes:
    """Return a PNG that shows points around the robot, their order, and some of their indices.

    Args:
        points: Points in the base frame [points, 2], x and y, m; x is drawn upward, y to the left.
    """
    x, y = points.T
    with mpl.rc_context(_STYLE):
        drawn = Figure(figsize=(6.5, 6.5), layout="constrained")
        axes = drawn.subplots()
        axes.plot(y, x, "-", color=_GREY, linewidth=0.4)
        axes.plot(y, x, ".", color=_COLOURS[0], markersize=min(7.0, 120.0 / len(x) ** 0.5))
        turn = _first_turn(points)
        for begin, end, style in ((0, turn, "-"), (turn, min(turn + 1, len(x) - 1), ":")):
            _arrow(axes, points[begin], points[end], _COLOURS[1], style)
        corners = (int(np.argmax(a * x + b * y)) for a in (1, -1) for b in (1, -1))
        for i in sorted({0, min(1, len(x) - 1), len(x) - 1, *corners}):
            away = (-8.0 if y[i] >= y.mean() else 8.0, 8.0 if x[i] >= x.mean() else -8.0)
            axes.annotate(
                str(i), (y[i], x[i]), away, textcoords="offset points", ha="center", va="center"
            )
        length = 0.15 * max(np.ptp(x), np.ptp(y), 0.1)
        for name, axis in (("x, forward", (1.0, 0.0)), ("y, left", (0.0, 1.0))):
            tip = length * np.array(axis)
            _arrow(axes, np.zeros(2), tip, _BAD, "-")
            axes.text(
                1.1 * tip[1],
                1.1 * tip[0],
                name,
                color=_BAD,
                ha="right" if axis[1] else "center",
                va="center" if axis[1] else "bottom",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            )
        axes.set(aspect="equal", xlabel="y, m", ylabel="x, m")
        axes.margins(0.12)
        axes.invert_xaxis()
        content = io.BytesIO()
        drawn.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _first_turn(points: F64) -> int:
    """Return the index of the first point after which the path changes direction."""
    steps = np.diff(points, axis=0)
    turns = ~np.isclose(steps, steps[:1], atol=1e-9).all(axis=1)
    return int(turns.argmax()) if turns.any() else len(points) - 1


def _arrow(axes: Axes, begin: F64, end: F64, colour: str, style: str) -> None:
    axes.annotate(
        "",
        (end[1], end[0]),
        (begin[1], begin[0]),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linestyle": style,
            "linewidth": 1.6,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _draw(axes: Axes, chart: Chart, colours: dict[str, str]) -> None:
    beside = [one for one in chart.series if one.kind in ("bar", "points")]
    width = 0.8 / max(1, len(beside))
    for start, end, name, tone in chart.spans:
        axes.axvspan(start, end, color=_GROUND[tone], linewidth=0)
        axes.text((start + end) / 2, 0.5, name, ha="center", va="center", clip_on=True)
    for series in chart.series:
        toned = _BAD if series.tone is Tone.BAD else _GREY
        colour = colours.get(series.label, _GREY) if series.tone is None else toned
        if chart.names:
            shift = (beside.index(series) - (len(beside) - 1) / 2) * width if beside else 0.0
            places = np.arange(len(chart.names)) + shift
            _draw_named(axes, series, places, width, colour)
        else:
            _draw_line(axes, series, colour)
    for place in chart.marks:
        axes.axvline(place, color=_BAD, linewidth=1.0)
    if chart.names:
        many = sum(map(len, chart.names)) > 60
        names: dict[str, Any] = {"rotation": 30, "ha": "right"} if many else {}
        axes.set_xticks(range(len(chart.names)), chart.names, **names)
        axes.grid(visible=False, axis="x")
    if chart.is_log and any((_finite(one.y) > 0.0).any() for one in chart.series):
        axes.set_yscale("log")
        # The default formatter writes TeX formulas, which this style does not render.
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter())
    if chart.spans and not chart.series:
        axes.set(ylim=(0.0, 1.0), yticks=[])
    axes.set_title(chart.title)
    axes.set_xlabel(chart.x_label)


def _draw_line(axes: Axes, series: Series, colour: str) -> None:
    y = _finite(series.y)
    x = np.asarray(range(len(y)) if series.x is None else series.x, np.float64)
    style = "." if series.kind == "points" else "--" if series.tone is Tone.BAD else "-"
    if series.kind == "line":
        x, y = _thinned(x, y)
    axes.plot(x, y, style, color=colour, label=series.label or None, markersize=4)


def _draw_named(
    axes: Axes, series: Series, places: npt.NDArray[Any], width: float, colour: str
) -> None:
    """Draw one item per name: a bar or a point with its interval, a range, or a histogram."""
    y, label = _finite(series.y), series.label or None
    low, high = (y if end is None else _finite(end) for end in (series.low, series.high))
    if series.kind == "range":
        axes.bar(places, high - low, 2.2 * _HALF_WIDTH, low, color=_GRID, label=label)
        axes.use_sticky_edges = False  # otherwise the axis would end at the bars' edges
        return
    if series.kind == "violin":
        for place, counts, least, most in zip(places, y, low, high, strict=True):
            ends = np.repeat(np.linspace(least, most, len(counts) + 1), 2)[1:-1]
            # Square roots, so that rare values are visible beside the many near zero.
            half = np.repeat(np.sqrt(counts / max(counts.max(), 1.0)) * _HALF_WIDTH, 2)
            axes.fill_betweenx(ends, place - half, place + half, color=colour, linewidth=0.6)
        return
    if series.kind == "bar":
        axes.bar(places, y, 0.9 * width, color=colour, label=label)
    else:
        axes.plot(places, y, "o", color=colour, markersize=4, label=label)
    if series.low is not None or series.high is not None:
        axes.errorbar(places, y, np.maximum([y - low, high - y], 0.0), fmt="none", ecolor=colour)


def _thinned(x: F64, y: F64) -> tuple[F64, F64]:
    """Return a line; if it has very many points, only the minimum and maximum of each span."""
    if len(x) <= _MOST_POINTS:
        return x, y
    span = -(-2 * len(x) // _MOST_POINTS)
    count = len(x) // span
    kept = y[: count * span].reshape(count, span)
    low = np.min(kept, axis=1, initial=np.inf, where=np.isfinite(kept))
    high = np.max(kept, axis=1, initial=-np.inf, where=np.isfinite(kept))
    ends = np.stack([low, high], axis=1).reshape(-1)
    return np.repeat(x[: count * span : span], 2), _finite(ends)


def _finite(values: npt.ArrayLike | Sequence[Any]) -> F64:
    """Return the values, with NaN (a gap) in place of infinities, which cannot be drawn."""
    array = np.asarray(values, np.float64)
    return np.where(np.isfinite(array), array, np.nan)
