# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Patterns of joint names: the regular part of regular expressions, matched in bounded time.

Python's `re` tries one way after another, so that `(a+)+$` against a name of 30 letters takes
minutes, during which no other thread runs. This follows all ways at once: the time of a match is
at most the length of the pattern times that of the name.

Known are literal characters, `.`, `[...]` and `[^...]` with ranges, `\d`, `\w`, `\` before a
special character, groups `(a|b)`, and `*`, `+`, `?`. `^` at the begin and `$` at the end change
nothing, since a pattern matches a whole name.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

LONGEST = 128
"""Characters of a pattern, and of a name."""
DEEPEST = 16
"""Groups in groups."""
_MOST_STEPS = 1024
_REPETITIONS = ("*", "+", "?")
SPECIAL = frozenset("\\.[](){}*+?|^$")
_CLASSES = {
    "d": frozenset(string.digits),
    "w": frozenset(string.ascii_letters + string.digits + "_"),
}
_Test = Callable[[str], bool]


class PatternError(ValueError):
    """It is no pattern: its text says why."""


class _Part(NamedTuple):
    """Part of a pattern: places, as bits, where a text of it may begin and end."""

    first: int
    last: int
    may_be_empty: bool


class NamePattern:
    """A pattern that is matched against whole names.

    It is Glushkov's automaton: a place for each character that the pattern states, and for each
    place those that may come next. Sets of places are whole numbers, a bit each.
    """

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            PatternError: It is none.
        """
        if len(text) > LONGEST:
            raise PatternError(f"more than {LONGEST} characters")
        self._text, self._at, self._depth = text.removeprefix("^"), 0, 0
        self._tests: list[_Test] = []
        self._next_places: list[int] = []
        self._whole = self._choice()
        if self._at < len(self._text):
            raise PatternError(f"a {self._text[self._at]!r} without one before that it closes")
        # What was found out of names before: most have a begin or an end in common.
        self._steps: dict[tuple[int, str], tuple[int, int]] = {}

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches all of a name; none longer than `LONGEST`."""
        if len(name) > LONGEST:
            return False
        if not name:
            return self._whole.may_be_empty
        reached, following = 0, self._whole.first
        for character in name:
            step = self._steps.get((following, character))
            if step is None:
                step = self._step(following, character)
                if len(self._steps) < _MOST_STEPS:
                    self._steps[following, character] = step
            reached, following = step
        return bool(reached & self._whole.last)

    def _step(self, places: int, character: str) -> tuple[int, int]:
        """Return the places that take a character, and those that may come after them."""
        reached = following = 0
        for place in _bits(places):
            if self._tests[place](character):
                reached |= 1 << place
                following |= self._next_places[place]
        return reached, following

    def _choice(self) -> _Part:
        """Read `a|b`."""
        whole = self._sequence()
        while self._next() == "|":
            self._at += 1
            other = self._sequence()
            whole = _Part(
                whole.first | other.first,
                whole.last | other.last,
                whole.may_be_empty or other.may_be_empty,
            )
        return whole

    def _sequence(self) -> _Part:
        whole = _Part(0, 0, True)
        while self._next() not in ("", "|", ")"):
            if self._text[self._at :] == "$":
                self._at += 1
                break
            part = self._repeated()
            self._lead(whole.last, part.first)
            whole = _Part(
                whole.first | (part.first if whole.may_be_empty else 0),
                part.last | (whole.last if part.may_be_empty else 0),
                whole.may_be_empty and part.may_be_empty,
            )
        return whole

    def _repeated(self) -> _Part:
        part, sign = self._one(), self._next()
        if sign not in _REPETITIONS:
            return part
        self._at += 1
        if sign != "?":
            self._lead(part.last, part.first)
        return part._replace(may_be_empty=part.may_be_empty or sign != "+")

    def _lead(self, places: int, to: int) -> None:
        for place in _bits(places):
            self._next_places[place] |= to

    def _one(self) -> _Part:
        sign = self._take()
        if sign == "(":
            return self._group()
        if sign == ".":
            return self._character(lambda character: character != "\n")
        if sign == "[":
            return self._character(self._class())
        if sign == "\\":
            return self._character(self._escaped().__contains__)
        if sign in SPECIAL:
            raise PatternError(f"{sign!r} where it means nothing")
        return self._character(sign.__eq__)

    def _group(self) -> _Part:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._next() == "?":
            raise PatternError(f"the group {self._text[self._at - 1 : self._at + 2]!r}")
        self._depth += 1
        if self._depth > DEEPEST:
            raise PatternError(f"more than {DEEPEST} groups in each other")
        inside = self._choice()
        self._depth -= 1
        if self._next() != ")":
            raise PatternError("a group that does not end")
        self._at += 1
        return inside

    def _character(self, test: _Test) -> _Part:
        self._tests.append(test)
        self._next_places.append(0)
        place = 1 << len(self._tests) - 1
        return _Part(place, place, False)

    def _class(self) -> _Test:
        """Read the rest of `[...]`."""
        negated = self._next() == "^"
        self._at += negated
        members, ranges = set[str](), list[tuple[str, str]]()
        while (sign := self._take(of="a class")) != "]":
            several = self._escaped() if sign == "\\" else frozenset(sign)
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                last = self._take()
                if len(several) != 1 or last in "\\[" or last < min(several):
                    raise PatternError(f"the range {sign}-{last}")
                ranges.append((min(several), last))
            else:
                members |= several
        if not members and not ranges:
            raise PatternError("a class without characters")
        return lambda character: (
            negated
            != (character in members or any(low <= character <= high for low, high in ranges))
        )

    def _escaped(self) -> frozenset[str]:
        sign = self._take(of="an escape")
        if sign.isalnum() and sign not in _CLASSES:
            raise PatternError(f"'\\{sign}'")
        return _CLASSES.get(sign, frozenset(sign))

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, of: str = "a pattern") -> str:
        if not (sign := self._next()):
            raise PatternError(f"{of} that does not end")
        self._at += 1
        return sign


def _bits(places: int) -> Iterator[int]:
    while places:
        lowest = places & -places
        yield lowest.bit_length() - 1
        places ^= lowest
