# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""YAML of other programs, read as data: no tag runs anything, and unknown ones are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from model_tools.errors import ToolError

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
        return parse_foreign_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: expected YAML, found bytes that are no text") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ToolError(f"{path}: expected YAML, found {_fault(error)}") from error


def parse_foreign_yaml(text: str) -> object:
    """Parse a text like `load_foreign_yaml`; dates stay text and 1e-3 is a number.

    Raises:
        yaml.YAMLError: It is not YAML, or has an unknown tag.
    """
    return yaml.load(text, Loader=_DataLoader)


def _fault(error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:
        return " ".join(str(error).split()) or type(error).__name__
    return f"{getattr(error, 'problem', '')} in line {mark.line + 1}"


class _DataLoader(yaml.SafeLoader):
    """SafeLoader that also takes the two harmless tags of a run folder as data."""

    # Copies, since resolvers are kept in a dictionary of the class.
    yaml_implicit_resolvers = {  # noqa: RUF012  # typed by PyYAML as it is there
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

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
# YAML 1.1, which PyYAML follows, takes 1e-3 for text because it lacks the decimal point.
_DataLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
