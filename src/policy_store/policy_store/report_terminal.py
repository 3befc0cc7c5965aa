# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show report parts on a terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from policy_core.errors import one_line, printable
from policy_store.report import (
    Cell,
    Facts,
    Note,
    Part,
    Section,
    Table,
    Tone,
    Verdict,
)
from policy_store.report import cell_text as shown

_WIDTH = 200
"""Width of a table in a file or pipe, so that a log has complete lines."""
_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "bold red"}


def print_parts(parts: Sequence[Part]) -> None:
    """Print the parts that a terminal can show."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for part in rendered(parts):
        # the terminal wraps the lines, so that commands in them can be copied whole
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def rendered(parts: Sequence[Part]) -> Iterator[RenderableType]:
    """Yield rich elements for the parts; control characters in texts are escaped."""
    for part in parts:
        if isinstance(part, str):
            yield Text(one_line(part))
        elif isinstance(part, Note):
            yield Text.assemble(_cell(part.verdict), ": ", one_line(part.text))
        elif isinstance(part, Facts):
            yield from _facts(part)
        elif isinstance(part, Table) and part.rows:
            yield from _heading(part.title)
            yield _table(part)
        elif isinstance(part, Section) and not part.is_folded:
            inside = list(rendered(part.parts))
            if inside:
                yield from (*_heading(part.title), *inside)


def _facts(part: Facts) -> Iterator[RenderableType]:
    title = Text(one_line(part.title), style="bold")
    if part.verdict is not None:
        title = Text.assemble(title, " ", _cell(part.verdict))
    if title.plain:
        yield title
    grid = Grid(show_header=False, box=None)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in part.rows:
        grid.add_row(one_line(name), _cell(value))
    yield grid


def _table(part: Table) -> Grid:
    grid = Grid(box=box.ROUNDED)
    for column, name in enumerate(part.header):
        justify = "right" if part.is_numeric(column) else "left"
        grid.add_column(Text(one_line(name)), justify=justify, overflow="fold")  # type: ignore[arg-type]  # a Literal
    for row in part.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _heading(title: str) -> Iterator[Text]:
    if title:
        yield Text(one_line(title), style="italic")


def _cell(cell: Cell) -> Text:
    style = _STYLES[cell.tone] if isinstance(cell, Verdict) else ""
    return Text(printable(shown(cell)), style=style)
