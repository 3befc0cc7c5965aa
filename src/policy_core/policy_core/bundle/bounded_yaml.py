# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""YAML that others wrote: no tag runs anything, and no text takes more time than its size lets.

PyYAML builds whatever a text asks for: 500 bytes of anchors and merge keys are 2 GB after minutes,
and `1:1:1...` is a number in base 60. Here everything is counted as if anchors were written out.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

LARGEST_BYTES = 1 << 20
"""Of a file; ours have up to 18 kB, and run folders of Isaac Lab 40 kB."""
MOST_VALUES = 20_000
"""In a text, with what aliases stand for; the largest of those have 2,200."""
DEEPEST = 40
"""Values in values; the deepest of those have 8."""
LONGEST_NUMBER = 1000
"""Characters of a number: the largest float has 309 digits."""
_LONGEST_FAULT = 300
"""Characters of an error, which may repeat what the text says."""
_BRACKETS_INSIDE = re.compile(r"expected ',' or '[\]}]', but got '(\[|\{|<scalar>)'")
"""What PyYAML finds after `{F` in `{F[LR]_hip: 1}`, and after `{[LR]`."""
# What PyYAML raises beside its own errors, for a value that its tag cannot make, an escape
# beyond Unicode, or a version with thousands of digits.
_CANNOT_MAKE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_PREFIX = "tag:yaml.org,2002:"
_INT, _FLOAT, _MERGE = f"{_PREFIX}int", f"{_PREFIX}float", f"{_PREFIX}merge"
_SPECIAL = {".inf": float("inf"), ".nan": float("nan")}


class YamlError(ValueError):
    """It is no YAML, or more than is read; the text says where and what was found."""


class StrictLoader(yaml.SafeLoader):
    """SafeLoader with bounds, that refuses doubled keys and reads numbers in decimal: 1e-3 too."""

    # Copies, since resolvers are kept in a dictionary of the class.
    yaml_implicit_resolvers = {  # noqa: RUF012  # typed by PyYAML as it is there
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0
        self._sizes = dict[yaml.Node, int]()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a value and those inside it, as far as there are not too many."""
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
                raise _error("an anchor that holds itself", event)
            self._count(self._sizes[node], event)
        else:
            self._sizes[node] = self._values - before
        return node

    def _count(self, values: int, event: yaml.Event) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise _error(f"more than {MOST_VALUES} values, aliases written out", event)
        if self._depth > DEEPEST:
            raise _error(f"more than {DEEPEST} values in each other", event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; one that its tag cannot make is an error with its line."""
        try:
            return super().construct_object(node, deep)
        except _CANNOT_MAKE as error:
            raise _error(f"a value that is no {node.tag.removeprefix(_PREFIX)}", node) from error

    def construct_scalar(self, node: Any) -> str:
        """Return a text; an escape stands for no character that YAML refuses as it is.

        Half a surrogate pair cannot be printed or sent, a zero ends a name in C, and ESC commands a
        terminal.
        """
        text = str(super().construct_scalar(node))
        if self.NON_PRINTABLE.search(text):
            raise _error("an escape of a character that no text has", node)
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping in which a key stands twice, and `!!map` or `!!set` of another value."""
        if not isinstance(node, yaml.MappingNode):
            raise _error("a value that is no mapping", node)
        seen = set[Any]()
        for key_node in (key_node for key_node, _ in node.value if key_node.tag != _MERGE):
            key = self.construct_object(key_node, True)
            if isinstance(key, (dict, list, set)):
                raise _error("a key that is no text", key_node)
            if key in seen:
                raise _error(f"the key {key} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number: 12, -3, 1_000, 0x1F."""
        text = self._number(node)
        return int(text, 16 if "x" in text else 10)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Return a number: 0.5, 1e-3, .inf, .nan."""
        text = self._number(node)
        value = _SPECIAL.get(text.lstrip("+-"))
        if value is None:
            return float(text)
        return -value if text.startswith("-") else value

    def _number(self, node: yaml.ScalarNode) -> str:
        text = str(self.construct_scalar(node))
        if len(text) > LONGEST_NUMBER:
            raise _error(f"a number of more than {LONGEST_NUMBER} characters", node)
        return text.lower()


def load_text(text: str, loader: type[StrictLoader] = StrictLoader) -> object:
    """Parse a text.

    Args:
        text: Of a file of at most `LARGEST_BYTES`.
        loader: What knows more tags.

    Raises:
        YamlError: It is no YAML, or has more than is read.
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
    problem = str(getattr(error, "problem", "")).removeprefix("found ")
    if _BRACKETS_INSIDE.fullmatch(problem):
        problem += "; inside of {} and [], quote text that has brackets: {'F[LR]_hip': 1}"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


# YAML 1.1, which PyYAML follows, takes 1e-3 for text because it lacks the decimal point, 010 for
# eight and 1:30 for ninety.
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
