# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Resolve the names and patterns in a contract once, when it is loaded.

A resolved contract lists each term's joints by name, and has an array for each per-joint value.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import (
    DEFAULT,
    ActionTerm,
    GainOutput,
    JointContract,
    Joints,
    OwnJoints,
    Term,
)
from policy_core.bundle.schema import Found, PerJoint, PerJointYaml, Reader
from policy_core.bundle.terms import TERMS, term_names
from policy_core.errors import plural
from policy_core.interfaces import F64

C = TypeVar("C", bound=AnyContract)
_FIRST = {"joints": 0, "action": 1}
"""Order of the fields that other fields refer to and that are therefore resolved first."""


def resolve(contract: C, reader: Reader) -> C:
    """Return the contract with names and arrays resolved; add failures to `reader`.

    An array that cannot be resolved is all NaN, so that later checks report nothing else about it.
    """
    # The action refers to the joints' default position, and an observation to the action's joints.
    stated = [field.name for field in dataclasses.fields(contract)]
    for name in sorted(stated, key=lambda name: _FIRST.get(name, len(_FIRST))):
        value = _Resolver(contract, reader).field(contract, name, name)
        contract = dataclasses.replace(contract, **{name: value})
    return contract


class _Resolver:
    """Resolves the fields of a contract, section by section."""

    def __init__(self, contract: AnyContract, reader: Reader) -> None:
        self._contract, self._names, self._reader = contract, contract.joints.names, reader
        self._driven = list[str]()
        """Joints of the action terms resolved so far."""

    def field(self, section: Any, name: str, key: str) -> Any:
        """Return the resolved value of a field in a section or in the contract itself."""
        value = getattr(section, name)
        arrays = _arrays(type(section))  # type: ignore[arg-type]  # a class is hashable
        if value is None or name not in arrays:
            return self.value(value, key)
        names = self._value_names(section)
        return value if names is None else self._array(value, key, names)

    def value(self, value: Any, key: str) -> Any:
        """Return a section or a collection of sections, resolved, or any other value unchanged."""
        if dataclasses.is_dataclass(value):
            return self._section(value, key)
        if isinstance(value, dict):
            return {name: self.value(each, f"{key}.{name}") for name, each in value.items()}
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            return tuple(self.value(each, f"{key}[{i}]") for i, each in enumerate(value))
        return value

    def _section(self, section: Any, key: str) -> Any:
        if isinstance(section, (Term, ActionTerm)) and section.joints is not None:
            joints = self._reader.tried(f"{key}.joints", matched, section.joints, self._names) or ()
            self._check_order(f"{key}.joints", section.joints, joints)
            section = dataclasses.replace(section, joints=joints)
        if isinstance(section, ActionTerm):
            self._driven += section.joints
            self._reader.expect(
                section.kind == "position" or not isinstance(section.offset, str),
                f"{key}.offset",
                f"numbers for the kind {section.kind}",
                section.offset,
                "the default position is in rad",
            )
        fields = [field.name for field in dataclasses.fields(section)]
        changes = {name: self.field(section, name, f"{key}.{name}") for name in fields}
        if isinstance(section, Joints):
            found = self._reader.tried(
                f"{key}.robot_names", robot_names, self._names, section.robot_names
            )
            changes["robot_names"] = dict(zip(self._names, found or self._names, strict=True))
        return dataclasses.replace(section, **changes)

    def _check_order(self, key: str, entries: Sequence[str], joints: Sequence[str]) -> None:
        """Report patterns that select joints in another order than that of `joints.names`.

        A term's joints are in the order of the tensor. Names state that order, patterns only select
        joints, and a list of patterns could mean either order.
        """
        names = self._names
        if {*entries} <= {*names} or not {*joints} <= {*names}:
            return
        self._reader.expect(
            [*joints] == sorted(joints, key=names.index),
            key,
            f"patterns that select joints in the order of joints.names ({_brief(names)})",
            Found(f"{', '.join(entries)}, which select {_brief(joints)}"),
            "list the names in the order of the tensor or, if that is the order of joints.names, "
            f"write one pattern: '{'|'.join(entries)}'",
        )

    def _value_names(self, section: Any) -> Sequence[str] | None:
        """Return a name for each value in a section's arrays; None if their number is unknown."""
        if isinstance(section, Term):
            assert isinstance(self._contract, JointContract)
            return term_names(section, self._contract) if section.term in TERMS else None
        if isinstance(section, GainOutput):
            return self._driven
        return section.joints if isinstance(section, OwnJoints) else self._names

    def _array(self, value: Any, key: str, names: Sequence[str]) -> F64:
        if value == DEFAULT:
            values = self._contract.joints.default_position.tolist()
            default = dict(zip(self._names, values, strict=True))
            value = np.array([default.get(name, np.nan) for name in names])
        array = self._reader.tried(key, per_joint, value, names)
        if array is None:
            array = np.full(len(names), np.nan)
        array.flags.writeable = False
        return array


