# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that the robots in a batch are isolated: no answer depends on the other robots."""

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
"""Standard deviations of the rows' random values; golden rows, if any, replace the first kind.

A small row next to a large one reveals any leakage.
"""
_TOLERANCE = 1e-3
"""Relative to the largest value; batches may be summed in a different order, in fp16 (11 bits)."""


def require_isolation(
    policy: ServedPolicy,
    alone: BackendBase,
    several: BackendBase,
    axes: Axes,
    rows: int,
    golden: Mapping[str, Tensor],
) -> None:
    """Raise an error unless each robot gets the same answer in a mixed batch as when alone.

    A dynamic axis need not be the batch axis: a model may also compute over it, for example by
    quantizing its input with the largest value along it.

    Args:
        policy: The model's description.
        alone: Model opened for one robot; its arrays are overwritten.
        several: The same model, opened for several robots.
        axes: Tensor axes that should index robots.
        rows: Number of robots.
        golden: Golden rows of the inputs that an observation fills [rows, ...]; may be empty.
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
                continue  # robots do not receive this answer
            largest = max(
                1.0, *(float(np.abs(values).max()) for values in (by_itself, *_entrances(single)))
            )
            if not np.allclose(together, by_itself, rtol=0.0, atol=_TOLERANCE * largest):
                difference = np.abs(together - by_itself).max()
                raise BackendError(
                    f"{several.file}: expected each of {rows} robots in a batch to get the same "
                    f"answer as alone, found an answer in row {row} that differs by "
                    f"{difference:g}: the model mixes the rows of a batch; {REMEDY}"
                )


def _fill(lane: Lane, kind: int, golden: Mapping[str, Tensor], random: np.random.Generator) -> None:
    """Fill a row with random values of size `_SIZES[kind]` or, for kind 0, with a golden row."""
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
