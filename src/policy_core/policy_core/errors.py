# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of this suite that a user may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_LINES = 200
"""Maximum number of lines in a `BundleError` message."""
_LONGEST = 600
"""Maximum length of one part of a problem; a malicious file can have names of any length."""


class PolicyError(Exception):
    """Base of all errors whose cause is outside this code: a file, a device, a robot.

    Each argument is one line of the message. Untrusted names in it make no line of their own: line
    breaks within an argument are escaped.
    """

    exit_status = 4
    """Exit status of a command that fails with this error (0: success, 1: verdict, 2: usage)."""

    def __str__(self) -> str:
        """Return the lines, safe to print on a terminal."""
        return "\n".join(one_line(str(line)) for line in self.args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem in a bundle: location, expected value, found value, remedy."""

    file: str
    key: str = ""
    expected: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the problem as one line that is safe to print on a terminal."""
        file = one_line(self.file)
        place = f"{file}: {shown(self.key)}" if self.key else file
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: expected {shown(self.expected)}, found {shown(self.found)}{remedy}"


class BundleError(PolicyError):
    """A bundle that cannot be used; `problems` lists every problem, in file order."""

    def __init__(self, *problems: Problem) -> None:
        """Join the problems into a message, one line each, up to `MOST_LINES`."""
        self.problems = problems
        lines = [str(problem) for problem in problems[:MOST_LINES]]
        if len(problems) > MOST_LINES:
            lines.append(f"and {len(problems) - MOST_LINES} more")
        super().__init__(*lines)

    def __reduce__(self) -> tuple[type[BundleError], tuple[Problem, ...]]:
        """Pickle the error with its problems, for another process."""
        return BundleError, self.problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a spelling suggestion to append to a message; "" if no known word is close."""
    from difflib import get_close_matches  # only an error needs it

    names = sorted(known)
    close = [one for one in names if one.startswith(f"{word} ")]
    close = close or get_close_matches(word, names, n=1)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as 1 row or 2 rows."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return untrusted text in a form that is safe to print on a terminal.

    Line breaks are kept; other nonprintable characters, such as terminal control characters, are
    escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: str) -> str:
    """Return an untrusted name or path as one line; like `printable`, without line breaks."""
    return printable(text).replace("\n", r"\n")


def shown(text: str) -> str:
    """Return untrusted text as one line of at most 600 characters."""
    return one_line(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


class BackendError(PolicyError):
    """A back end that is unknown, cannot be opened, or failed while running."""


class LateRunError(BackendError):
    """A model run that exceeded its time limit."""


class NoTargetError(PolicyError):
    """The policy has no target for this tick; it may have one in a later tick."""


class RobotError(PolicyError):
    """Robot messages that do not match the contract: missing joints, wrong sizes, no velocity."""


class RefusedError(PolicyError):
    """A requested mode change that the robot's state does not allow."""
