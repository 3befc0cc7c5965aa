# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one family of errors that a user of the suite meets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_LINES = 200
"""Of the message of a `BundleError`."""
_LONGEST = 600
"""Characters of a part of a problem: a hostile file has names of a million."""


class PolicyError(Exception):
    """Base of every error that has a cause outside this code: a file, a device, a robot."""

    exit_status = 4
    """Of a command that ends with it. Others: 0 done, 1 a verdict, 2 wrong arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a bundle: where, what was expected, what was found, what to do."""

    file: str
    key: str = ""
    expected: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the problem as one line that a terminal shows as it is."""
        place = f"{self.file}: {shown(self.key)}" if self.key else self.file
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: expected {shown(self.expected)}, found {shown(self.found)}{remedy}"


class BundleError(PolicyError):
    """A bundle cannot be used; `problems` holds everything that is wrong, in file order."""

    def __init__(self, *problems: Problem) -> None:
        """Join the problems to a message of one line each; of very many it has the first."""
        self.problems = problems
        lines = [str(problem) for problem in problems[:MOST_LINES]]
        if len(problems) > MOST_LINES:
            lines.append(f"and {len(problems) - MOST_LINES} more")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[BundleError], tuple[Problem, ...]]:
        """Keep the problems where the error crosses to another process."""
        return BundleError, self.problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return what was meant perhaps, as the end of a message; empty where nothing is near."""
    from difflib import get_close_matches  # only an error needs it

    names = sorted(known)
    close = [one for one in names if one.startswith(f"{word} ")]
    close = close or get_close_matches(word, names, n=1)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def printable(text: str) -> str:
    """Return a text that a file or another machine may have chosen, as a terminal may show it.

    Lines stay; other characters that cannot be printed, such as those that command a terminal,
    become escapes.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def shown(text: str) -> str:
    """Return a text that a file or another machine may have chosen, in one line of 600 characters.

    As `printable`, and line ends become escapes too.
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return printable(cut).replace("\n", r"\n")


class BackendError(PolicyError):
    """A backend is unknown, cannot be opened, or failed while it ran."""


class LateRunError(BackendError):
    """A run of a model took longer than it may."""


class NoTargetError(PolicyError):
    """A policy has no target for this tick, and may have one again later."""


class RobotError(PolicyError):
    """The robot's messages do not fit the contract: missing joints, sizes, no velocity."""


class RefusedError(PolicyError):
    """A change of mode was asked for that the robot's state does not allow."""
