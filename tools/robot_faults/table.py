# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The endings as a page for the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tools.robot_faults.trial import Ending


def page(introduction: str, titles: Mapping[str, str], endings: Sequence[Ending]) -> str:
    """Return all endings in Markdown.

    Args:
        introduction: What comes first.
        titles: Of the table of each group, in this order.
        endings: One for each row.
    """
    parts = [introduction]
    for group, title in titles.items():
        rows = [ending for ending in endings if ending.group == group]
        if rows:
            parts.append(f"## {title}\n\n{_table(rows, damped=group != 'start')}\n")
    return "\n".join(parts)


def verdict(endings: Sequence[Ending]) -> str:
    """Return in one line whether all ended as they should."""
    wrong = [ending.what for ending in endings if not ending.as_wanted]
    return (
        f"{len(wrong)} of {len(endings)} did not end as they should: {'; '.join(wrong)}"
        if wrong
        else f"all {len(endings)} ended as they should"
    )


def _table(rows: Sequence[Ending], *, damped: bool) -> str:
    head = ["what", "how it ended", *(["damped after, ms"] if damped else [])]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        ended = row.ended if row.as_wanted else f"**{row.ended}**"
        time_ms = "-" if row.damped_ms is None else f"{row.damped_ms:.0f}"
        lines.append(_line([row.what, ended, *([time_ms] if damped else [])]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"
