# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compilers by name, found through the entry points of the group `model_tools.compilers`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from model_tools.compilers.base import Compiler
from model_tools.errors import ToolError
from policy_inference.entry_points import loaded, registered

GROUP = "model_tools.compilers"


def available() -> dict[str, EntryPoint]:
    """Return the registered compilers by name.

    Raises:
        ToolError: Two installed packages register the same name.
    """
    return registered(GROUP, "compiler", ToolError)


def find_compiler(name: str) -> Compiler:
    """Return a compiler.

    Raises:
        ToolError: Unknown, registered twice, or its package does not load.
    """
    known = available()
    if name not in known:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise ToolError(f"expected an installed compiler ({installed}), found {name!r}")
    compiler: Compiler = loaded(known[name], ToolError)()
    return compiler


def remedy(backend: str, precision: str) -> str:
    """Return what helps where an artifact does not hold its limits; empty where nobody knows."""
    for name in available():
        compiler = find_compiler(name)
        if backend in (compiler.backend, *getattr(compiler, "also_for", ())):
            remedies: Mapping[str, str] = getattr(compiler, "remedies", {})
            return remedies.get(precision, "")
    return ""
