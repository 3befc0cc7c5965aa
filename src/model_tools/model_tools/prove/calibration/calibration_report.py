# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What rows cover and what that is worth: on the terminal, and all figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from model_tools.prove.calibration.coverage import (
    MOST_COMMANDS,
    Direction,
    RowCoverage,
    StatedAgreement,
    TermCoverage,
)
from model_tools.prove.calibration.verdict import CalibrationVerdict
from policy_core.bundle.bundle import JointBundle
from policy_inference.comparison.plain_json import plain

JSON_FILE, HTML_FILE = "coverage.json", "coverage.html"
DIGITS = 6
_FIGURES = ("lowest", "highest", "mean", "std")
_COLOURS = {"usable": "bold green", "usable, with gaps": "bold yellow", "not usable": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """Rows of a source for a bundle: what they cover, and the verdict."""

    name: str
    bundle: JointBundle
    coverage: RowCoverage
    verdict: CalibrationVerdict


def table(found: Calibrated) -> Table:
    """Return the figures of the whole, and the verdict, as a table without heads."""
    drawn = Table(show_header=False, box=None)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts(found.coverage):
        drawn.add_row(name, escape(value))
    verdict = found.verdict
    drawn.add_row("verdict", f"[{_COLOURS[verdict.words]}]{verdict.words}[/]")
    for kind, lines in (
        ("[red]problem[/]", verdict.problems),
        ("[yellow]gap[/]", verdict.warnings),
        ("note", verdict.notes),
    ):
        for line in lines:
            drawn.add_row(kind, escape(line))
    return drawn


def facts(found: RowCoverage) -> Iterator[tuple[str, str]]:
    """Yield what is counted, in words."""
    yield "rows", f"{found.rows}, {found.different} different"
    yield "from first to last", f"{found.span_s:.1f} s"
    for name, share in (
        ("stands still", found.still),
        ("tilted too far", found.tilted),
        ("joints beyond limits", found.outside),
        ("far from healthy", found.far),
    ):
        if share is not None:
            yield name, f"{share:.1%} of the rows" if share else "in none of the rows"
    if found.commands is not None:
        least = "or more " if found.commands == MOST_COMMANDS else ""
        yield "commands", f"{found.commands} {least}different"
    for way in found.directions:
        yield way.words, reach(way)


def reach(way: Direction) -> str:
    """Return how far a direction was commanded."""
    if not way.share:
        return f"never, of {way.trained:g} {way.unit}"
    return f"up to {way.reached:.2g} of {way.trained:g} {way.unit}, in {way.share:.1%} of the rows"


def coverage_document(found: Calibrated) -> dict[str, Any]:
    """Return all figures in the types of JSON; what the rows do not tell is null."""
    coverage, verdict = found.coverage, found.verdict
    document = {
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
    rounded: dict[str, Any] = plain(document, DIGITS)
    return rounded


def write_json(found: Calibrated, file: Path) -> None:
    """Write all figures."""
    text = json.dumps(coverage_document(found), indent=1, allow_nan=False)
    file.write_text(f"{text}\n", "utf-8")


def _agreement(found: StatedAgreement) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "values": {
            name: {
                key: value if np.isfinite(value := float(getattr(found, key)[place])) else None
                for key in ("stated", "seen", "correlation", "ratio")
            }
            for place, name in enumerate(found.names)
        },
    }


def _term(term: TermCoverage) -> dict[str, Any]:
    def each(place: int) -> dict[str, Any]:
        healthy = (
            None
            if term.healthy is None
            else {key: float(getattr(term.healthy, key)[place]) for key in _FIGURES}
        )
        return {
            **{key: float(getattr(term, key)[place]) for key in _FIGURES},
            "healthy": healthy,
            "histogram": {
                "from": float(term.floor[place]),
                "to": float(term.ceiling[place]),
                "counts": term.histogram[place].tolist(),
            },
        }

    return {
        "input": term.input,
        "term": term.name,
        "span": term.span,
        "constant": list(term.constant),
        "values": {name: each(place) for place, name in enumerate(term.names)},
    }
