# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every comparison shows and keeps: tables, figures as JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Protocol

from rich.table import Table

from model_tools.errors import ToolError
from model_tools.files.contract_text import keep_report
from model_tools.files.html_page import write_page
from model_tools.files.outputs import new_file
from model_tools.prove.comparison.chunk_report import ChunkReport
from model_tools.prove.comparison.compare import Compared
from model_tools.prove.comparison.joint_report import JointReport
from model_tools.prove.comparison.report_parts import checks_panel, verdict_tag
from policy_core.bundle.bundle import REPORT_FOLDER, Bundle, JointBundle, model_sha256
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_inference.comparison.plain_json import plain

DIGITS = 6


class ComparisonReport(Protocol):
    """What differs between kinds of policies in the report.

    Attributes:
        kind: What the figures call such policies; empty for joint policies.
        explanation: What the page says about the whole comparison.
    """

    kind: str
    explanation: str

    def tables(self, found: Sequence[Compared]) -> list[Table]:
        """Return the tables for the terminal."""

    def warnings(self, found: Sequence[Compared]) -> list[str]:
        """Return a line for each doubt that no limit expresses."""

    def figures(self, one: Compared) -> dict[str, Any]:
        """Return what was found of an artifact, for JSON."""

    def card(self, one: Compared) -> str:
        """Return the part of the page that shows an artifact at a glance."""

    def sections(self, found: Sequence[Compared]) -> Iterable[str]:
        """Yield the page's sections between the cards and the table of all limits."""


_REPORTS: Mapping[type[Bundle], ComparisonReport] = {
    JointBundle: JointReport(),
    ChunkBundle: ChunkReport(),
}


def report_of(found: Sequence[Compared]) -> ComparisonReport:
    """Return how a comparison is reported."""
    return _REPORTS[type(found[0].candidate.bundle)]


def failures(found: Sequence[Compared]) -> list[str]:
    """Return a line for each limit that does not hold: artifact, figure, where, limit."""
    return [f"{one.candidate.label}: {check}" for one in found for check in one.checks if not check]


def comparison_document(found: Sequence[Compared]) -> dict[str, Any]:
    """Return all figures in the types of JSON; what could not be measured is null."""
    report = report_of(found)
    document = {
        **({"kind": report.kind} if report.kind else {}),
        "reference": found[0].candidate.label,
        "artifacts": [report.figures(one) for one in found],
    }
    rounded: dict[str, Any] = plain(document, DIGITS)
    return rounded


def write_json(found: Sequence[Compared], file: Path) -> None:
    """Write all figures."""
    text = json.dumps(comparison_document(found), indent=1, allow_nan=False)
    file.write_text(f"{text}\n", "utf-8")


def write_html(found: Sequence[Compared], file: Path) -> None:
    """Write the page."""
    report, reference = report_of(found), found[0].candidate
    name, held = reference.bundle.contract.name, sum(map(bool, found))
    write_page(
        file,
        f"{name}: comparison",
        [
            f"<h1>{escape(name)}: {len(found)} artifacts compared</h1>",
            f"<p>{held} of {len(found)} hold their limits. The reference is "
            f"{escape(reference.label)}{report.explanation}</p>",
            f'<div class="cards">{"".join(map(report.card, found))}</div>',
            *report.sections(found),
            "<h2>All limits</h2>",
            *map(_limits, found),
        ],
    )


def _limits(one: Compared) -> str:
    return f"<h3>{escape(one.candidate.label)} {verdict_tag(bool(one))}</h3>" + checks_panel(
        one.checks
    )


def record(found: Sequence[Compared], *, force: bool) -> list[Path]:
    """Keep figures and page in the bundle of every artifact but the reference.

    Returns:
        The files with the figures.
    """
    others = [one.candidate for one in found[1:]]
    for one in others:
        if model_sha256(one.bundle.contract, one.backend) is None:
            raise ToolError(
                f"{one.bundle.path}: expected artifacts for {one.backend}, with which "
                "the report is kept, found none; compile them first"
            )
    kept = []
    for one in others:
        folder, name = one.bundle.path, f"comparison_{one.backend}"
        with new_file(folder / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_html(found, growing)
            kept.append(
                keep_report(
                    folder,
                    one.backend,
                    f"{name}.json",
                    partial(write_json, found),
                    sha256=one.sha256,
                    force=force,
                )
            )
    return kept
