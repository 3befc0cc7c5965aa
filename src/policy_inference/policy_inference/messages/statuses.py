# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check a status from another process before its use: known constants, parallel lists, sizes.

Any program may publish a status. Code behind this check may index constants and pair lists.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policy_core.errors import RobotError, plural

_LONGEST_LIST, _LONGEST_TEXT = 1000, 100_000
"""Largest number of entries of one list, and of characters in a whole status; real ones have less
than a hundredth. A screen that formats a longer one would no longer react to keys.
"""
LARGEST: Mapping[str, Mapping[str, int]] = {
    "PolicyStatus": {"mode": 6, "success": 2},
    "RobotStatus": {"state": 4},
}
"""Fields that hold a constant of the message definition, with the largest one, by message."""
_PARALLEL: Mapping[str, Mapping[str, Sequence[str]]] = {
    "RobotStatus": {"joint_names": ("temperature_c",)},
    "ShadowStatus": {"joints": ("mean", "rms", "max")},
}
"""Lists with one entry for each entry of another list, by message."""
_PARALLEL_OR_EMPTY: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ShadowStatus": {"joints": ("mean_steps", "rms_steps", "max_steps")},
}
_AT_MOST_ONE: Mapping[str, Sequence[str]] = {"PolicyStatus": ("shadow", "trial", "policy_set")}


def require_usable(status: Any) -> None:
    """Raise RobotError unless a PolicyStatus or RobotStatus follows its message definition."""
    kind = type(status).__name__
    for problem in _find_problems(kind, status):
        raise RobotError(f"{problem}; stop the node that publishes it, or update its packages")


def _find_problems(kind: str, status: Any) -> Iterator[str]:
    yield from _find_large(status)
    for name, largest in LARGEST[kind].items():
        if (value := getattr(status, name)) > largest:
            yield f"{name}: expected a constant from 0 to {largest}, found {value}"
    for name in _AT_MOST_ONE.get(kind, ()):
        if (count := len(getattr(status, name))) > 1:
            yield f"{name}: expected at most one entry, found {count}"
    yield from _find_uneven(status)
    if kind == "PolicyStatus":
        if not 0.0 <= status.authority <= 1.0:  # also for NaN
            yield f"authority: expected a number from 0 to 1, found {status.authority:g}"
        for shadow in status.shadow:
            yield from (f"shadow.{problem}" for problem in _find_uneven(shadow))
        for found in status.policy_set:
            if found.state not in found.states:
                yield "policy_set.state: expected one of policy_set.states, found another text"


def _find_uneven(message: Any) -> Iterator[str]:
    """Yield a problem for each list whose length differs from that of its names."""
    kind = type(message).__name__
    for table, may_be_empty in ((_PARALLEL, False), (_PARALLEL_OR_EMPTY, True)):
        for names, lists in table.get(kind, {}).items():
            expected = len(getattr(message, names))
            for name in lists:
                count = len(getattr(message, name))
                if count != expected and not (may_be_empty and count == 0):
                    yield (
                        f"{name}: expected {plural(expected, 'value')}, one per entry of {names}, "
                        f"found {count}"
                    )


def _find_large(status: Any) -> Iterator[str]:
    characters = 0
    for name, value in _walk("", status):
        if isinstance(value, str):
            characters += len(value)
        elif value > _LONGEST_LIST:
            yield f"{name}: expected at most {_LONGEST_LIST} entries, found {value}"
            return
        if characters > _LONGEST_TEXT:
            yield f"{name}: expected at most {_LONGEST_TEXT} characters in all texts, found more"
            return


def _walk(name: str, value: Any) -> Iterator[tuple[str, str | int]]:
    """Yield all texts in a message, and the length of each list before its entries."""
    if isinstance(value, str):
        yield name, value
    elif hasattr(value, "get_fields_and_field_types"):
        for field in value.get_fields_and_field_types():
            yield from _walk(f"{name}.{field}".lstrip("."), getattr(value, field))
    elif not isinstance(value, bool | int | float | bytes):
        yield name, len(value)
        for entry in value if isinstance(value, list) else ():
            yield from _walk(name, entry)
