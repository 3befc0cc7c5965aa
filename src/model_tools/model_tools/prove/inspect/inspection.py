# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Result of an inspection, and its output on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from policy_store.report import Cell, Facts, Media, Note, Part, Report, Table, Tone, Verdict

_LONGEST, _SHOWN = 2000, 80
"""Maximum length of a text shown in full (60 joint names fit), and length to which a longer text is
cut.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionReport:
    """Result of inspecting a file or folder.

    Attributes:
        kind: Kind of file.
        path: Path of the file or folder.
        problems: Reasons that the suite refuses it; empty if it is usable.
        suspicions: Suspicious values that a user should check.
        values: For programs: numbers and names by stable keys. A bundle has `contract`, the content
            of its policy.yaml, and `scans`, by topic, with all points; a set has `set`; for other
            kinds see docs/model_tools.md.
        rows: For people: names and values.
        tables: For people: several values per item, such as joints.
    """

    kind: str
    path: Path
    problems: list[str] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    rows: list[tuple[str, Cell]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def row(self, name: str, value: object) -> None:
        """Add a row; a long text, such as a robot description, is replaced by its size."""
        self.rows.append((name, _folded(str(value))))

    def hash(self, sha256: str) -> None:
        self.values["sha256"] = sha256
        self.row("sha256", sha256)

    def tensors(
        self, by_kind: Mapping[str, Mapping[str, Any]], words: Callable[[Any], str]
    ) -> None:
        for kind, tensors in by_kind.items():
            self.values[f"{kind}s"] = tensors
            for name, tensor in tensors.items():
                self.row(kind, f"{name} {words(tensor)}")

    def suspect(self, text: str) -> None:
        self.suspicions.append(text)

    def refuse(self, text: str) -> None:
        self.problems.append(text)


def _folded(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    with suppress(ValueError):  # text with JSON keeps its lines
        text = json.loads(text) if text.startswith('"') else text
    lines, begin = text.count("\n") + 1, " ".join(text[:_SHOWN].split())
    return f"{begin} ... ({lines:,} lines, {len(text):,} characters)"


def write_inspection_page(report: InspectionReport, file: Path) -> None:
    """Write a report as an HTML page, with a top view of each height scan."""
    from model_tools.files.report_page import write_page
    from model_tools.files.report_plots import top_view

    scans: Any = report.values.get("scans", {})
    views = [
        Media(
            title=f"{topic}: points in the frame of the base, from above",
            content=top_view(scan["points_m"] + np.array(scan["origin_m"][:2])),
            mime="image/png",
        )
        for topic, scan in scans.items()
    ]
    parts = [*inspection_parts(report), *views]
    write_page(Report(title=f"{report.kind}: {report.path}", values={}, parts=parts), file)


def inspection_parts(report: InspectionReport) -> list[Part]:
    suspicious = f"{len(report.suspicions) or 'nothing'} suspicious"
    refused = f"{len(report.problems)} refused, " if report.problems else ""
    tone = Tone.BAD if report.problems else Tone.WARN if report.suspicions else Tone.GOOD
    word = "not usable" if report.problems else "usable"
    return [
        Note(Verdict(word, tone), f"{refused}{suspicious}"),
        *(Note(Verdict("refused", Tone.BAD), text) for text in report.problems),
        Facts(title=f"{report.kind}: {report.path}", rows=report.rows),
        *report.tables,
        *(Note(Verdict("suspicious", Tone.WARN), text) for text in report.suspicions),
    ]
