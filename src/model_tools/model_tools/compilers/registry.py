# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compilers by name, found through the entry points of the group `model_tools.compilers`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from model_tools.compilers.base import Compiler
from model_tools.errors import ToolError

GROUP = "model_tools.compilers"


def available() -> dict[str, EntryPoint]:
    """Return the registered compilers by name.

    Raises:
        ToolError: Two installed packages register the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise ToolError(f"compiler {entry.name!r} is registered twice, by {_package(known)} "
                            f"and by {_package(entry)}; uninstall one of the packages")
    return found


def find_compiler(name: str) -> Compiler:
    """Return a compiler.

    Raises:
        ToolError: Unknown, registered twice, or its package does not load.
    """
    known = available()
    if name not in known:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise ToolError(f"expected an installed compiler ({installed}), found {name!r}")
    try:
        compiler: Compiler = known[name].load()()
    except (ImportError, AttributeError) as error:
        raise ToolError(f"{_package(known[name])} does not load: {error}; install a version of "
                        "the package that fits") from error
    return compiler


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
