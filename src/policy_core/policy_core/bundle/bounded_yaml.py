# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""YAML from untrusted sources: tags run no code, and the file size bounds the parsing time.

PyYAML builds whatever the text describes: 500 bytes of anchors and merge keys expand to 2 GB within
minutes, and `1:1:1...` is a base-60 number. The limits in this module count values as if all
aliases were expanded.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

LARGEST_BYTES = 1 << 20
"""Maximum file size in bytes; bundles have files of up to 18 kB, Isaac Lab runs up to 40 kB."""
MOST_VALUES = 20_000
"""Maximum number of values with aliases expanded; the largest real file has 2,200."""
DEEPEST = 40
"""Maximum nesting depth; real files reach 8."""
LONGEST_NUMBER = 1000
"""Maximum length of a number in characters; the largest float has 309 digits."""
_LONGEST_FAULT = 300
"""Maximum length of an error message, which may quote the text."""
_BRACKETS_INSIDE = re.compile(r"expected ',' or '[\]}]', but got '(\[|\{|<scalar>)'")
"""Matches PyYAML's error message about brackets in an unquoted key, such as `{F[LR]_hip: 1}`."""
# Errors that PyYAML raises besides its own: for a value that does not fit its tag, an escape
# beyond Unicode, or a version with thousands of digits.
_CANNOT_MAKE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_PREFIX = "tag:yaml.org,2002:"
_INT, _FLOAT, _MERGE = f"{_PREFIX}int", f"{_PREFIX}float", f"{_PREFIX}merge"
_SPECIAL = {".inf": float("inf"), ".nan": float("nan")}


class YamlError(ValueError):
    """Text that is not YAML or exceeds a limit; the message gives the location and the text."""


class StrictLoader(yaml.SafeLoader):
    """SafeLoader with limits; rejects duplicate keys and reads numbers such as 1e-3 as floats."""

    # A copy, because SafeLoader keeps its resolvers in a class attribute that all loaders share.
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML declares the type
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0
        self._sizes = dict[yaml.Node, int]()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a value and its children, within the limits."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # of PyYAML
        before = self._values
        self._depth += 1
        if not isinstance(event, yaml.AliasEvent):
            self._count(1, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise _error("an anchor that contains itself", event)
            self._count(self._sizes[node], event)
        else:
            self._sizes[node] = self._values - before
        return node

    def _count(self, values: int, event: yaml.Event) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise _error(f"more than {MOST_VALUES} values after alias expansion", event)
        if self._depth > DEEPEST:
            raise _error(f"more than {DEEPEST} levels of nesting", event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value; if it cannot be constructed, raise an error with the line."""
        try:
            return super().construct_object(node, deep)
        except _CANNOT_MAKE as error:
            raise _error(f"an invalid {node.tag.removeprefix(_PREFIX)}", node) from error

    def construct_scalar(self, node: Any) -> str:
        """Return a string; reject escapes for characters that YAML forbids in unescaped form.

        An unpaired surrogate cannot be printed or sent, NUL ends a C string, and ESC starts a
        terminal control sequence.
        """
        text = str(super().construct_scalar(node))
        if self.NON_PRINTABLE.search(text):
            raise _error("an escape sequence for an invalid character", node)
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; reject duplicate keys, and `!!map` or `!!set` on any other value."""
        if not isinstance(node, yaml.MappingNode):
            raise _error("a value that is not a mapping", node)
        seen = set[Any]()
        for key_node in (key_node for key_node, _ in node.value if key_node.tag != _MERGE):
            key = self.construct_object(key_node, True)
            if isinstance(key, (dict, list, set)):
                raise _error("a key that is not text", key_node)
            if key in seen:
                raise _error(f"the key {key} appears twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Return the integer that a scalar such as 12, -3, 1_000 or 0x1F stands for."""
        text = self._number(node)
        return int(text, 16 if "x" in text else 10)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Return the float that a scalar such as 0.5, 1e-3, .inf or .nan stands for."""
        text = self._number(node)
        value = _SPECIAL.get(text.lstrip("+-"))
        if value is None:
            return float(text)
        return -value if text.startswith("-") else value

    def _number(self, node: yaml.ScalarNode) -> str:
        text = str(self.construct_scalar(node))
        if len(text) > LONGEST_NUMBER:
            raise _error(f"a number longer than {LONGEST_NUMBER} characters", node)
        return text.lower()


def load_text(text: str, loader: type[StrictLoader] = StrictLoader) -> object:
    """Parse YAML text and return its value.

    Args:
        text: Content of a file of at most `LARGEST_BYTES`.
        loader: Loader class; a subclass may support more tags.

    Raises:
        YamlError: The text is not YAML or exceeds a limit.
    """
    try:
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, *_CANNOT_MAKE) as error:
        raise YamlError(_fault(error)) from error


def _error(problem: str, at: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


def _fault(error: Exception) -> str:
    text = _place_and_problem(error)
    return text if len(text) <= _LONGEST_FAULT else f"{text[:_LONGEST_FAULT]}..."


def _place_and_problem(error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:
        return str(error)
    problem = str(getattr(error, "problem", "")).removeprefix("but ").removeprefix("found ")
    if _BRACKETS_INSIDE.fullmatch(problem):
        problem += "; inside {} or [], quote text that has brackets: {'F[LR]_hip': 1}"
    return f"an error at line {mark.line + 1}, column {mark.column + 1}: {problem}"


# Replaces PyYAML's rules, which follow YAML 1.1: there, 1e-3 is text because it has no decimal
# point, 010 is eight, and 1:30 is ninety.
StrictLoader.add_implicit_resolver(
    _INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")
)
StrictLoader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
    ),
    list("-+.0123456789"),
)
StrictLoader.add_constructor(_INT, StrictLoader.construct_int)
StrictLoader.add_constructor(_FLOAT, StrictLoader.construct_float)
