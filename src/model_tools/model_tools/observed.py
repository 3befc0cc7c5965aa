# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded observations against the contract: rebuilt from what was sensed in the same rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_tools.errors import ToolError
from model_tools.terms import frames, term_columns, value_name
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import Rows
from policy_inference.core.observation import ObservationBuilder
from policy_inference.core.state import RobotState
from policy_inference.interfaces import F64

TOLERANCE = 1e-3
"""Of a value, or of 1 where that is larger: recordings have four digits or more."""


def check_observations(rows: Rows, bundle: Bundle) -> Rows:
    """Check that the rows' inputs are what the contract makes of the sensors that were recorded.

    Fields of the state that were not recorded are left out, as are frames of a history before the
    first row of a run.

    Returns:
        The rows, with a break wherever the last action in the observation is not that of the row
        before.

    Raises:
        ToolError: A value differs.
    """
    rebuilt = rebuild(rows, bundle)
    chained = _breaks(rows, bundle.contract, rebuilt)
    if chained != rows.breaks:
        rows = replace(rows, breaks=chained)
        rebuilt = rebuild(rows, bundle)
    for name, expected in rebuilt.items():
        beyond = _beyond(rows, name, expected)
        if not np.any(beyond > 0):  # NaN, which stands for what was not recorded, is not
            continue
        row, column = map(int, np.unravel_index(np.nanargmax(beyond), beyond.shape))
        count = int((beyond > 0).any(axis=1).sum())
        raise ToolError(
            f"{rows.source}: {name}[{column}] ({value_name(bundle.contract, name, column)}): "
            f"expected {expected[row, column]:.4g}, which the contract makes of what was sensed, "
            f"found {rows.inputs[name].reshape(len(rows), -1)[row, column]:.4g} in row {row}; "
            f"{count} of {len(rows)} rows differ: the contract does not describe this observation"
        )
    return rows


def rebuild(rows: Rows, bundle: Bundle) -> dict[str, F64]:
    """Return each observed input [rows, size] from what was sensed; NaN where that is unknown."""
    contract = bundle.contract
    state = RobotState(contract)
    out = {name: np.empty(rows.inputs[name][0].size) for name in contract.observations}
    builders = {
        name: ObservationBuilder(observation, contract, state, out[name],
                                 bundle.statistics.get(name))
        for name, observation in contract.observations.items()
    }  # fmt: skip
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
    """Write what is known of the state in a row, and NaN for the rest."""
    state.flat[:] = np.nan
    for field in rows.sensed.keys() & state.slices.keys():
        state[field][:] = rows.sensed[field][row]
    state.derive()
    if follows and contract.action.output in rows.outputs:
        state["last_action"][:] = rows.outputs[contract.action.output][row - 1].reshape(-1)


def _breaks(rows: Rows, contract: JointContract, rebuilt: dict[str, F64]) -> tuple[int, ...]:
    """Return the rows' breaks, and those that the last action in the observations tells."""
    broken = np.zeros(len(rows), bool)
    for name, expected in rebuilt.items():
        for found in term_columns(contract, name):
            if found.term.term == "last_action":
                broken |= (_beyond(rows, name, expected) > 0)[:, found.where].any(axis=1)
    return tuple(sorted({*rows.breaks, *np.flatnonzero(broken).tolist()}))


def _beyond(rows: Rows, name: str, expected: F64) -> F64:
    """Return by how much values are too far from the expected ones; NaN where these are unknown."""
    found = rows.inputs[name].reshape(len(rows), -1).astype(np.float64)
    return np.asarray(np.abs(found - expected) - TOLERANCE * np.maximum(1.0, np.abs(expected)))
