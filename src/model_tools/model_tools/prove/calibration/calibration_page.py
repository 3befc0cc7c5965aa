# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file that shows in a glance whether rows will do, and then why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from model_tools.files.drawing import COLOURS, GREY, GRID, INK, STYLE, figure, svg
from model_tools.files.html_page import facts as listed
from model_tools.files.html_page import panel, table, tag, write_page
from model_tools.prove.calibration.calibration_report import Calibrated, facts, reach
from model_tools.prove.calibration.coverage import Direction, TermCoverage
from model_tools.prove.calibration.verdict import HALFWAY, is_gap
from policy_core.interfaces import F64

_SMALL, _BESIDE = 4, 3
"""Terms with so few values stand side by side, so many of them."""
_KINDS = {"usable": "good", "usable, with gaps": "warn", "not usable": "bad"}
_COLUMNS = ["", "lowest", "highest", "mean", "std", "healthy"]
_BAD, _BAD_GROUND, _GOOD, _HALF_WIDTH = "#b3261e", "#f6d9d6", COLOURS[2], 0.4
_ROW_IN, _TERM_IN = 0.42, 2.4


def write_html(found: Calibrated, file: Path) -> None:
    """Write the report."""
    contract = found.bundle.contract
    title = f"{contract.name}: rows to calibrate with"
    write_page(
        file,
        title,
        [
            f"<h1>{escape(title)}</h1><p>{escape(found.name)}</p>",
            f'<div class="cards">{_verdict(found)}{_facts(found)}</div>',
            *_commands(found),
            *_terms(found.coverage.terms),
        ],
    )


def _verdict(found: Calibrated) -> str:
    verdict = found.verdict
    kind = _KINDS[verdict.words]
    lines = [
        f"<li>{tag(name, colour)} {_stressed(line)}</li>"
        for name, colour, kept in (
            ("problem", "bad", verdict.problems),
            ("gap", "warn", verdict.warnings),
            ("note", "", verdict.notes),
        )
        for line in kept
    ]
    return (
        f'<div class="card wide {kind}"><b class="verdict {kind}">{escape(verdict.words)}</b>'
        f"<ul>{''.join(lines) or '<li>nothing is missing</li>'}</ul></div>"
    )


def _stressed(line: str) -> str:
    """Return what was found in bold, and what to do about it."""
    found, colon, remedy = line.partition(": ")
    return f"<strong>{escape(found)}</strong>{escape(colon + remedy)}"


def _facts(found: Calibrated) -> str:
    directions = {way.words for way in found.coverage.directions}
    shown = [fact for fact in facts(found.coverage) if fact[0] not in directions]
    return f'<div class="card plain"><b>What was counted</b>{listed(shown)}</div>'


def _commands(found: Calibrated) -> Iterator[str]:
    if found.coverage.directions:
        yield "<h2>Commands</h2><p>How far the rows go in each direction. Red: a gap.</p>"
        yield panel(_draw_commands(found.coverage.directions))


def _terms(terms: Sequence[TermCoverage]) -> Iterator[str]:
    judged = any(term.healthy is not None for term in terms)
    ground = (
        "Grey: the range of a healthy run; red: beyond it."
        if judged
        else "The bundle has no nominal figures to hold them against."
    )
    yield (
        "<h2>Observations</h2><p>As the model gets them: how often each value was there, widths "
        f"by square roots; a dash in red never changes. {ground}</p>"
    )
    for name, group in groupby(terms, key=lambda term: term.input):
        yield f"<h3>{escape(name)}</h3>"
        own = list(group)
        small = [term for term in own if len(term.names) <= _SMALL]
        for first in range(0, len(small), _BESIDE):
            yield panel(_draw_terms(small[first : first + _BESIDE], f"{name} {first}"))
        for term in own:
            if term not in small:
                yield panel(_draw_terms([term], f"{name} {term.name}"))
        yield f"<details><summary>All figures of {escape(name)}</summary>"
        yield from (f"<h3>{escape(term.name)}</h3>{panel(_figures(term))}" for term in own)
        yield "</details>"


def _figures(term: TermCoverage) -> str:
    rows = [
        [
            name,
            *(
                f"{values[place]:.4g}"
                for values in (term.lowest, term.highest, term.mean, term.std)
            ),
            "-"
            if term.healthy is None
            else f"{term.healthy.lowest[place]:.4g} to {term.healthy.highest[place]:.4g}",
        ]
        for place, name in enumerate(term.names)
    ]
    return table(_COLUMNS, rows, ("",))


def _draw_commands(found: Sequence[Direction]) -> str:
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


def _draw_terms(found: Sequence[TermCoverage], salt: str) -> str:
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
            axes.plot(
                place, term.lowest[place], "_", color=_BAD, markersize=12, markeredgewidth=2.5
            )
            continue
        # Roots, so that rare values are seen beside the many about zero.
        width = np.sqrt(term.histogram[place] / term.histogram[place].max()) * _HALF_WIDTH
        width, ends = np.repeat(width, 2), np.repeat(ends, 2)[1:-1]
        for inside, colour in ((True, COLOURS[0]), (False, _BAD)):
            shown = _within(term, place, ends) == inside
            axes.fill_betweenx(
                ends,
                place - width,
                place + width,
                where=shown.tolist(),
                color=colour,
                linewidth=0.0,
            )
    turned = max(map(len, term.names)) > 7
    axes.set_xticks(
        places, term.names, rotation=30 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_title(term.name)
    axes.use_sticky_edges = False  # of the bars, at which they would end the axis
    axes.grid(visible=False, axis="x")


def _within(term: TermCoverage, place: int, values: F64) -> npt.NDArray[np.bool_]:
    if term.healthy is None:
        return np.ones(len(values), bool)
    low, high = term.healthy.lowest[place], term.healthy.highest[place]
    slack = 0.1 * max(high - low, 0.1)
    return np.asarray((values >= low - slack) & (values <= high + slack))
