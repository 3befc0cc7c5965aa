# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A value of a foreign file that knows where it stands, so that what does not fit is named."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from model_tools.errors import ToolError
from policy_inference.bundle.schema import Found


@dataclass(frozen=True, slots=True)
class Node:
    """A value read from `file`; `key` is its place there, like `actions[0].scale`.

    Every method that reads raises ToolError where the value is of another kind.
    """

    file: str
    value: object
    key: str = ""

    def __getitem__(self, name: str) -> Node:
        """Return the value of a key that must be there."""
        found = self.mapping().get(name, _MISSING)
        if found is _MISSING:
            raise ToolError(f"{self.file}: {self._join(name)}: expected a value, found no such key")
        return Node(self.file, found, self._join(name))

    def get(self, name: str) -> Node | None:
        """Return the value of a key, None where it is absent or null."""
        found = self.mapping().get(name)
        return None if found is None else Node(self.file, found, self._join(name))

    def flag(self, name: str) -> bool:
        """Return whether a key is there and true."""
        return self.mapping().get(name) is True

    def boolean(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def section(self, name: str) -> list[Node]:
        """Return the entries of a list or mapping that are not null; none where it is absent."""
        found = self.get(name)
        if found is None:
            return []
        entries = found.elements() if isinstance(found.value, list) else [
            entry for _, entry in found.items()]
        return [entry for entry in entries if entry.value is not None]

    def items(self) -> list[tuple[str, Node]]:
        """Return the entries of a mapping in the file's order."""
        return [(name, Node(self.file, value, self._join(name)))
                for name, value in self.mapping().items()]

    def elements(self) -> list[Node]:
        """Return the elements of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Node(self.file, value, f"{self.key}[{i}]") for i, value in enumerate(self.value)]

    def mapping(self) -> dict[str, object]:
        """Return a mapping with text as keys."""
        if not isinstance(self.value, Mapping) or not all(isinstance(k, str) for k in self.value):
            raise self.wrong("a mapping with names as keys")
        return dict(self.value)

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self.value, str):
            raise self.wrong("text")
        return self.value

    def last_name(self) -> str:
        """Return `f` of a text like `package.module:f` or `package.module.f`."""
        return self.text().rpartition(":")[2].rpartition(".")[2]

    def texts(self) -> list[str]:
        """Return a list of texts."""
        return [element.text() for element in self.elements()]

    def number(self) -> float:
        """Return a finite number."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong("a number")
        # Not isfinite, which raises for whole numbers beyond the largest float.
        if not abs(value) <= sys.float_info.max:
            raise self.wrong("a finite number")
        return float(value)

    def positive(self) -> float:
        """Return a number above 0."""
        if self.number() <= 0.0:
            raise self.wrong("a number above 0")
        return self.number()

    def whole(self) -> int:
        """Return a whole number."""
        if not self.number().is_integer():
            raise self.wrong("a whole number")
        return int(self.number())

    def last_axis(self) -> int:
        """Return the size of the last axis of a shape."""
        sizes = [element.whole() for element in self.elements()]
        if not sizes or sizes[-1] < 1:
            raise self.wrong("a shape whose last axis has a size")
        return sizes[-1]

    def values(self) -> list[float]:
        """Return a number as a list of one, or a list of numbers."""
        return self.numbers() if isinstance(self.value, list) else [self.number()]

    def numbers(self, count: int | None = None, of: str = "values") -> list[float]:
        """Return a list of finite numbers, `count` of them."""
        values = [element.number() for element in self.elements()]
        if count is not None and len(values) != count:
            raise ToolError(f"{self.file}: {self.key}: expected {count} {of}, found {len(values)}")
        return values

    def wrong(self, expected: str) -> ToolError:
        """Return the error that says what stands here instead of `expected`."""
        place = f"{self.file}: {self.key}" if self.key else self.file
        return ToolError(f"{place}: expected {expected}, found {Found.of(self.value)}")

    def _join(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name


_MISSING = object()
