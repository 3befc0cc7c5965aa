# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the robots of a batch are isolated: no answer depends on the other robots."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import F64, Tensor
from policy_inference.backends.base import BackendBase
from policy_inference.service.batching import REMEDY, Axes
from policy_inference.service.lanes import Lane, make_lanes
from policy_inference.service.policy import ServedPolicy

_SIZES = (1.0, 1.0, 30.0, 1000.0)
"""Standard deviations of random values, one for each row, of which the first is a golden row if
there are any: beside a large row, a small one shows whatever it gets of it."""
_TOLERANCE = 1e-3
"""Of the largest value: a batch is summed up in another order, of fp16 with 11 bits."""


def require_isolation(
    policy: ServedPolicy,
    alone: BackendBase,
    several: BackendBase,
    axes: Axes,
    rows: int,
    golden: Mapping[str, Tensor],
) -> None:
    """Raise unless each robot of a batch is answered as it is alone, beside very different ones.

    An axis that is open need not be the batch: a model may also compute with it, be it with the
    largest value only, as one does that quantises its input by it.

    Args:
        policy: What the model is.
        alone: The model for one robot; its arrays are overwritten.
        several: The same for several robots.
        axes: Of its tensors, those that should count robots.
        rows: How many robots.
        golden: Rows of the inputs that an observation fills [rows, ...]; empty where there are
            none.
    """
    lanes, (single,) = make_lanes(policy, several, axes, rows), make_lanes(policy, alone, axes, 1)
    random = np.random.default_rng(1)
    for turn in range(len(_SIZES)):
        for row, lane in enumerate(lanes):
            _fill(lane, (row + turn) % len(_SIZES), golden, random)
        several.run()
        for row, lane in enumerate(lanes):
            for into, array in zip(_entrances(single), _entrances(lane), strict=True):
                into[...] = array
            alone.run()
            together, by_itself = _answers(lane), _answers(single)
            if not np.isfinite(by_itself).all():
                continue  # no robot gets such an answer
            largest = max(
                1.0, *(float(np.abs(values).max()) for values in (by_itself, *_entrances(single)))
            )
            if not np.allclose(together, by_itself, rtol=0.0, atol=_TOLERANCE * largest):
                difference = np.abs(together - by_itself).max()
                raise BackendError(
                    f"{several.file}: expected each of {rows} robots of a batch to "
                    f"be answered as alone, found an answer in row {row} that "
                    f"differs by {difference:g}: the model computes with its open "
                    f"axis; {REMEDY}"
                )


def _fill(lane: Lane, kind: int, golden: Mapping[str, Tensor], random: np.random.Generator) -> None:
    """Write random values of a size into a row, or a golden row."""
    for array in _entrances(lane):
        array[...] = (
            random.integers(0, 100, array.shape)
            if array.dtype.kind == "i"
            else _SIZES[kind] * random.standard_normal(array.shape)
        )
    if kind == 0 and golden:
        number = random.integers(len(next(iter(golden.values()))))
        for one, array in lane.inputs:
            array[...] = golden[one.name][number].reshape(-1)


def _entrances(lane: Lane) -> list[Tensor]:
    return [*(array for _, array in lane.inputs), *(into for into, _ in lane.state)]


def _answers(lane: Lane) -> F64:
    lane.action.read()
    return np.concatenate(
        [lane.action.raw, *(out.astype(np.float64).ravel() for _, out in lane.state)]
    )
