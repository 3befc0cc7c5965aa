# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Remove versions that nobody goes back to, and what killed installers left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.activations import forget, way_back
from model_tools.installing.durable import NO_ROOM, hidden, move_folder, remove, writing
from model_tools.installing.lock import is_locked, locked
from model_tools.installing.models import leftovers, model_folder
from policy_inference.bundle.record import read_record
from policy_inference.bundle.store import current_version, versions_of
from policy_inference.errors import BundleError

STEPS_BACK = 2
"""Versions of the way back that always stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What may go.

    Attributes:
        versions: Folders of versions.
        leftovers: Of installers that were killed.
    """

    versions: list[Path]
    leftovers: list[Path]


def surplus(root: Path, name: str, keep: int) -> Surplus:
    """Return what `prune` would remove.

    Args:
        root: Folder of all installed bundles.
        name: Of the bundle.
        keep: How many versions stay, those that were installed last; the one in use and the
            two before it stay in any case.

    Raises:
        ToolError: It is not installed, or `keep` is below 0.
        PolicyError: `current` is broken.
    """
    model = model_folder(root, name)
    found = _surplus(model, keep)
    return Surplus(versions=found.versions, leftovers=[]) if is_locked(model) else found


def prune(root: Path, name: str, keep: int) -> Surplus:
    """Remove what `surplus` returns, and return it.

    A version loses its name first: none is ever there in part.

    Raises:
        ToolError: As `surplus`; another installer is at work, or the root cannot be written.
        PolicyError: `current` is broken.
    """
    model = model_folder(root, name)
    with writing(root), locked(model):
        found = _surplus(model, keep)
        for leftover in found.leftovers:
            remove(leftover)
        gone = [folder.name for folder in found.versions]
        forgotten = _forgotten(model, gone)
        for folder in found.versions:
            place = folder.with_name(hidden(folder.name))
            move_folder(folder, place)
            remove(place)
        if not forgotten:
            forget(model, gone)
    return found


def _forgotten(model: Path, versions: Sequence[str]) -> bool:
    """Take versions out of the record; on a full disk that must wait until they are gone.

    A version that is recorded and not there is no way back.
    """
    try:
        forget(model, versions)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return False
    return True


def _surplus(model: Path, keep: int) -> Surplus:
    if keep < 0:
        raise ToolError(f"--keep: expected 0 or more versions, found {keep}")
    versions = sorted(versions_of(model), key=lambda version: _installed_time(model / version))
    kept = {current_version(model), *way_back(model)[:STEPS_BACK], *versions[len(versions) - keep:]}
    return Surplus(versions=[model / one for one in versions if one not in kept],
                   leftovers=leftovers(model))


def _installed_time(folder: Path) -> str:
    """Return ISO 8601 in UTC, which sorts by time; the earliest where the record is broken."""
    try:
        return str(read_record(folder)["installed_time"])
    except BundleError:
        return ""
