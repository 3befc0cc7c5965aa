# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection found."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

_LONGEST, _SHOWN = 2000, 80
"""Characters: names of 60 joints are shown, what is longer has only its beginning shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """Several values of each of many things, such as joints: a row for each."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Rows of a table, further tables, and what a user should look at twice."""

    kind: str
    path: Path
    rows: list[tuple[str, str]] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)

    def row(self, name: str, value: object) -> None:
        """Add a row; of a long text, as a robot's description in metadata is, only the size."""
        self.rows.append((name, _folded(str(value))))

    def suspect(self, text: str) -> None:
        """Add something suspicious."""
        self.suspicions.append(text)


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
