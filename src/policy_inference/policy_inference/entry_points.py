# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What installed packages register by name, such as back ends and compilers."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from policy_core.errors import PolicyError


def registered(group: str, kind: str, error: type[PolicyError]) -> dict[str, metadata.EntryPoint]:
    """Return the entry points of a group by name.

    Args:
        group: Name of the group.
        kind: What one of them is called in messages.
        error: What to raise.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise error(
                f"{kind} {entry.name!r} is registered twice, by {_package(known)} and by "
                f"{_package(entry)}; uninstall one of the packages"
            )
    return found


def loaded(entry: metadata.EntryPoint, error: type[PolicyError]) -> Any:
    """Import what an entry point names."""
    try:
        return entry.load()
    except (Exception, SystemExit) as cause:  # a module of another package may raise anything
        what = f"{type(cause).__name__}: {cause}"
        raise error(
            f"{_package(entry)} does not load: {what}; install a version of the package that fits"
        ) from cause


def _package(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
