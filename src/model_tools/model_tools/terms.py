# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which columns of a model input are which term of the observation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.contract import JointContract, Observation, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS, TermSpec
from policy_inference.bundle.validate import term_names
from policy_inference.interfaces import F64

EXACT_IN_FLOAT16 = 2048
"""Up to this number float16 counts one by one; beyond, every second one, then every fourth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TermColumns:
    """A term, and where its values stand in a vector without history.

    Attributes:
        name: Of the term; with its place in the list, `joint_pos[3]`, where there are several.
        term, spec: What the contract and the suite say of it.
        where: Its columns.
        names: Of its values: joints, for a term per joint.
        scale: Factor of each value.
    """

    name: str
    term: Term
    spec: TermSpec
    where: slice
    names: tuple[str, ...]
    scale: F64

    def observed(self, values: F64, order: str) -> F64:
        """Return what values [..., size] of the term become: scaled and clipped."""
        low, high = self.term.clip or (-np.inf, np.inf)
        if order == "clip_then_scale":
            return np.asarray(np.clip(values, low, high) * self.scale)
        return np.asarray(np.clip(values * self.scale, low, high))


def columns(contract: JointContract, input_name: str) -> dict[str, slice]:
    """Return the columns of each term, by its name, or `name[place in the list]` of several.

    An input with frames of the past has none.
    """
    return {found.name: found.where for found in term_columns(contract, input_name)}


def term_columns(contract: JointContract, input_name: str) -> Iterator[TermColumns]:
    """Yield the terms of a model input without frames of the past, in their order."""
    if frames(contract.observations[input_name]) == 1:
        yield from newest_columns(contract, input_name)


def newest_columns(contract: JointContract, input_name: str) -> Iterator[TermColumns]:
    """Yield the terms of a model input in their order, each with the columns of its last frame."""
    observation = contract.observations[input_name]
    history = observation.history
    listed = [term.term for term in observation.terms]
    named = [tuple(term_names(term, TERMS[term.term], contract)) for term in observation.terms]
    per_frame, last = history.layout == "per_frame", history.order == "oldest_first"
    start = (history.length - 1) * sum(map(len, named)) if per_frame and last else 0
    for place, (term, names) in enumerate(zip(observation.terms, named, strict=True)):
        name = term.term if listed.count(term.term) == 1 else f"{term.term}[{place}]"
        length = 1 if per_frame else term.history_length or history.length
        first = start + (length - 1) * len(names) * last
        yield TermColumns(name=name, term=term, spec=TERMS[term.term], names=names,
                          where=slice(first, first + len(names)),
                          scale=per_joint(term.scale, names))  # fmt: skip
        start += length * len(names)


def value_name(contract: JointContract, input_name: str, column: int) -> str:
    """Name a value of a model input: `joint_pos of knee`, and its frame where there are several."""
    history = contract.observations[input_name].history
    terms = list(newest_columns(contract, input_name))
    width = sum(len(found.names) for found in terms)
    for found in terms:
        size, whole = len(found.names), history.layout == "per_frame"
        step = (width if whole else size) * (-1 if history.order == "oldest_first" else 1)
        length = history.length if whole else found.term.history_length or history.length
        for age in range(length):
            place = column - found.where.start - age * step
            if 0 <= place < size:
                return _named(found, place) + _aged(age, length)
    raise ValueError(f"{input_name}: expected a column of it, found {column}")


def _named(found: TermColumns, place: int) -> str:
    per_joint_of = found.spec.size in ("joints", "actions")
    return f"{found.name} of {found.names[place]}" if per_joint_of else found.names[place]


def _aged(age: int, length: int) -> str:
    if length == 1:
        return ""
    return f", {age} frames before the newest" if age else ", in the newest frame"


def tick_inputs(contract: JointContract) -> list[str]:
    """Return the model inputs that have the count of ticks among their terms."""
    return [name for name, observation in contract.observations.items()
            if any(term.term == "tick" for term in observation.terms)]


def frames(observation: Observation) -> int:
    """Return the number of frames that the longest history in an observation holds."""
    return max(term.history_length or observation.history.length for term in observation.terms)
