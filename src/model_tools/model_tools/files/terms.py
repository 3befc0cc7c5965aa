# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Assign columns of a model input to observation terms, and check their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.onnx_model import OnnxModel
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract, Observation, Term
from policy_core.bundle.terms import TERMS, TermSpec, term_names
from policy_core.interfaces import F64
from policy_core.observation.rows import ObservationBuilder
from policy_core.observation.state import RobotState
from policy_inference.comparison.rows import Rows

LONG_RUN_S = 3600.0
"""Assumed longest run (s) if neither the contract nor the model bounds the tick count."""
EXACT_IN_FLOAT16 = 2048
"""Largest number up to which float16 represents every integer."""
TOLERANCE = 1e-3
"""Tolerance relative to a value, or to 1 if that is larger; recordings have four digits or more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TermColumns:
    """A term, and the columns of its newest frame in a model input.

    Attributes:
        name: Name of the term, with its index if the name is not unique, such as `joint_pos[3]`.
        term, spec: The term's contract entry, and its definition in the suite.
        where: The term's columns.
        names: Names of the term's values; joint names for a per-joint term.
        scale: Factor for each value.
    """

    name: str
    term: Term
    spec: TermSpec
    where: slice
    names: tuple[str, ...]
    scale: F64

    def observed(self, values: F64, order: str) -> F64:
        """Return the term's values [..., size] with scale and clip applied."""
        low, high = self.term.clip or (-np.inf, np.inf)
        if order == "clip_then_scale":
            return np.asarray(np.clip(values, low, high) * self.scale)
        return np.asarray(np.clip(values * self.scale, low, high))


def term_columns(contract: JointContract, input_name: str) -> Iterator[TermColumns]:
    """Yield the terms of a model input in order; nothing if the input has past frames."""
    if frames(contract.observations[input_name]) == 1:
        yield from newest_columns(contract, input_name)


def newest_columns(contract: JointContract, input_name: str) -> Iterator[TermColumns]:
    """Yield the terms of a model input in order, each with the columns of its newest frame."""
    observation = contract.observations[input_name]
    history = observation.history
    listed = [term.term for term in observation.terms]
    named = [tuple(term_names(term, contract)) for term in observation.terms]
    per_frame, last = history.layout == "per_frame", history.order == "oldest_first"
    start = (history.length - 1) * sum(map(len, named)) if per_frame and last else 0
    for place, (term, names) in enumerate(zip(observation.terms, named, strict=True)):
        name = term.term if listed.count(term.term) == 1 else f"{term.term}[{place}]"
        length = 1 if per_frame else term.history_length or history.length
        first = start + (length - 1) * len(names) * last
        yield TermColumns(
            name=name,
            term=term,
            spec=TERMS[term.term],
            names=names,
            where=slice(first, first + len(names)),
            scale=term.scale,
        )
        start += length * len(names)


def value_name(contract: JointContract, input_name: str, column: int) -> str:
    """Return a model input value's name (`joint_pos of knee`), with its frame if it has several."""
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
    raise ValueError(f"{input_name}: expected a column of this input, found {column}")


def _named(found: TermColumns, place: int) -> str:
    per_joint_of = found.spec.size in ("joints", "actions")
    return f"{found.name} of {found.names[place]}" if per_joint_of else found.names[place]


def _aged(age: int, length: int) -> str:
    if length == 1:
        return ""
    return f", {age} frame{'s' * (age > 1)} before the newest" if age else ", in the newest frame"


def counts_ticks(contract: JointContract) -> bool:
    """Return whether the model observes the tick count."""
    terms = (term for each in contract.observations.values() for term in each.terms)
    return any(term.term == "tick" for term in terms)


def last_ticks(contract: JointContract, model: OnnxModel) -> dict[str, int]:
    """Return, for each model input with the tick count, the last tick that makes a difference.

    That is the last row of the table that the tick count indexes, or the end of the term's `clip`;
    if neither limits the count, it is the tick after one hour.
    """
    found = dict[str, int]()
    for name, observation in contract.observations.items():
        for term in observation.terms:
            if term.term == "tick":
                rows = model.rows_chosen_by(name)
                bounds = [] if rows is None else [rows - 1]
                if term.clip is not None:
                    scaled = observation.order == "scale_then_clip"
                    bounds.append(round(term.clip[1] / (term.scale.item() if scaled else 1.0)))
                found[name] = min(bounds, default=round(LONG_RUN_S * contract.rate_hz))
    return found


