# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection found, and how it is shown on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from policy_core.errors import printable

_LONGEST, _SHOWN = 2000, 80
"""Characters: names of 60 joints are shown, what is longer has only its beginning shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """Several values of each of many things, such as joints: a row for each."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionReport:
    """What was found in a file or folder.

    Attributes:
        kind: What it is.
        path: Where it is.
        problems: Why the suite refuses it; empty for what can be used.
        suspicions: What a user should look at twice.
        values: For programs: numbers and names by keys that do not change. Of a bundle `contract`,
            which is its policy.yaml, of a set `set`; of other kinds what docs/model_tools.md lists.
        rows: For people: names and values.
        tables: For people: several values of each of many things, such as joints.
    """

    kind: str
    path: Path
    problems: list[str] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)

    def row(self, name: str, value: object) -> None:
        """Add a row; of a long text, as a robot's description in metadata is, only the size."""
        self.rows.append((name, _folded(str(value))))

    def hash(self, sha256: str) -> None:
        """Add the SHA-256 of the file."""
        self.values["sha256"] = sha256
        self.row("sha256", sha256)

    def suspect(self, text: str) -> None:
        """Add something suspicious."""
        self.suspicions.append(text)

    def refuse(self, text: str) -> None:
        """Add a reason why it cannot be used."""
        self.problems.append(text)


def _folded(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    whole = _as_written(text)
    lines, begin = whole.count("\n") + 1, " ".join(whole[:_SHOWN].split())
    return f"{begin} ... ({lines:,} lines, {len(whole):,} characters)"


def _as_written(text: str) -> str:
    """Return a text that is kept as JSON, with its own lines."""
    try:
        content = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return content if isinstance(content, str) else text


def report_text(report: InspectionReport) -> Iterator[Table | Text]:
    """Yield the report for the terminal: the verdict, tables, then what is suspicious."""
    yield Text.from_markup(_verdict(report))
    for text in report.problems:
        yield Text.from_markup(f"[red]refused[/red] {_plain(text)}")
    title = _plain(f"{report.kind}: {report.path}")
    if report.rows:
        table = Table(title=title, show_header=False, title_justify="left")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in report.rows:
            table.add_row(_plain(name), _plain(value))
        yield table
    else:
        yield Text.from_markup(title)
    for part in report.tables:
        yield Text.from_markup(f"[italic]{_plain(part.title)}[/italic]")
        yield _grid(part)
    for text in report.suspicions:
        yield Text.from_markup(f"[yellow]suspicious[/yellow] {_plain(text)}")


def _verdict(report: InspectionReport) -> str:
    suspicious = f"{len(report.suspicions) or 'nothing'} suspicious"
    if report.problems:
        return f"[red]not usable[/red]: {len(report.problems)} refused, {suspicious}"
    colour = "yellow" if report.suspicions else "green"
    return f"[{colour}]usable[/{colour}]: {suspicious}"


def _grid(part: ReportTable) -> Table:
    grid = Table()
    for name in part.header:
        grid.add_column(_plain(name), overflow="fold")
    for row in part.rows:
        grid.add_row(*map(_plain, row))
    return grid


def _plain(text: str) -> str:
    """Return a text of a file that may be anyone's, which changes neither style nor terminal."""
    return escape(printable(text))
