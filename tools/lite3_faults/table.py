# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The endings as a page for the docs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tools.lite3_faults.trial import Ending

TITLES = {
    "robot": "The robot and its sensors",
    "network": "The network and the motion host",
    "processes": "Processes that end or hang",
    "people": "What people ask for",
    "start": "Before control is taken",
}
_INTRODUCTION = """# What went wrong with an emulated Lite3, on purpose

Made by `python -m tools.lite3_faults`. A robot behind an emulated motion host (`lite3_emulator`)
walks at 0.5 m/s under `lite3_walk`, through the driver, over UDP and DDS, in real time; then one
thing goes wrong. *Damped after* is the time from the beginning of the fault to the moment in which
the emulated host has nothing but damping for its drives; the host's watchdog is 1 s. Bold is what
did not end as it should. Faults are named as in the emulator's parameter `faults`:
`python -m pydoc robot_sim.host_faults`, `python -m pydoc robot_sim.faults`.

An emulator is no robot: [lite3.md](lite3.md#what-is-not-verified).
"""


def page(endings: Sequence[Ending]) -> str:
    """Return all endings in Markdown, a table for each group."""
    parts = [_INTRODUCTION]
    for group, title in TITLES.items():
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
