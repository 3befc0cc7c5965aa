# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a device tells of its load, read so that a fault of its package disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def read_safely(read: Callable[[], Mapping[str, str]]) -> tuple[dict[str, str], str]:
    """Return what a device tells, and what was wrong with it; empty where nothing was.

    Args:
        read: Such as `BackendBase.telemetry`; what is not text by text is left out.
    """
    try:
        told: dict[Any, Any] = dict(read())
    except Exception as error:  # noqa: BLE001  # of somebody's package; a robot depends on us
        return {}, f"telemetry: {type(error).__name__}: {error}"
    found = {name: value for name, value in told.items()
             if isinstance(name, str) and isinstance(value, str)}
    strangers = ", ".join(f"{name}: {type(told[name]).__name__}"
                          for name in told if name not in found)
    return found, strangers and f"telemetry: expected texts by name, found {strangers}"
