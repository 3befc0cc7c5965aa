# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at what classes of the suite do in any test, from when their module is imported on."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Container
from typing import Any

_waiting: list[tuple[str, Callable[[], None]]] = []


def when_imported(module: str, act: Callable[[], None]) -> None:
    """Act once before the first test that finds a module imported; most tests need few."""
    _waiting.append((module, act))


def act_on_imported() -> None:
    """Do what waited for modules that are imported by now."""
    found = [each for each in _waiting if each[0] in sys.modules]
    _waiting[:] = [each for each in _waiting if each not in found]
    for _, act in found:
        act()


def wrap(
    kind: type[Any], name: str, around: Callable[..., Any], known: Container[Any] | None = None
) -> None:
    """Have `around(real, object, ...)` called instead of a method.

    Args:
        kind: Class with that method.
        name: Of the method.
        around: Calls `real(object, ...)`.
        known: Of other objects the method is called as it is.
    """
    real = getattr(kind, name)

    @functools.wraps(real)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        if known is not None and self not in known:
            return real(self, *args, **named)
        return around(real, self, *args, **named)

    setattr(kind, name, call)


def replace(module: str, name: str, around: Callable[..., Any]) -> None:
    """Have `around(real, ...)` called instead of a function, also where it is imported."""
    real = getattr(sys.modules[module], name)

    @functools.wraps(real)
    def call(*args: Any, **named: Any) -> Any:
        return around(real, *args, **named)

    for each in [*sys.modules.values()]:
        if getattr(each, name, None) is real:
            setattr(each, name, call)
