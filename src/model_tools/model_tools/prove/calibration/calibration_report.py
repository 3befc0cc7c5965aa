# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Report on calibration rows: coverage and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from model_tools.prove.calibration.measure import (
    MOST_COMMANDS,
    Direction,
    HealthyValues,
    RowCoverage,
    StatedAgreement,
    TermCoverage,
)
from model_tools.prove.calibration.verdict import CalibrationVerdict, is_gap
from policy_core.bundle.bundle import JointBundle
from policy_store.report import (
    Cell,
    Chart,
    Facts,
    Note,
    Part,
    Plot,
    Report,
    Section,
    Series,
    Table,
    Tone,
    Verdict,
)

JSON_FILE, HTML_FILE = "coverage.json", "coverage.html"
_FIGURES = ("lowest", "highest", "mean", "std")
_TONES = {"usable": Tone.GOOD, "usable, with gaps": Tone.WARN, "not usable": Tone.BAD}
_SMALL, _BESIDE = 4, 3
"""Terms with up to `_SMALL` values are drawn side by side, `_BESIDE` per line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """Coverage of a source's rows, and the verdict on them, for a bundle."""

    name: str
    bundle: JointBundle
    coverage: RowCoverage
    verdict: CalibrationVerdict


def calibration_report(found: Calibrated) -> Report:
    coverage, verdict = found.coverage, found.verdict
    return Report(
        title=f"{found.bundle.contract.name}: calibration rows",
        values=_values(found),
        parts=[
            Facts(
                title=found.name,
                rows=list(_facts(coverage)),
                verdict=Verdict(verdict.words, _TONES[verdict.words]),
            ),
            *(Note(Verdict("problem", Tone.BAD), line) for line in verdict.problems),
            *(Note(Verdict("gap", Tone.WARN), line) for line in verdict.warnings),
            *(Note(Verdict("note", Tone.PLAIN), line) for line in verdict.notes),
            _directions(coverage.directions),
            Section(
                title="Observations as model inputs, and the range of a healthy run",
                parts=list(_observations(coverage.terms)),
            ),
        ],
    )


def _facts(found: RowCoverage) -> Iterator[tuple[str, Cell]]:
    yield "rows", found.rows
    yield "different rows", found.different
    yield "from first to last, s", found.span_s
    for name, share in (
        ("stands still", found.still),
        ("tilted too far", found.tilted),
        ("joints beyond limits", found.outside),
        ("far from healthy", found.far),
    ):
        if share is not None:
            yield f"{name}, % of the rows", 100.0 * share
    if found.commands is not None:
        least = " or more" if found.commands == MOST_COMMANDS else ""
        yield f"different commands{least}", found.commands


def _directions(found: Sequence[Direction]) -> Table:
    head = ("command", "unit", "trained to", "rows reach", "% of the rows", "verdict")
    rows = [
        (
            way.words,
            way.unit,
            way.trained,
            way.reached,
            100.0 * way.share,
            Verdict("gap", Tone.WARN) if is_gap(way) else Verdict("covered", Tone.GOOD),
        )
        for way in found
    ]
    return Table(header=head, rows=rows)


def _observations(terms: Sequence[TermCoverage]) -> Iterator[Part]:
    """Yield the distribution of each value; small terms side by side."""
    for name, group in groupby(terms, key=lambda term: term.input):
        own = list(group)
        small = [term for term in own if len(term.names) <= _SMALL]
        if small:
            yield Plot(charts=[_chart(name, term) for term in small], columns=_BESIDE)
        for term in own:
            if term not in small:
                yield Plot(charts=[_chart(name, term)])
        tables = [_figures(term) for term in own]
        yield Section(title=f"All figures of {name}", parts=tables, is_folded=True)


def _chart(name: str, term: TermCoverage) -> Chart:
    violin = Series(
        label="rows", kind="violin", y=term.histogram, low=term.floor, high=term.ceiling
    )
    series = [violin]
    if (healthy := term.healthy) is not None:
        low, high = healthy.lowest, healthy.highest
        series.insert(0, Series(label="healthy run", kind="range", y=low, low=low, high=high))
    return Chart(title=f"{name} {term.name}", series=series, names=term.names)


def _figures(term: TermCoverage) -> Table:
    columns = {key: getattr(term, key) for key in _FIGURES}
    if term.healthy is not None:
        columns["healthy, lowest"], columns["healthy, highest"] = (
            term.healthy.lowest,
            term.healthy.highest,
        )
    rows = zip(term.names, *(each.tolist() for each in columns.values()), strict=True)
    return Table(title=term.name, header=(term.input, *columns), rows=list(rows))


def _values(found: Calibrated) -> dict[str, Any]:
    coverage, verdict = found.coverage, found.verdict
    return {
        "source": found.name,
        "bundle": found.bundle.contract.name,
        "bundle_sha256": found.bundle.sha256,
        "verdict": {"usable": bool(verdict), **asdict(verdict)},
        "rows": coverage.rows,
        "different": coverage.different,
        "span_s": coverage.span_s,
        "different_commands": coverage.commands,
        "still_share": coverage.still,
        "turning_rad_s": coverage.turning_rad_s,
        "tilted_share": coverage.tilted,
        "outside_limits_share": coverage.outside,
        "far_share": coverage.far,
        "far_values": dict(coverage.far_values),
        "directions": list(map(asdict, coverage.directions)),
        "motion": {
            key: None if (found := getattr(coverage.motion, key)) is None else _agreement(found)
            for key in ("joints", "body", "targets")
        },
        "terms": list(map(_term, coverage.terms)),
    }


def _agreement(found: StatedAgreement) -> dict[str, Any]:
    keys = ("stated", "seen", "correlation", "ratio")
    return {
        "pairs": found.pairs,
        "values": {
            name: {key: getattr(found, key)[place] for key in keys}
            for place, name in enumerate(found.names)
        },
    }


def _term(term: TermCoverage) -> dict[str, Any]:
    def figures(of: TermCoverage | HealthyValues, place: int) -> dict[str, Any]:
        return {key: getattr(of, key)[place] for key in _FIGURES}

    return {
        "input": term.input,
        "term": term.name,
        "span": term.span,
        "constant": term.constant,
        "values": {
            name: {
                **figures(term, place),
                "healthy": None if term.healthy is None else figures(term.healthy, place),
                "histogram": {
                    "from": term.floor[place],
                    "to": term.ceiling[place],
                    "counts": term.histogram[place],
                },
            }
            for place, name in enumerate(term.names)
        },
    }
