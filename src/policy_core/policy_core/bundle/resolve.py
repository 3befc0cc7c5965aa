# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Resolve what a contract says by name or pattern, once, when it is loaded.

Behind this module a contract has the joints of its terms by name, and one array per value.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np

from policy_core.bundle.chunk_contract import ChunkAction, ChunkContract
from policy_core.bundle.contract import DEFAULT, ActionTerm, JointContract, Joints, Term
from policy_core.bundle.joint_values import matched, per_joint, robot_names
from policy_core.bundle.schema import Found, PerJoint, Reader
from policy_core.bundle.terms import TERMS, term_names
from policy_core.interfaces import F64

C = TypeVar("C", bound=JointContract | ChunkContract)
V = TypeVar("V")


def resolve(contract: C, reader: Reader) -> C:
    """Return the contract with names and arrays; add to `reader` what cannot be resolved.

    An array that cannot be made is all NaN, so that later checks find nothing else wrong with it.
    """
    # The action refers to the joints' default position, an observation to the action's joints.
    first = ("joints", "action")
    others = (field.name for field in dataclasses.fields(contract) if field.name not in first)
    for name in (*first, *others):
        section = _Resolver(contract, reader).value(getattr(contract, name), name)
        contract = dataclasses.replace(contract, **{name: section})
    return contract


class _Resolver:
    """Resolves a section of a contract, whose sections that it refers to are resolved."""

    def __init__(self, contract: JointContract | ChunkContract, reader: Reader) -> None:
        self._contract, self._names, self._reader = contract, contract.joints.names, reader

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
        changes: dict[str, Any] = {}
        arrays = _arrays(type(section))  # type: ignore[arg-type]  # a class is hashable
        for field in dataclasses.fields(section):
            value, where = getattr(section, field.name), f"{key}.{field.name}"
            if value is None or field.name not in arrays:
                changes[field.name] = self.value(value, where)
            elif (names := self._names_of(section)) is not None:
                changes[field.name] = self._array(value, where, names)
        if isinstance(section, Joints):
            found = self._tried(f"{key}.robot_names", robot_names, self._names, section.robot_names)
            changes["robot_names"] = dict(zip(self._names, found or self._names, strict=True))
        return dataclasses.replace(section, **changes)

    def _names_of(self, section: Any) -> Sequence[str] | None:
        """Return a name for each value of a section's arrays; None: their number is not known."""
        if isinstance(section, Term):
            assert isinstance(self._contract, JointContract)
            return term_names(section, self._contract) if section.term in TERMS else None
        return section.joints if isinstance(section, (ActionTerm, ChunkAction)) else self._names

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
    """Return the fields of a section that are per joint."""
    hints = get_type_hints(section)
    return frozenset(
        name for name, kind in hints.items() if kind == PerJoint or PerJoint in get_args(kind)
    )
