# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Input rows for a policy of any kind, and the policy's outputs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from policy_core.bundle.contract import StatePair
from policy_core.interfaces import F64, Backend, Tensor, row_shape
from policy_core.members.joint import RecurrentState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A policy's input rows, each [rows, *shape without the batch axis].

    Attributes:
        source: Origin of the rows.
        inputs: For a joint policy, rows by model input; for a recurrent state, only the first row
            and the rows at `breaks` are used (zeros if absent), since the model carries its own
            state in between. For a chunk policy, observations, named as in `ChunkBundle.golden`.
        outputs: Reference outputs in the same form; empty if not recorded.
        sensed: Recorded measurements [rows, size], by field of
            `policy_core.observation.state.RobotState`, joints in the contract's order; may be
            incomplete.
        breaks: Rows that do not continue the previous row, because a new run begins or ticks are
            missing.
    """

    source: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    sensed: Mapping[str, F64] = field(default_factory=dict)
    breaks: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to, but not including, `end`, as views."""
        return Rows(
            source=self.source,
            sensed={name: array[first:end] for name, array in self.sensed.items()},
            inputs={name: array[first:end] for name, array in self.inputs.items()},
            outputs={name: array[first:end] for name, array in self.outputs.items()},
        )


def play(
    backend: Backend,
    rows: Rows,
    state: Sequence[StatePair],
    initial_state: Mapping[str, Tensor] = {},
) -> dict[str, Tensor]:
    """Run a model row by row.

    Args:
        backend: Opened back end; its arrays are overwritten.
        rows: Input rows.
        state: Recurrent pairs, carried from row to row; at the first row and at each break, the
            recorded state is used if there is one, otherwise the initial state.
        initial_state: Initial state values by input; zeros for inputs not listed.

    Returns:
        All model inputs as used, and all outputs as computed, by tensor [rows, ...].
    """
    carried, begins = RecurrentState(state, backend, initial_state), {0, *rows.breaks}
    states = {pair.input for pair in state}
    tensors = {
        name: array.reshape(row_shape(array.shape))
        for name, array in {**backend.inputs, **backend.outputs}.items()
    }
    seen = {
        name: np.empty((len(rows), *array.shape), array.dtype) for name, array in tensors.items()
    }
    for row in range(len(rows)):
        if row in begins:
            carried.reset()
        for name, values in rows.inputs.items():
            if name not in states or row in begins:
                tensors[name][...] = values[row]
        backend.run()
        for name, array in tensors.items():
            seen[name][row] = array
        carried.advance()
    return seen


def evenly(present: int, count: int) -> npt.NDArray[np.int64]:
    """Return at most `count` row numbers, evenly spaced from the first row to the last."""
    return np.linspace(0, present - 1, min(count, present)).round().astype(np.int64)
