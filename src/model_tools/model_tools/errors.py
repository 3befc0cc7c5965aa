# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Errors for input that the user can correct, and helpers for their messages."""

from collections.abc import Iterable

from policy_core.errors import PolicyError


class ToolError(PolicyError):
    """Input that a tool cannot use; states the location, what was expected, and the remedy."""


class VerdictError(ToolError):
    """A failed check, after which nothing is written; states the reasons and the remedy."""

    exit_status = 1


class UnfinishedError(ToolError):
    """Work that another machine must finish; states the remaining steps."""

    exit_status = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listed(entries: Iterable[object], most: int, separator: str = ", ") -> str:
    """Return the first entries on one line, followed by the number of remaining entries."""
    texts = list(map(str, entries))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more
