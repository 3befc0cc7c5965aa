# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values from foreign YAML and JSON files, read as data, each with its location."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model_tools.errors import ToolError
from policy_core.bundle.bounded_yaml import LARGEST_BYTES, StrictLoader, YamlError, load_text
from policy_core.bundle.schema import Found
from policy_core.safe_files import read_at_most

_LARGEST_JSON_BYTES = 1 << 25
_MISSING = object()
_TUPLE = "tag:yaml.org,2002:python/tuple"
_SLICE = "tag:yaml.org,2002:python/object/apply:builtins.slice"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Node:
    """A value read from `file`; `key` is its location, such as `actions[0].scale`.

    Every reading method raises ToolError for a value of the wrong type.
    """

    file: str
    value: object
    key: str = ""

    def __getitem__(self, name: str) -> Node:
        """Return the value of a required key."""
        found = self.mapping().get(name, _MISSING)
        if found is _MISSING:
            raise ToolError(f"{self.file}: {self._join(name)}: expected a value, found no such key")
        return Node(self.file, found, self._join(name))

    def get(self, name: str) -> Node | None:
        """Return the value of a key; None if absent or null."""
        found = self.mapping().get(name)
        return None if found is None else Node(self.file, found, self._join(name))

    def flag(self, name: str) -> bool:
        """Return whether a key is present and true."""
        return self.mapping().get(name) is True

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def section(self, name: str) -> list[Node]:
        """Return the non-null entries of a key's list or mapping; empty if the key is absent."""
        found = self.get(name)
        if found is None:
            return []
        entries = (
            found.elements()
            if isinstance(found.value, list)
            else [entry for _, entry in found.items()]
        )
        return [entry for entry in entries if entry.value is not None]

    def items(self) -> list[tuple[str, Node]]:
        """Return the entries of a mapping in the order of the file."""
        return [
            (name, Node(self.file, value, self._join(name)))
            for name, value in self.mapping().items()
        ]

    def elements(self) -> list[Node]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Node(self.file, value, f"{self.key}[{i}]") for i, value in enumerate(self.value)]

    def mapping(self) -> dict[str, object]:
        """Return the value as a mapping, whose keys must all be text."""
        if not isinstance(self.value, Mapping) or not all(isinstance(k, str) for k in self.value):
            raise self.wrong("a mapping with names as keys")
        return dict(self.value)

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong("text")
        return self.value

    def json(self) -> Node:
        """Return the value of a string that contains JSON."""
        try:
            return Node(self.file, json.loads(self.text()), self.key)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"JSON ({error})") from error

    def last_name(self) -> str:
        """Return `f` for a string such as `package.module:f` or `package.module.f`."""
        return self.text().rpartition(":")[2].rpartition(".")[2]

    def texts(self) -> list[str]:
        return [element.text() for element in self.elements()]

    def number(self) -> float:
        """Return the value as a finite number."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong("a number")
        # isfinite would raise for integers beyond the largest float.
        if not abs(value) <= sys.float_info.max:
            raise self.wrong("a finite number")
        return float(value)

    def positive(self) -> float:
        if self.number() <= 0.0:
            raise self.wrong("a number above 0")
        return self.number()

    def whole(self) -> int:
        """Return the value as an integer."""
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
        """Return a list of numbers; one number becomes a list of one."""
        return self.numbers() if isinstance(self.value, list) else [self.number()]

    def numbers(self, count: int | None = None, of: str = "values") -> list[float]:
        """Return a list of finite numbers, `count` of them if given."""
        values = [element.number() for element in self.elements()]
        if count is not None and len(values) != count:
            raise ToolError(
                f"{self.file}: {self.key}: expected "
                f"{'' if of == 'values' else 'values for '}{count} "
                f"{of if count != 1 else of.removesuffix('s')}, found {len(values)}"
            )
        return values

    def wrong(self, expected: str) -> ToolError:
        """Return the error for a value that is not what was expected."""
        place = f"{self.file}: {self.key}" if self.key else self.file
        return ToolError(f"{place}: expected {expected}, found {Found.of(self.value)}")

    def _join(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name


def load_foreign_yaml(path: Path) -> object:
    """Parse a file; Python tuples become lists, and slices become `slice` objects."""
    try:
        text = read_at_most(path, LARGEST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected YAML, found bytes that are not UTF-8 text") from error
    return parse_foreign_yaml(text, str(path))


def parse_foreign_yaml(text: str, origin: str) -> object:
    """Parse text from `origin`; see `load_foreign_yaml`. Dates stay strings; 1e-3 is a number."""
    try:
        return load_text(text, _DataLoader)
    except YamlError as error:
        raise ToolError(f"{origin}: expected YAML, found {error}") from error


class _DataLoader(StrictLoader):
    """Loader that also accepts the two harmless tags found in run folders."""

    # A copy, since the base class shares its dictionary of resolvers with all loaders.
    yaml_implicit_resolvers = {  # noqa: RUF012  # as PyYAML types it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in StrictLoader.yaml_implicit_resolvers.items()
    }

    def get_single_data(self) -> object:
        """Parse the only document; reject anchored nodes that contain themselves."""
        self.deep_construct = True  # else PyYAML constructs the parent before an alias in it
        return super().get_single_data()

    def take_tuple(self, node: yaml.Node) -> list[Any]:
        """Return the elements of a tuple that was written as a sequence."""
        if not isinstance(node, yaml.SequenceNode):
            raise _error(f"the tag {_short(node.tag)} on something other than a sequence", node)
        return self.construct_sequence(node, deep=True)

    def take_slice(self, node: yaml.Node) -> slice:
        """Return the slice with the given start, stop and step."""
        bounds = self.take_tuple(node)
        if not 1 <= len(bounds) <= 3 or not all(b is None or type(b) is int for b in bounds):
            raise _error("a slice that is not made of up to three whole numbers", node)
        return slice(*bounds)

    def refuse_tag(self, node: yaml.Node) -> None:
        """Reject a tag that names code or a program's own object."""
        raise _error(
            f"the tag {_short(node.tag)}, which is not allowed: only plain data is read", node
        )


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


_DataLoader.add_constructor(_TUPLE, _DataLoader.take_tuple)
_DataLoader.add_constructor(_SLICE, _DataLoader.take_slice)
_DataLoader.add_constructor(None, _DataLoader.refuse_tag)


def read_json(path: Path) -> Node:
    try:
        return Node(path.name, json.loads(read_at_most(path, _LARGEST_JSON_BYTES)))
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{path}: expected JSON, found something else ({error})") from error
