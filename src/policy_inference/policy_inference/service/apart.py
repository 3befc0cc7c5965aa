# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the robots of a batch are apart: nobody's answer depends on who else is there."""

from __future__ import annotations

import numpy as np

from policy_inference.backends.base import BackendBase
from policy_inference.errors import BackendError
from policy_inference.interfaces import F64, Tensor
from policy_inference.service.batching import REMEDY, Axes
from policy_inference.service.lanes import Lane, lanes_of
from policy_inference.service.policy import ServedPolicy

_TOLERANCE = 1e-3
"""Of the largest value: a batch is summed up in another order, of fp16 with 11 bits."""


def require_apart(
    policy: ServedPolicy, alone: BackendBase, several: BackendBase, axes: Axes, rows: int
) -> None:
    """Return if each robot of a batch is answered as it is alone, on random values.

    An axis that is open need not be the batch: a model may also compute with it.

    Args:
        policy: What the model is.
        alone: The model for one robot; its arrays are overwritten.
        several: The same for several robots.
        axes: Of its tensors, those that should count robots.
        rows: How many robots.

    Raises:
        BackendError: One is not, or the runtime failed.
    """
    lanes, (single,) = lanes_of(policy, several, axes, rows), lanes_of(policy, alone, axes, 1)
    random = np.random.default_rng(1)
    for lane in lanes:
        for array in _entrances(lane):
            array[...] = (random.integers(0, 100, array.shape) if array.dtype.kind == "i"
                          else random.standard_normal(array.shape))
    several.run()
    for row, lane in enumerate(lanes):
        for into, array in zip(_entrances(single), _entrances(lane), strict=True):
            into[...] = array
        alone.run()
        together, by_itself = _answers(lane), _answers(single)
        allowed = _TOLERANCE * max(1.0, np.abs(np.nan_to_num(by_itself)).max())
        if not np.allclose(together, by_itself, rtol=0.0, atol=allowed, equal_nan=True):
            difference = np.abs(together - by_itself).max()
            raise BackendError(f"{several.file}: expected each of {rows} robots of a batch to be "
                               f"answered as alone, found an answer in row {row} that differs by "
                               f"{difference:g}: the model computes with its open axis; {REMEDY}")


def _entrances(lane: Lane) -> list[Tensor]:
    return [*(array for _, array in lane.inputs), *(into for into, _ in lane.state)]


def _answers(lane: Lane) -> F64:
    lane.action.read()
    return np.concatenate([lane.action.raw, *(out.astype(np.float64).ravel()
                                              for _, out in lane.state)])
