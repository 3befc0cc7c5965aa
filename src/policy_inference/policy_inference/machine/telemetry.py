# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry as plain text, whoever's package it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def read_safely(read: Callable[[], Mapping[str, str]]) -> tuple[dict[str, str], str]:
    """Read telemetry; whatever goes wrong meanwhile is told, not raised.

    Args:
        read: Reads values by name, with the unit in the name. It may be of somebody else's package,
            and return or raise anything.

    Returns:
        The values whose name and value are text, and what was wrong; empty where nothing was.
    """
    try:
        found = [*dict(read()).items()]
        plain = {key: value for key, value in found if _is_text(key) and _is_text(value)}
        odd = ", ".join(f"{key!r}: {value!r}" for key, value in found if key not in plain)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a robot must not depend on it
        return {}, f"{type(error).__name__}: {error}"
    return plain, f"expected plain texts, found {odd}" if odd else ""


def _is_text(value: object) -> bool:
    """Return whether it is text that a message can carry: half a surrogate pair cannot."""
    return type(value) is str and value.isprintable()
