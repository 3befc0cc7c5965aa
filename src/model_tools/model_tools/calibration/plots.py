# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of what rows cover, as SVG to stand inside an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from model_tools.calibration.coverage import Direction, TermCoverage
from model_tools.calibration.report import reach
from model_tools.calibration.verdict import HALFWAY, is_gap
from model_tools.drawing import COLOURS, GREY, GRID, INK, STYLE, figure, svg
from policy_inference.interfaces import F64

_BAD, _BAD_GROUND, _GOOD, _HALF_WIDTH = "#b3261e", "#f6d9d6", COLOURS[2], 0.4
_ROW_IN, _TERM_IN = 0.42, 2.4


def commands(found: Sequence[Direction]) -> str:
    """Return a bar for each direction: how much of what was trained the rows reach."""
    with mpl.rc_context(STYLE):
        drawn, [axes] = figure(1, 1, _ROW_IN * len(found) + 0.3)
        for place, way in enumerate(found):
            gap = is_gap(way)
            axes.barh(place, 1.0, 0.7, color=_BAD_GROUND if gap else GRID)
            axes.barh(place, min(way.reached / way.trained, 1.0), 0.7, color=_BAD if gap else _GOOD)
            axes.text(1.02, place, reach(way), va="center", color=_BAD if gap else INK)
        axes.axvline(HALFWAY, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(found)), [way.words for way in found])
        axes.invert_yaxis()
        axes.set_xlim(0.0, 1.5)
        axes.set_xticks([0.0, 0.5, 1.0], ["0", "half", "all that was trained"])
        axes.grid(visible=False)
        return svg(drawn, [axes], "commands")


def terms(found: Sequence[TermCoverage], salt: str) -> str:
    """Return histograms of terms side by side: a shape per value on the range of a healthy run."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, len(found), _TERM_IN)
        for own, term in zip(axes, found, strict=True):
            _draw(own, term)
        return svg(drawn, axes, salt)


def _draw(axes: Axes, term: TermCoverage) -> None:
    places = np.arange(len(term.names))
    if term.healthy is not None:
        low = term.healthy.lowest
        axes.bar(places, term.healthy.highest - low, 2.2 * _HALF_WIDTH, low, color=GRID)
    for place in places.tolist():
        ends = np.linspace(term.floor[place], term.ceiling[place], term.histogram.shape[1] + 1)
        if term.names[place] in term.constant:
            axes.plot(place, term.lowest[place], "_", color=_BAD, markersize=12,
                      markeredgewidth=2.5)
            continue
        # Roots, so that rare values are seen beside the many about zero.
        width = np.sqrt(term.histogram[place] / term.histogram[place].max()) * _HALF_WIDTH
        width, ends = np.repeat(width, 2), np.repeat(ends, 2)[1:-1]
        for inside, colour in ((True, COLOURS[0]), (False, _BAD)):
            shown = _within(term, place, ends) == inside
            axes.fill_betweenx(ends, place - width, place + width, where=shown.tolist(),
                               color=colour, linewidth=0.0)
    turned = max(map(len, term.names)) > 7
    axes.set_xticks(places, term.names, rotation=30 if turned else 0,
                    ha="right" if turned else "center")
    axes.set_title(term.name)
    axes.use_sticky_edges = False  # of the bars, at which they would end the axis
    axes.grid(visible=False, axis="x")


def _within(term: TermCoverage, place: int, values: F64) -> npt.NDArray[np.bool_]:
    if term.healthy is None:
        return np.ones(len(values), bool)
    low, high = term.healthy.lowest[place], term.healthy.highest[place]
    slack = 0.1 * max(high - low, 0.1)
    return np.asarray((values >= low - slack) & (values <= high + slack))