@cache
def _arrays(section: type) -> frozenset[str]:
    """Return the names of the per-joint fields in a section class.

    Raises:
        TypeError: A collection field contains per-joint values, which would not be resolved.
    """
    hints = get_type_hints(section)
    found = frozenset(
        name for name, kind in hints.items() if kind == PerJoint or PerJoint in get_args(kind)
    )
    collections = {
        name: get_args(kind) for name, kind in hints.items() if get_origin(kind) in (dict, tuple)
    }
    if hidden := [name for name, kinds in collections.items() if PerJoint in kinds]:
        raise TypeError(
            f"{section.__name__}.{hidden[0]}: expected each set of per-joint values in its own "
            "field, found a collection; define a section for each"
        )
    return found


LONGEST_PATTERN = 128
"""Maximum pattern length, in characters."""


def per_joint(value: PerJointYaml, names: Sequence[str]) -> F64:
    """Return an array with one float64 value per name.

    The keys of a map are names, or patterns (see `name_pattern`) that must match a whole name. A
    name gets the value under its own key, otherwise under the only pattern that matches it; a key
    that applies to no name is an error.

    Raises:
        ValueError: The number of values is wrong or the names do not match; the exception's two
            arguments describe the expected and the found value.
    """
    if isinstance(value, Mapping):
        return np.array([value[key] for key in _key_of_each(names, value)], dtype=np.float64)
    if isinstance(value, (int, float)):
        return np.full(len(names), float(value))
    if len(value) != len(names):
        raise ValueError(f"{plural(len(names), 'value')} ({_brief(names)})", f"{len(value)}")
    return np.array(value, dtype=np.float64)


def matched(entries: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that the `entries` (names and patterns) select, entry by entry.

    A pattern selects all names that it matches, in the order of `names`. A name selects itself. An
    entry that matches nothing is returned unchanged, for the caller to report.

    Raises:
        ValueError: An entry is neither a name nor a pattern; same arguments as in `per_joint`.
    """
    found = list[str]()
    for entry in entries:
        pattern = None if entry in names else _pattern(entry)
        found += (pattern and list(filter(pattern.fullmatch, names))) or [entry]
    return tuple(found)


def robot_names(names: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the robot's name for each joint, given a map from contract names or patterns.

    A joint without a key keeps its name. In a map value, `{name}` stands for the contract's joint
    name.

    Raises:
        ValueError: Several patterns match a name; same arguments as in `per_joint`.
    """
    patterns = _patterns(renamed, names)
    found = list[str]()
    for name in names:
        key = name if name in renamed else _only_match(name, patterns, or_none=True)
        found.append(renamed[key].replace("{name}", name) if key else name)
    return tuple(found)


def _key_of_each(names: Sequence[str], keys: Collection[str]) -> list[str]:
    patterns = _patterns(keys, names)
    chosen = [name if name in keys else _only_match(name, patterns) for name in names]
    for key in patterns:
        if key not in chosen:
            raise ValueError(
                "only keys that apply to a name",
                f"{key!r} (every name that it matches has its own key)",
            )
    return chosen


def _patterns(keys: Collection[str], names: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """Return the patterns among the keys; each must match at least one name."""
    patterns = {key: _pattern(key) for key in keys if key not in names}
    for key, pattern in patterns.items():
        if not any(map(pattern.fullmatch, names)):
            raise ValueError(f"keys that match one of {_brief(names)}", repr(key))
    return patterns


def name_pattern(text: str) -> re.Pattern[str]:
    """Compile a name pattern, which callers match with `fullmatch`.

    A malicious pattern may take minutes to match, so a node that controls a robot reads a new
    contract in a separate process first.

    Raises:
        ValueError: The pattern is invalid or too long; the message says why.
    """
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"more than {LONGEST_PATTERN} characters")
    try:
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from error


def _pattern(key: str) -> re.Pattern[str]:
    try:
        return name_pattern(key)
    except ValueError as error:
        raise ValueError(
            "names or name patterns (docs/bundle.md)", f"{_short(key)}: {error}"
        ) from error


def _only_match(
    name: str, patterns: Mapping[str, re.Pattern[str]], *, or_none: bool = False
) -> str:
    """Return the only key that matches a name; with `or_none`, return "" if none matches."""
    keys = [key for key, pattern in patterns.items() if pattern.fullmatch(name)]
    if or_none and not keys:
        return ""
    if len(keys) != 1:
        found = f"the keys {', '.join(map(repr, keys))}" if keys else "none"
        raise ValueError(f"exactly one key for {name!r}", found)
    return keys[0]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _brief(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ... {names[-1]}"
