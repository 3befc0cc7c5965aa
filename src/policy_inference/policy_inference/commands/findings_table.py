# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Findings as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from policy_inference.machine.finding import Finding, Verdict

_MARKS = {Verdict.OK: "ok", Verdict.WARNING: "warning", Verdict.ERROR: "ERROR"}
_NARROWEST, _USUAL = 40, 120


def table(groups: Mapping[str, Sequence[Finding]]) -> str:
    """Return a heading for each group, a line for each finding, and its remedy below."""
    names = [finding.name for findings in groups.values() for finding in findings]
    width = max(map(len, names), default=0)
    return "\n".join(
        line for group, findings in groups.items() for line in (group, *_lines(findings, width), "")
    )


def _lines(findings: Sequence[Finding], width: int) -> Iterator[str]:
    for finding in findings:
        start = f"  {_MARKS[finding.verdict]:<8} {finding.name:<{width}}  "
        yield from _wrapped(start, finding.found)
        if finding.remedy:
            yield from _wrapped(" " * (len(start) - 3) + "-> ", finding.remedy)


def _wrapped(start: str, text: str) -> list[str]:
    """Return lines that all begin where the first does; words, such as paths, stay whole."""
    columns = max(shutil.get_terminal_size((_USUAL, 24)).columns, len(start) + _NARROWEST)
    return textwrap.wrap(
        " ".join(text.split()),
        columns,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start]
