# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Resolve what a contract says by name or pattern, once, when it is loaded.

Behind this module a contract has the joints of its terms by name, and one array per value.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import DEFAULT, ActionTerm, JointContract, Joints, OwnJoints, Term
from policy_core.bundle.joint_values import matched, per_joint, robot_names
from policy_core.bundle.schema import Found, PerJoint, Reader
from policy_core.bundle.terms import TERMS, term_names
from policy_core.interfaces import F64

C = TypeVar("C", bound=AnyContract)
V = TypeVar("V")
_FIRST = {"joints": 0, "action": 1}
"""Fields that others refer to."""


def resolve(contract: C, reader: Reader) -> C:
    """Return the contract with names and arrays; add to `reader` what cannot be resolved.

    An array that cannot be made is all NaN, so that later checks find nothing else wrong with it.
    """
    # The action refers to the joints' default position, an observation to the action's joints.
    stated = [field.name for field in dataclasses.fields(contract)]
    for name in sorted(stated, key=lambda name: _FIRST.get(name, len(_FIRST))):
        value = _Resolver(contract, reader).field(contract, name, name)
        contract = dataclasses.replace(contract, **{name: value})
    return contract


class _Resolver:
    """Resolves a section of a contract, whose sections that it refers to are resolved."""

    def __init__(self, contract: AnyContract, reader: Reader) -> None:
        self._contract, self._names, self._reader = contract, contract.joints.names, reader

    def field(self, section: Any, name: str, key: str) -> Any:
        """Return a field of a section, or of the contract itself, resolved."""
        value = getattr(section, name)
        arrays = _arrays(type(section))  # type: ignore[arg-type]  # a class is hashable
        if value is None or name not in arrays:
            return self.value(value, key)
        names = self._names_of(section)
        return value if names is None else self._array(value, key, names)

    def value(self, value: Any, key: str) -> Any:
        """Return a section, or a collection of sections, resolved; any other value as it is."""
        if dataclasses.is_dataclass(value):
            return self._section(value, key)
        if isinstance(value, dict):
            return {name: self.value(each, f"{key}.{name}") for name, each in value.items()}
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            return tuple(self.value(each, f"{key}[{i}]") for i, each in enumerate(value))
        return value

    def _section(self, section: Any, key: str) -> Any:
        if isinstance(section, (Term, ActionTerm)) and section.joints is not None:
            joints = self._tried(f"{key}.joints", matched, section.joints, self._names)
            section = dataclasses.replace(section, joints=joints or ())
        if isinstance(section, ActionTerm) and section.kind != "position":
            self._check_offset(section, key)
        fields = [field.name for field in dataclasses.fields(section)]
        changes = {name: self.field(section, name, f"{key}.{name}") for name in fields}
        if isinstance(section, Joints):
            found = self._tried(f"{key}.robot_names", robot_names, self._names, section.robot_names)
            changes["robot_names"] = dict(zip(self._names, found or self._names, strict=True))
        return dataclasses.replace(section, **changes)

    def _names_of(self, section: Any) -> Sequence[str] | None:
        """Return a name for each value of a section's arrays; None: their number is not known."""
        if isinstance(section, Term):
            assert isinstance(self._contract, JointContract)
            return term_names(section, self._contract) if section.term in TERMS else None
        return section.joints if isinstance(section, OwnJoints) else self._names

    def _array(self, value: Any, key: str, names: Sequence[str]) -> F64:
        if value == DEFAULT:
            value = self._default_of(names)
        array = self._tried(key, per_joint, value, names)
        if array is None:
            array = np.full(len(names), np.nan)
        array.flags.writeable = False
        return array

    def _check_offset(self, term: ActionTerm, key: str) -> None:
        if isinstance(term.offset, str):
            self._reader.problem(
                f"{key}.offset",
                f"numbers for the kind {term.kind}",
                term.offset,
                "the default position is in rad",
            )

    def _default_of(self, names: Sequence[str]) -> F64:
        values = self._contract.joints.default_position.tolist()
        default = dict(zip(self._names, values, strict=True))
        return np.array([default.get(name, np.nan) for name in names])

    def _tried(self, key: str, resolve: Callable[..., V], *values: Any) -> V | None:
        try:
            return resolve(*values)
        except ValueError as error:
            expected, found = error.args
            self._reader.problem(key, expected, Found(found))
            return None


@cache
def _arrays(section: type) -> frozenset[str]:
    """Return the fields of a section that are per joint.

    Raises:
        TypeError: Values per joint are inside of a collection, where nothing resolves them.
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
            f"{section.__name__}.{hidden[0]}: expected values per joint in a field of their own, "
            "found a collection of them; give each a section"
        )
    return found
