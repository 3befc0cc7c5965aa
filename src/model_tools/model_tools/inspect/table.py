# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_tools.inspect.report import Report, ReportTable


def show(report: Report) -> None:
    """Print the report: a table, then what is suspicious."""
    console = Console()
    table = Table(title=escape(f"{report.kind}: {report.path}"), show_header=False,
                  title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in report.rows:
        table.add_row(escape(name), escape(value))
    console.print(table if report.rows else table.title)
    for part in report.tables:
        console.print(f"[italic]{escape(part.title)}[/italic]", highlight=False, soft_wrap=True)
        console.print(_grid(part))
    for text in report.suspicions:
        # Left to the terminal to wrap, so that commands in it can be copied.
        console.print(f"[yellow]suspicious[/yellow] {escape(text)}", highlight=False,
                      soft_wrap=True)
    if not report.suspicions:
        console.print("[green]nothing suspicious[/green]")


def _grid(part: ReportTable) -> Table:
    grid = Table()
    for name in part.header:
        grid.add_column(escape(name), overflow="fold")
    for row in part.rows:
        grid.add_row(*map(escape, row))
    return grid
