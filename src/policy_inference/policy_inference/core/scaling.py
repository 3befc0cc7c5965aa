# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the terms of an observation do to their values, and where these stand in the vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from policy_inference.bundle.contract import JointContract, Observation, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.interfaces import F64

Index = npt.NDArray[np.intp]


class Scaler:
    """Scales and clips values as their terms say: value x scale, within low and high."""

    def __init__(self, scale: F64, low: F64, high: F64) -> None:
        """Take an array [size] of each."""
        self._scale, self._low, self._high = scale, low, high
        self._clips = bool(np.isfinite([low, high]).any())

    def apply(self, values: F64) -> None:
        """Scale and clip values [size] in place, without allocating."""
        np.multiply(values, self._scale, values)
        if self._clips:
            np.clip(values, self._low, self._high, out=values)

    def taken(self, columns: Index) -> Scaler:
        """Return the one for values of which each belongs to a column of this one's."""
        return Scaler(self._scale[columns], self._low[columns], self._high[columns])


def frame_scaler(observation: Observation, contract: JointContract) -> Scaler:
    """Return what the terms do to the values of one frame, in SI units less their offsets."""
    scales = [per_joint(term.scale, term_names(term, TERMS[term.term], contract))
              for term in observation.terms]
    bounds = [_bounds(term, observation, scale)
              for term, scale in zip(observation.terms, scales, strict=True)]
    low, high = np.concatenate(bounds, axis=1)
    return Scaler(np.concatenate(scales), low, high)


def vector_scaler(observation: Observation, contract: JointContract) -> Scaler:
    """Return what the terms do to the values of the whole vector, those of the past included."""
    _, columns = layout(observation, contract)
    return frame_scaler(observation, contract).taken(columns)


def layout(observation: Observation, contract: JointContract) -> tuple[Index, Index]:
    """Return for each value of the vector its age in frames and its column in the frame."""
    terms, frames = observation.terms, observation.history.length
    sizes = [len(term_names(term, TERMS[term.term], contract)) for term in terms]
    ends = np.cumsum(sizes).tolist()
    groups = [(range(end - size, end), term.history_length or frames)
              for term, size, end in zip(terms, sizes, ends, strict=True)]
    if observation.history.layout == "per_frame":
        groups = [(range(ends[-1]), frames)]
    ages, places = zip(*(_repeated(members, length, observation.history.order)
                         for members, length in groups), strict=True)
    return np.concatenate(ages), np.concatenate(places)


def _repeated(members: Sequence[int], frames: int, order: str) -> tuple[Index, Index]:
    ages = np.arange(frames)
    if order == "oldest_first":
        ages = ages[::-1]
    return np.repeat(ages, len(members)), np.tile(np.array(members), frames)


def _bounds(term: Term, observation: Observation, scale: F64) -> F64:
    """Return the clip as bounds of the scaled value: clipping first is clipping to scaled ends."""
    if term.clip is None:
        return np.stack([np.full(scale.size, -np.inf), np.full(scale.size, np.inf)])
    ends = np.outer(term.clip, scale if observation.order == "clip_then_scale" else
                    np.ones(scale.size))
    return np.stack([ends.min(axis=0), ends.max(axis=0)])
