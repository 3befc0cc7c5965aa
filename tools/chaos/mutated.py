# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Process that runs the seeds with one fault in the code, inserted before the suite is imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_LIMIT_S = 1800


class _Loader(SourceFileLoader):
    """Loads a module from a given text instead of its file."""

    text: str

    def get_code(self, _: str) -> CodeType:
        code: CodeType = compile(self.text, self.path, "exec")
        return code


class _Finder:
    """Finds one module, and has it loaded from a given text."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def find_spec(
        self, name: str, path: Sequence[str] | None, _: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == self._name else None
        if spec is not None:
            spec.loader = loader = _Loader(name, str(spec.origin))
            loader.text = self._text
        return spec


def run_mutated(
    name: str, text: str, digests: Mapping[int, Sequence[str]], options: Mapping[str, Any]
) -> None:
    """Exit with 0 if the seeds hold despite a change to a module; otherwise with another status.

    Args:
        name: Name of the module.
        text: Changed source of the module.
        digests: For each seed, the digests of the correct code at equal intervals; empty if only
            invariants are to be checked.
        options: Fields of the seeds' `Options`.
    """
    signal.alarm(_LIMIT_S)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.meta_path.insert(0, _Finder(name, text))
    scenario = import_module("tools.chaos.scenario")
    for seed, expected in digests.items():
        if not scenario.holds(seed, scenario.Options(**options), expected):
            sys.exit(1)
