# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""YAML of other programs, read as data: no tag runs anything, and unknown ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from model_tools.errors import ToolError
from policy_inference.bundle.bounded_yaml import (
    LARGEST_BYTES,
    StrictLoader,
    YamlError,
    load_text,
)
from policy_inference.regular_file import read_at_most

_TUPLE = "tag:yaml.org,2002:python/tuple"
_SLICE = "tag:yaml.org,2002:python/object/apply:builtins.slice"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def load_foreign_yaml(path: Path) -> object:
    """Parse a file; Python's tuples become lists, its slices `slice` objects.

    Raises:
        ToolError: It is not YAML, or has another tag, named with its line.
        OSError: It cannot be read.
    """
    try:
        text = read_at_most(path, LARGEST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected YAML, found bytes that are no text") from error
    return parse_foreign_yaml(text, str(path))


def parse_foreign_yaml(text: str, origin: str) -> object:
    """Parse a text from `origin` like `load_foreign_yaml`; dates stay text, 1e-3 is a number.

    Raises:
        ToolError: It is not YAML, or has another tag, named with its line.
    """
    try:
        return load_text(text, _DataLoader)
    except YamlError as error:
        raise ToolError(f"{origin}: expected YAML, found {error}") from error


class _DataLoader(StrictLoader):
    """Also takes the two harmless tags of a run folder as data."""

    # Copies, since resolvers are kept in a dictionary of the class.
    yaml_implicit_resolvers = {  # noqa: RUF012  # typed by PyYAML as it is there
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in StrictLoader.yaml_implicit_resolvers.items()
    }

    def get_single_data(self) -> object:
        """Parse the only document; an anchor that holds itself is refused."""
        self.deep_construct = True  # else PyYAML makes what is around an alias before it
        return super().get_single_data()

    def take_tuple(self, node: yaml.Node) -> list[Any]:
        """Return the elements of a tuple, which is written as a sequence."""
        if not isinstance(node, yaml.SequenceNode):
            raise _error(f"the tag {_short(node.tag)} on something else than a sequence", node)
        return self.construct_sequence(node, deep=True)

    def take_slice(self, node: yaml.Node) -> slice:
        """Return the slice with the given start, stop and step."""
        bounds = self.take_tuple(node)
        if not 1 <= len(bounds) <= 3 or not all(b is None or type(b) is int for b in bounds):
            raise _error("a slice that is not made of up to three whole numbers", node)
        return slice(*bounds)

    def refuse_tag(self, node: yaml.Node) -> None:
        """Refuse a tag, since it would name code or an object that only its program knows."""
        raise _error(f"the tag {_short(node.tag)}, which is not read as data", node)


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


_DataLoader.add_constructor(_TUPLE, _DataLoader.take_tuple)
_DataLoader.add_constructor(_SLICE, _DataLoader.take_slice)
_DataLoader.add_constructor(None, _DataLoader.refuse_tag)
