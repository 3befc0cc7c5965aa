# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file that shows in a glance whether rows will do, and then why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from model_tools.calibration import plots
from model_tools.calibration.coverage import TermCoverage
from model_tools.calibration.report import Calibrated, facts
from model_tools.html_page import facts as listed
from model_tools.html_page import panel, table, tag, write_page

_SMALL, _BESIDE = 4, 3
"""Terms with so few values stand side by side, so many of them."""
_KINDS = {"will do": "good", "will do, with gaps": "warn", "will not do": "bad"}
_COLUMNS = ["", "lowest", "highest", "mean", "std", "healthy"]


def write_html(found: Calibrated, file: Path) -> None:
    """Write the report."""
    contract = found.bundle.contract
    title = f"{contract.name}: rows to calibrate with"
    write_page(file, title, [
        f"<h1>{escape(title)}</h1><p>{escape(found.name)}</p>",
        f'<div class="cards">{_verdict(found)}{_facts(found)}</div>',
        *_commands(found), *_terms(found.coverage.terms),
    ])  # fmt: skip


def _verdict(found: Calibrated) -> str:
    verdict = found.verdict
    kind = _KINDS[verdict.words]
    lines = [f"<li>{tag(name, colour)} {_stressed(line)}</li>"
             for name, colour, kept in (("problem", "bad", verdict.problems),
                                        ("gap", "warn", verdict.warnings),
                                        ("note", "", verdict.notes)) for line in kept]
    return (f'<div class="card wide {kind}"><b class="verdict {kind}">{escape(verdict.words)}</b>'
            f'<ul>{"".join(lines) or "<li>nothing is missing</li>"}</ul></div>')


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
        yield panel(plots.commands(found.coverage.directions))


def _terms(terms: Sequence[TermCoverage]) -> Iterator[str]:
    judged = any(term.healthy is not None for term in terms)
    ground = ("Grey: the range of a healthy run; red: beyond it." if judged else
              "The bundle has no nominal figures to hold them against.")
    yield ("<h2>Observations</h2><p>As the model gets them: how often each value was there, widths "
           f"by square roots; a dash in red never changes. {ground}</p>")
    for name, group in groupby(terms, key=lambda term: term.input):
        yield f"<h3>{escape(name)}</h3>"
        own = list(group)
        small = [term for term in own if len(term.names) <= _SMALL]
        for first in range(0, len(small), _BESIDE):
            yield panel(plots.terms(small[first : first + _BESIDE], f"{name} {first}"))
        for term in own:
            if term not in small:
                yield panel(plots.terms([term], f"{name} {term.name}"))
        yield f"<details><summary>All figures of {escape(name)}</summary>"
        yield from (f"<h3>{escape(term.name)}</h3>{panel(_figures(term))}" for term in own)
        yield "</details>"


def _figures(term: TermCoverage) -> str:
    rows = [
        [name, *(f"{values[place]:.4g}" for values in (term.lowest, term.highest, term.mean,
                                                      term.std)),
         "-" if term.healthy is None else
         f"{term.healthy.lowest[place]:.4g} to {term.healthy.highest[place]:.4g}"]
        for place, name in enumerate(term.names)
    ]  # fmt: skip
    return table(_COLUMNS, rows, ("",))
