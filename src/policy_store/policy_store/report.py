# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A tool's result as one value: numbers for programs; facts, tables and plots for people.

Renderers define layout and number formats: `Report.document` for JSON, `report_terminal` for a
terminal, `model_tools.files.report_page` for an HTML page.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Tone(enum.Enum):
    """Meaning of a word or of a line in a plot, shown by its color."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word with a tone, which determines its color."""

    text: str
    tone: Tone

    @staticmethod
    def of(holds: object, good: str = "holds", bad: str = "fails") -> Verdict:
        """Return the good or the bad word, with its tone."""
        return Verdict(good, Tone.GOOD) if holds else Verdict(bad, Tone.BAD)


Cell = str | float | Verdict | None
"""Table cell; numbers are shown with four digits, None and NaN as a dash."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line of text, such as a problem, that begins with a colored word."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values that describe one thing; shown as a card on a page.

    Attributes:
        title: Name of the thing.
        rows: Names and values, in order.
        verdict: The verdict, if there is one.
    """

    title: str
    rows: Sequence[tuple[str, Cell]]
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Table with one row per thing. Columns of numbers are right-aligned."""

    title: str = ""
    header: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]

    def is_numeric(self, column: int) -> bool:
        """Return True if a column contains only numbers and empty cells."""
        cells = [row[column] for row in self.rows]
        return not any(isinstance(cell, (str, Verdict)) for cell in cells)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """A series of values in a chart.

    Attributes:
        label: Label in the legend; "" for none.
        y: Values [points]; for a `violin`, counts [names, bins] from `low` to `high`.
        x: Positions [points]; None if the chart has names.
        kind: Style. A `range` goes from `low` to `high`.
        low, high: Ends of an interval around each value [points].
        tone: Tone of the color: PLAIN (grey) for expected values, BAD for a limit, None for a
            color of the series' own.
    """

    label: str = ""
    y: ArrayLike
    x: ArrayLike | None = None
    kind: Literal["line", "bar", "points", "range", "violin"] = "line"
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    tone: Tone | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chart:
    """A chart: series over a shared axis.

    Attributes:
        title: Title, with the unit of the values.
        series: The series, in drawing order.
        x_label: Label of the x axis, with its unit.
        names: Names on the axis, such as joints; empty if the axis has numbers.
        is_log: True if the value axis is logarithmic.
        spans: Start, end, name and tone of each shaded area.
        marks: Positions of vertical lines that mark events.
    """

    title: str
    series: Sequence[Series]
    x_label: str = ""
    names: Sequence[str] = ()
    is_log: bool = False
    spans: Sequence[tuple[float, float, str, Tone]] = ()
    marks: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plot:
    """Charts laid out in `columns` columns, row by row; shown on pages only."""

    charts: Sequence[Chart]
    columns: int = 1
    row_in: float = 2.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image or a video, with its MIME type; shown on pages only."""

    title: str
    content: bytes
    mime: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """Parts under a heading; folded sections are closed on a page, and omitted on a terminal."""

    title: str
    parts: Sequence[Part]
    is_folded: bool = False


Part = str | Note | Facts | Table | Plot | Media | Section


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """A tool's result, for programs and for people.

    Attributes:
        title: Page title.
        values: Values for programs.
        parts: Parts for people.
        digits: Number of significant digits in JSON.
    """

    title: str
    values: Mapping[str, Any]
    parts: Sequence[Part]
    digits: int = 6

    @property
    def document(self) -> dict[str, Any]:
        """The values as JSON types; values that were not measured are null."""
        document: dict[str, Any] = plain(self.values, self.digits)
        return document

    def write_json(self, file: Path) -> None:
        """Write the values to a JSON file."""
        text = json.dumps(self.document, indent=1, allow_nan=False)
        file.write_text(f"{text}\n", "utf-8")


def plain(value: Any, digits: int = 17) -> Any:
    """Return a value as JSON types, with rounded numbers; null for NaN and infinite numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name), digits) for field in fields}
    if isinstance(value, Mapping):
        return {str(name): plain(entry, digits) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, digits) for entry in value]
    if hasattr(value, "tolist"):  # a numpy array or number
        return plain(value.tolist(), digits)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def cell_text(cell: Cell) -> str:
    """Return the text that a table cell shows."""
    if isinstance(cell, Verdict):
        return cell.text
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def checks_table(checks: Iterable[Any], title: str = "") -> Table:
    """Return a table of figures (each a `comparison.limits.Check`) with limits and verdicts."""
    return Table(
        title=title,
        header=("figure", "found", "limit", "where", "verdict"),
        rows=[(one.what, one.value, one.bound, one.where, Verdict.of(one)) for one in checks],
    )
