# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The way back: the versions of a bundle in the order in which they were activated.

One version per line, each once; what comes before the one in use is the way back, whatever
moment an activation was cut off at. One that comes again goes to the end in two steps, between
which it stands there twice: `settled` reads that by what is in use.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.durable import move_folder, switch_link, write_text
from policy_inference.bundle.contract import VERSION
from policy_inference.bundle.store import CURRENT, current_version, versions_of
from policy_inference.regular_file import read_at_most

FILE = "activations"
_LARGEST_BYTES = 1 << 20


def way_back(model: Path) -> list[str]:
    """Return the installed versions before the one in use, the nearest first.

    Raises:
        ToolError: The record is damaged.
        PolicyError: `current` is broken.
    """
    current, there = current_version(model), versions_of(model)
    if current is None:
        return []
    recorded = settled(recorded_in(model), current)
    before = recorded[:recorded.index(current)] if current in recorded else recorded
    return [version for version in reversed(before) if version in there]


def move_on(model: Path, version: str) -> None:
    """Put a version into use, after the one that is; what lay beyond that is forgotten.

    A record that is damaged is begun anew, and stays there under another name.
    """
    current = current_version(model)
    try:
        recorded = settled(recorded_in(model), current)
    except ToolError:
        _set_aside(model / FILE)
        recorded = []
    if current == version:
        return
    if current is not None:  # one that was linked by hand counts as activated
        recorded = recorded[:recorded.index(current)] if current in recorded else recorded
        recorded = [*recorded, current]
    # Of the first activation the link comes first: a record without a link means a lost one.
    if recorded:
        _write(model, [*recorded, version])
    switch_link(model / CURRENT, version)
    if not recorded or version in recorded:
        _write(model, [*(one for one in recorded if one != version), version])


def move_back(model: Path, version: str) -> None:
    """Put a version of the way back into use; the way on stays recorded until `move_on`."""
    forget(model, ())
    switch_link(model / CURRENT, version)


def forget(model: Path, versions: Sequence[str]) -> None:
    """Take versions out of the record, and settle it."""
    before = recorded_in(model)
    after = [one for one in settled(before, current_version(model)) if one not in versions]
    if after != before:
        _write(model, after)


def missing(model: Path) -> list[str]:
    """Return the versions that are recorded, and not installed any more."""
    there = versions_of(model)
    return [version for version in dict.fromkeys(recorded_in(model)) if version not in there]


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


def recorded_in(model: Path) -> list[str]:
    """Return the record as it stands; empty where there is none.

    Raises:
        ToolError: It is damaged.
    """
    file = model / FILE
    try:
        found = read_at_most(file, _LARGEST_BYTES).decode("utf-8").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(model, getattr(error, "strerror", None) or "other bytes") from error
    stranger = next((one for one in found if not re.fullmatch(VERSION, one)), None)
    if stranger is not None:
        raise _damaged(model, repr(stranger[:40]))
    return found


def _damaged(model: Path, found: str) -> ToolError:
    return ToolError(f"{model / FILE}: expected the versions that were in use, a line for each, "
                     f"found {found}; the way back is lost: choose a version with `model_tools "
                     f"activate {model.name} VERSION`, which keeps this file under another name")


def _set_aside(file: Path) -> None:
    move_folder(file, file.with_name(f"{file.name}.damaged.{secrets.token_hex(4)}"))


def _write(model: Path, versions: Sequence[str]) -> None:
    write_text(model / FILE, "".join(f"{version}\n" for version in versions))