def frames(observation: Observation) -> int:
    """Return the number of frames in an observation's longest history."""
    return max(term.history_length or observation.history.length for term in observation.terms)


def check_observations(rows: Rows, bundle: JointBundle) -> Rows:
    """Check that the rows' inputs match those computed with the contract from sensor values.

    Fields that were not recorded are skipped, as are history frames before the first row of a run.

    Returns:
        The rows, with a break wherever the last action in the observation differs from the previous
        row's action.
    """
    rebuilt = rebuild(rows, bundle)
    chained = _breaks(rows, bundle.contract, rebuilt)
    if chained != rows.breaks:
        rows = replace(rows, breaks=chained)
        rebuilt = rebuild(rows, bundle)
    for name, expected in rebuilt.items():
        beyond = _beyond(rows, name, expected)
        if not np.any(beyond > 0):  # NaN (not recorded) compares false
            continue
        row, column = map(int, np.unravel_index(np.nanargmax(beyond), beyond.shape))
        count = int((beyond > 0).any(axis=1).sum())
        raise ToolError(
            f"{rows.source}: {name}[{column}] ({value_name(bundle.contract, name, column)}): "
            f"expected {expected[row, column]:.4g} (computed with the contract from the recorded "
            f"state), found {rows.inputs[name].reshape(len(rows), -1)[row, column]:.4g} in row "
            f"{row}; {count} of {len(rows)} rows differ: the contract does not describe this "
            "observation"
        )
    return rows


def rebuild(rows: Rows, bundle: JointBundle) -> dict[str, F64]:
    """Return each observed input [rows, size] as computed from sensor values; NaN where unknown."""
    contract = bundle.contract
    state = RobotState(contract)
    out = {name: np.empty(rows.inputs[name][0].size) for name in contract.observations}
    builders = {
        name: ObservationBuilder(
            observation, contract, state, out[name], bundle.statistics.get(name)
        )
        for name, observation in contract.observations.items()
    }
    rebuilt = {name: np.empty((len(rows), array.size)) for name, array in out.items()}
    since = 0
    for row in range(len(rows)):
        if row in rows.breaks:
            since = 0
            for builder in builders.values():
                builder.reset()
        _sense(rows, contract, state, row, follows=since > 0)
        for name, builder in builders.items():
            builder.write()
            rebuilt[name][row] = out[name]
            if since < frames(contract.observations[name]) - 1:
                rebuilt[name][row] = np.nan
            builder.advance()
        since += 1
    return rebuilt


def _sense(
    rows: Rows, contract: JointContract, state: RobotState, row: int, *, follows: bool
) -> None:
    """Write a row's known values into the state, and NaN for the rest."""
    state.flat[:] = np.nan
    for field in rows.sensed.keys() & state.slices.keys():
        state[field][:] = rows.sensed[field][row]
    state.derive()
    if follows and contract.action.output in rows.outputs:
        state["last_action"][:] = rows.outputs[contract.action.output][row - 1].reshape(-1)


def _breaks(rows: Rows, contract: JointContract, rebuilt: dict[str, F64]) -> tuple[int, ...]:
    """Return the rows' breaks, plus those revealed by the last action in the observations."""
    broken = np.zeros(len(rows), bool)
    for name, expected in rebuilt.items():
        for found in term_columns(contract, name):
            if found.term.term == "last_action":
                broken |= (_beyond(rows, name, expected) > 0)[:, found.where].any(axis=1)
    return tuple(sorted({*rows.breaks, *np.flatnonzero(broken).tolist()}))


def _beyond(rows: Rows, name: str, expected: F64) -> F64:
    """Return how far values exceed the tolerance around the expected values; NaN where unknown."""
    found = rows.inputs[name].reshape(len(rows), -1).astype(np.float64)
    return np.asarray(np.abs(found - expected) - TOLERANCE * np.maximum(1.0, np.abs(expected)))
