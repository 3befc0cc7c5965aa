# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The errors of this package for input that its user can correct, and words for them."""

from collections.abc import Iterable

from policy_core.errors import PolicyError


class ToolError(PolicyError):
    """Input that a tool cannot use: says where, expected, found and the remedy."""


class VerdictError(ToolError):
    """What was judged does not pass, so nothing was written: says why, and what would pass."""

    exit_status = 1


class UnfinishedError(ToolError):
    """What can be done here is done, and the rest is for another machine: says what, and how."""

    exit_status = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listed(entries: Iterable[object], most: int, separator: str = ", ") -> str:
    """Return the first entries in a line, and how many more there are."""
    texts = list(map(str, entries))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more
