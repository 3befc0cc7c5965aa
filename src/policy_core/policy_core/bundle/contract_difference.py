# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Differences between a candidate's contract and the contract in use.

Equal model outputs prove nothing about the gains, limits and scales that a node applies before or
after the model, so every stage of a candidate's trial compares the two contracts, whatever else it
measures. The comparison skips only keys that cannot affect motion: name, version, description,
provenance, model files, reports, and limits on the difference between a compiled model and its
reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from policy_core.bundle.body import ComparisonLimits, Nominal
from policy_core.bundle.contract import Action, File, Graph, Joints, Normalisation, Observation
from policy_core.bundle.set_contract import HostedContract, MemberContract

_ABSENT = "absent"
_LEFT_OUT: Mapping[type, frozenset[str]] = {
    Graph: frozenset({"artifacts", "golden"}),
    File: frozenset({"file"}),
    Normalisation: frozenset({"file"}),
    Nominal: frozenset({"source", "ticks", "observation"}),
    ComparisonLimits: frozenset({"mae", "rmse", "max_abs", "cosine_min"}),
    # Compared as part of the member's contract; indices follow from its joints.
    MemberContract: frozenset({"folder", "sha256", "places", "commanded"}),
}
_LEFT_OUT_OF_CONTRACTS = frozenset(
    {"schema_version", "name", "version", "description", "provenance", "reports", "golden"}
)
_Leaf = Any
"""A number, a string, None, a tuple of these, or values by robot joint."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContractDifference:
    """A contract key whose values differ.

    Attributes:
        key: Contract key, such as `joints.stiffness`; observation terms are named, not numbered.
        in_use: Value in the contract in use, in words.
        candidate: Value in the candidate's contract, in words.
    """

    key: str
    in_use: str
    candidate: str

    def __str__(self) -> str:
        """Return e.g. ``joints.stiffness: 30 in use, 24 in the candidate``."""
        return f"{self.key}: {self.in_use} in use, {self.candidate} in the candidate"


def contract_differences(
    in_use: HostedContract, candidate: HostedContract
) -> tuple[ContractDifference, ...]:
    """Return the keys whose values differ, in the order of the contract in use."""
    ours, theirs = (
        {key: value for key, value in _contract(contract, "") if value is not None}
        for contract in (in_use, candidate)
    )
    found = dict[str, ContractDifference]()
    for key in dict.fromkeys((*ours, *theirs)):
        if key in ours and key in theirs:
            first, second = _words(ours[key], theirs[key])
            if ours[key] != theirs[key]:
                found[key] = ContractDifference(key=key, in_use=first, candidate=second)
            continue
        values = ours if key in ours else theirs
        part = _missing_part(key, theirs if key in ours else ours)
        there = _text(values[key]) if part == key else "present"
        words = (there, _ABSENT) if key in ours else (_ABSENT, there)
        found[part] = ContractDifference(key=part, in_use=words[0], candidate=words[1])
    return tuple(found.values())


def _missing_part(key: str, values: Mapping[str, _Leaf]) -> str:
    """Return the key of the largest section around `key` that the other contract lacks entirely."""
    names = key.split(".")
    for count in range(1, len(names)):
        part = ".".join(names[:count])
        if not any(other.startswith(f"{part}.") for other in values):
            return part
    return key


def not_accepted(
    differences: Sequence[ContractDifference], accepted: Collection[str]
) -> tuple[ContractDifference, ...]:
    """Return the differences that no accepted key covers; a key also covers all keys below it."""
    return tuple(
        one
        for one in differences
        if not any(one.key == key or one.key.startswith(f"{key}.") for key in accepted)
    )


def _contract(contract: Any, key: str) -> Iterator[tuple[str, _Leaf]]:
    robot = contract.joints.on_robot()
    for field in dataclasses.fields(contract):
        if field.name not in _LEFT_OUT_OF_CONTRACTS:
            yield from _leaves(getattr(contract, field.name), _below(key, field.name), robot)


def _leaves(value: Any, key: str, robot: Sequence[str]) -> Iterator[tuple[str, _Leaf]]:
    """Yield the key and value of every leaf below `key`; per-joint arrays become maps by joint."""
    if isinstance(value, MemberContract):
        yield from _contract(value.contract, key)
    if isinstance(value, Joints):
        yield f"{key}.names", tuple(robot)
    if isinstance(value, Observation):
        yield from _terms(value, key, robot)
    elif isinstance(value, Action):
        yield from _action(value, key, robot)
    elif dataclasses.is_dataclass(value):
        left_out = {"contract"} if isinstance(value, MemberContract) else set[str]()
        for kind, names in _LEFT_OUT.items():
            left_out |= names if isinstance(value, kind) else set()
        if isinstance(value, Joints):
            left_out |= {"names", "robot_names"}
        for field in dataclasses.fields(value):
            if field.name not in left_out:
                yield from _leaves(getattr(value, field.name), _below(key, field.name), robot)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, _below(key, str(name)), robot)
    elif isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{key}.{number}", robot)
    elif isinstance(value, np.ndarray):
        by_joint = value.shape == (len(robot),)
        yield key, dict(zip(robot, value.tolist(), strict=True)) if by_joint else _tuple(value)
    else:
        yield key, value


def _terms(observation: Observation, key: str, robot: Sequence[str]) -> Iterator[tuple[str, _Leaf]]:
    """Yield the terms' values by term name, and the order of the terms as a single value.

    A moved term therefore counts as a single difference.
    """
    names = list[str]()
    for term in observation.terms:
        before = names.count(term.term)
        name = f"{term.term}.{before + 1}" if before else term.term
        names.append(term.term)
        for field in dataclasses.fields(term):
            value = getattr(term, field.name)
            if field.name != "term":
                value = _tuple(value) if isinstance(value, np.ndarray) else value
                yield from _leaves(value, f"{key}.{name}.{field.name}", robot)
    yield f"{key}.terms", tuple(names)
    for field in dataclasses.fields(observation):
        if field.name != "terms":
            yield from _leaves(getattr(observation, field.name), _below(key, field.name), robot)


def _action(action: Action, key: str, robot: Sequence[str]) -> Iterator[tuple[str, _Leaf]]:
    """Yield the action's settings by joint, and the output's joint order as a single value."""
    yield f"{key}.output", action.output
    rows = dict[str, dict[str, _Leaf]]()
    for term in action.terms:
        for name in ("kind", "scale", "offset", "clip"):
            values = getattr(term, name)
            each = (
                np.broadcast_to(values, len(term.joints)).tolist()
                if name in ("scale", "offset")
                else [values] * len(term.joints)
            )
            rows.setdefault(name, {}).update(zip(term.joints, each, strict=True))
    yield f"{key}.joints", tuple(joint for term in action.terms for joint in term.joints)
    for name, by_joint in rows.items():
        yield f"{key}.{name}", by_joint
    yield from _leaves(action.gains, f"{key}.gains", robot)


def _tuple(value: Any) -> _Leaf:
    """Return an array as a tuple, or as a single number if all values are equal."""
    values = value.reshape(-1).tolist()
    return values[0] if values and len(set(values)) == 1 else tuple(values)


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _words(ours: _Leaf, theirs: _Leaf) -> tuple[str, str]:
    """Return both values in words; for values by joint, only those that differ."""
    if not (isinstance(ours, Mapping) and isinstance(theirs, Mapping)):
        return _text(ours), _text(theirs)
    joints = [
        joint
        for joint in dict.fromkeys((*ours, *theirs))
        if ours.get(joint, _ABSENT) != theirs.get(joint, _ABSENT)
    ]
    return _by_joint(ours, joints), _by_joint(theirs, joints)


def _by_joint(values: Mapping[str, _Leaf], joints: Sequence[str]) -> str:
    found = {joint: _text(values.get(joint, _ABSENT)) for joint in joints}
    if len(joints) > 1 and len(set(found.values())) == 1:
        return f"{found[joints[0]]} ({len(joints)} joints)"
    return ", ".join(f"{joint} {text}" for joint, text in found.items())


def _text(value: _Leaf) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return _by_joint(value, [*value])
    return str(value)
