# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which runs there are, by group; each gives cases by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tools.digests.chunks import execute
from tools.digests.commands import command_line
from tools.digests.digest import Case
from tools.digests.every_term import every_term
from tools.digests.exchanges import exchange
from tools.digests.machine import shipped
from tools.digests.recorded import recorded
from tools.digests.walk import walk

Run = Callable[[Path], Iterator[tuple[str, Case]]]
"""Gets an empty folder of its own."""


def runs_of(group: str, recordings: Path | None) -> dict[str, Run]:
    """Return the runs of a group by name, the quickest first.

    Args:
        group: `suite`, `recordings` or `machine`.
        recordings: Folder of recordings, of that group.
    """
    if recordings is not None:
        data = recordings.resolve()
        return {"recorded": lambda folder: recorded(folder, data)}
    if group == "machine":
        return {"shipped": shipped}
    return {
        "tools": command_line,
        "service": exchange,
        "every_term": every_term,
        "walk": walk,
        "chunks": execute,
    }
