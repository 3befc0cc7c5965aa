# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the report on a comparison that all kinds of policies share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from rich.table import Table

from model_tools.files.html_page import panel, tag
from policy_inference.comparison.limits import Check

VERDICT = {True: "holds", False: "fails"}
WORDS = (
    "artifact",
    "graph",
    "back end",
    "precision",
    "on",
    "output",
    "limits",
    "walk",
    "worst",
    "joint",
    "command",
    "figure",
    "where",
    "",
)
"""Heads of columns that are no figures."""


def number(value: float) -> str:
    """Return a figure as tables show it; a dash where it could not be measured."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def new_table(*columns: str) -> Table:
    """Return an empty table for the terminal."""
    made = Table()
    for name in columns:
        made.add_column(name, justify="left" if name in WORDS else "right")
    return made


def verdict_cell(checks: Sequence[Check], words: Mapping[bool, str] = VERDICT) -> str:
    """Return whether limits hold, in colour, for the terminal."""
    if not checks:
        return "none"
    return f"[green]{words[True]}[/]" if all(checks) else f"[bold red]{words[False]}[/]"


def verdict_tag(holds: bool, words: Mapping[bool, str] = VERDICT) -> str:
    """Return whether limits hold, in colour, for a page."""
    return tag(words[holds], verdict_class(holds))


def verdict_class(holds: bool) -> str:
    """Return the style of what holds."""
    return "good" if holds else "bad"


def checks_panel(checks: Sequence[Check]) -> str:
    """Return limits and what was found, for a page."""
    rows = "".join(map(_check_row, checks))
    head = '<th>figure</th><th class="n">found</th><th class="n">limit</th><th>where</th><th></th>'
    return panel(f"<table><tr>{head}</tr>{rows}</table>")


def _check_row(check: Check) -> str:
    bad = "" if check else ' class="bad"'
    return (
        f'<tr><td{bad}>{escape(check.what)}</td><td class="n">{number(check.value)}</td>'
        f'<td class="n">{check.bound}</td><td>{escape(check.where)}</td>'
        f"<td>{verdict_tag(bool(check))}</td></tr>"
    )
