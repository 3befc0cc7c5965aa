# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which core ticks in tests: Python, or C++."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from policy_core.control.controller import Controller
from policy_core.interfaces import Backend
from policy_core.native_controller import NativeController

_native = False


def use_native(native: bool) -> None:
    """Have what `maker` returns from now on tick in C++, or in Python."""
    global _native  # tests make controllers in many places
    _native = native


def maker(models: Mapping[str, Backend]) -> Callable[..., Controller]:
    """Return what makes a controller on the core in use."""
    if not _native:
        return Controller
    return partial(NativeController, models=models, sha256=bytes(32))
