# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The way back: the versions of a bundle in the order in which they were activated.

One version per line, each once; what comes before the one in use is the way back, whatever
moment an activation was cut off at. One that comes again goes to the end in two steps, between
which it stands there twice: `settled` reads that by what is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model_tools.installing.durable import switch_link, write_text
from policy_inference.bundle.store import CURRENT, current_version, versions_of

FILE = "activations"


def way_back(model: Path) -> list[str]:
    """Return the installed versions before the one in use, the nearest first."""
    current, there = current_version(model), versions_of(model)
    if current is None:
        return []
    recorded = settled(_recorded(model), current)
    before = recorded[:recorded.index(current)] if current in recorded else recorded
    return [version for version in reversed(before) if version in there]


def move_on(model: Path, version: str) -> None:
    """Put a version into use, after the one that is; what lay beyond that is forgotten."""
    current = current_version(model)
    if current == version:
        return
    recorded = settled(_recorded(model), current)
    if current is not None:  # one that was linked by hand counts as activated
        recorded = recorded[:recorded.index(current)] if current in recorded else recorded
        recorded = [*recorded, current]
    _write(model, [*recorded, version])
    switch_link(model / CURRENT, version)
    if version in recorded:
        _write(model, [*(one for one in recorded if one != version), version])


def move_back(model: Path, version: str) -> None:
    """Put a version of the way back into use; the way on stays recorded until `move_on`."""
    forget(model, ())
    switch_link(model / CURRENT, version)


def forget(model: Path, versions: Sequence[str]) -> None:
    """Take versions out of the record, and settle it."""
    before = _recorded(model)
    after = [one for one in settled(before, current_version(model)) if one not in versions]
    if after != before:
        _write(model, after)


def missing(model: Path) -> list[str]:
    """Return the versions that are recorded, and not installed any more."""
    there = versions_of(model)
    return [version for version in dict.fromkeys(_recorded(model)) if version not in there]


def settled(recorded: Sequence[str], current: str | None) -> list[str]:
    """Return the record without a version that stands there twice.

    Args:
        recorded: Versions; only the last one may have come before.
        current: The one in use, which tells whether that last activation took place.
    """
    *before, last = recorded or ("",)
    if last not in before:
        return list(recorded)
    return [one for one in before if one != last] + [last] if current == last else before


def _recorded(model: Path) -> list[str]:
    file = model / FILE
    return file.read_text("utf-8").split() if file.is_file() else []


def _write(model: Path, versions: Sequence[str]) -> None:
    write_text(model / FILE, "".join(f"{version}\n" for version in versions))
