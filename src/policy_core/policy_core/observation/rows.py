# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of the robot state to model inputs: offset, scale, clip, history, normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_core.bundle.contract import JointContract, Observation, Term
from policy_core.bundle.terms import TERMS, term_names, term_places
from policy_core.control_state import Stateful
from policy_core.interfaces import F64, Index, Tensor
from policy_core.observation.state import RobotState, field_name


class ObservationBuilder(Stateful):
    """Writes a model input from the robot state, without allocating.

    Attributes:
        remembers: True if the input has past frames; if False, `advance` and `reset` do nothing.
    """

    STATE = ("_history",)
    PLAN = ("_index", "_offset", "_history")

    def plan(self) -> dict[str, Any]:
        """Return the native core's configuration.

        This includes indices, offsets, history, scaling and normalization.
        """
        return {**super().plan(), **self._scaler.plan(), **self._normaliser.plan()}

    def __init__(
        self,
        observation: Observation,
        contract: JointContract,
        state: RobotState,
        out: Tensor,
        statistics: tuple[F64, F64] | None = None,
    ) -> None:
        """Resolve the terms to indices in the state.

        Args:
            observation: Section for this input in `contract`.
            contract: The whole contract.
            state: State that each `write` reads.
            out: Back end array to write to; any shape with the same number of values.
            statistics: Mean and divisor [size] that normalize the whole vector; None for no
                normalization.
        """
        indices, offsets = zip(
            *(_gathered(term, contract, state) for term in observation.terms), strict=True
        )
        self._flat = state.flat
        self._index, self._offset = np.concatenate(indices), np.concatenate(offsets)
        self._scaler = frame_scaler(observation, contract)
        self._frame: F64 = np.zeros(self._index.size)
        age, column = layout(observation, contract)
        self._history: _History | None = None
        if age.any():
            self._history = _History(age, column, self._frame, observation.history.init)
        self.remembers = self._history is not None
        self._vector = self._history.vector if self._history else self._frame
        self._normaliser = Normaliser(observation, statistics)
        self._out = out.reshape(-1)

    def reset(self) -> None:
        """Discard the past frames."""
        if self._history:
            self._history.reset()

    def advance(self) -> None:
        """Add the last written frame to the past frames."""
        if self._history:
            self._history.advance()

    def write(self) -> None:
        """Write the current state's observation to `out`; past frames do not change."""
        frame = self._frame
        # mode="clip" avoids the copy that the bounds check of take(out=) needs.
        self._flat.take(self._index, None, frame, "clip")
        np.subtract(frame, self._offset, frame)
        self._scaler.apply(frame)
        if self._history:
            self._history.write()
        if self._normaliser.changes:
            self._normaliser.apply(self._vector)
        self._out[...] = self._vector


class _History(Stateful):
    """The latest frames, in a ring buffer that is stored twice so that the frames are contiguous.

    The oldest frame is always `length - 1` slots before the newest, so one index reads all frames.
    """

    STATE = ("_newest", "_empty")
    STATE_IN_PLACE = ("_rings",)
    PLAN = ("_length", "_repeat_first", "_order")

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: frames, and the values to select."""
        return {**super().plan(), "frame_size": self._frame.size}

    def __init__(self, age: Index, column: Index, frame: F64, init: str) -> None:
        self._frame, self._length = frame, int(age.max()) + 1
        self._rings: F64 = np.zeros((2, self._length, frame.size))
        self._repeat_first = init == "repeat"
        self._order: Index = (self._length - 1 - age) * frame.size + column
        self.vector: F64 = np.zeros(age.size)
        flat, size = self._rings.reshape(-1), self._length * frame.size
        self._windows = [
            flat[begin : begin + size] for begin in range(frame.size, size + frame.size, frame.size)
        ]
        self.reset()

    def reset(self) -> None:
        """Discard the past frames."""
        self._rings[...] = 0.0
        self._newest = 0
        self._empty = True

    def write(self) -> None:
        """Write the past frames and the current frame to `vector`, in the contract's layout."""
        if self._empty and self._repeat_first:
            self._rings[...] = self._frame
        # The newest frame overwrites the one that has become too old.
        self._rings[:, self._newest] = self._frame
        self._windows[self._newest].take(self._order, out=self.vector, mode="clip")

    def advance(self) -> None:
        """Add the last written frame to the past frames."""
        self._empty = False
        self._newest = (self._newest + 1) % self._length


def _gathered(term: Term, contract: JointContract, state: RobotState) -> tuple[Index, F64]:
    """Return the indices of a term's values in the state, and the offsets to subtract."""
    spec = TERMS[term.term]
    places = np.array(term_places(term, contract))
    offset: F64 = np.zeros(places.size)
    if spec.minus_default:
        offset = contract.joints.default_position[places]
    return state.slices[field_name(term)].start + places, offset


class Scaler(Stateful):
    """Scales and clips values as their terms define: value x scale, clipped to [low, high]."""

    PLAN = ("_scale", "_low", "_high", "_clips")

    def __init__(self, scale: F64, low: F64, high: F64) -> None:
        self._scale, self._low, self._high = scale, low, high
        self._clips = bool(np.isfinite([low, high]).any())

    def apply(self, values: F64) -> None:
        """Scale and clip values [size] in place, without allocating."""
        np.multiply(values, self._scale, values)
        if self._clips:
            np.clip(values, self._low, self._high, out=values)

    def taken(self, columns: Index) -> Scaler:
        """Return a scaler for the values at these columns of this scaler."""
        return Scaler(self._scale[columns], self._low[columns], self._high[columns])


def frame_scaler(observation: Observation, contract: JointContract) -> Scaler:
    """Return the scaler for one frame, whose values are in SI units, with offsets subtracted."""
    scales = [term.scale for term in observation.terms]
    bounds = [
        clip_bounds(term, observation, scale)
        for term, scale in zip(observation.terms, scales, strict=True)
    ]
    low, high = np.concatenate(bounds, axis=1)
    return Scaler(np.concatenate(scales), low, high)


def vector_scaler(observation: Observation, contract: JointContract) -> Scaler:
    """Return the scaler for the whole vector, including past frames."""
    _, columns = layout(observation, contract)
    return frame_scaler(observation, contract).taken(columns)


def layout(observation: Observation, contract: JointContract) -> tuple[Index, Index]:
    """Return each value's age (in frames) and its column in that frame, for the input vector."""
    terms, frames = observation.terms, observation.history.length
    sizes = [len(term_names(term, contract)) for term in terms]
    ends = np.cumsum(sizes).tolist()
    groups = [
        (range(end - size, end), term.history_length or frames)
        for term, size, end in zip(terms, sizes, ends, strict=True)
    ]
    if observation.history.layout == "per_frame":
        groups = [(range(ends[-1]), frames)]
    ages, places = zip(
        *(_repeated(members, length, observation.history.order) for members, length in groups),
        strict=True,
    )
    return np.concatenate(ages), np.concatenate(places)


def _repeated(members: Sequence[int], frames: int, order: str) -> tuple[Index, Index]:
    ages = np.arange(frames)
    if order == "oldest_first":
        ages = ages[::-1]
    return np.repeat(ages, len(members)), np.tile(np.array(members), frames)


def clip_bounds(term: Term, observation: Observation, scale: F64) -> F64:
    """Return a term's clip as bounds on scaled values [2, values]; infinite without a clip.

    If values are clipped before they are scaled, the bounds are also scaled.
    """
    if term.clip is None:
        return np.stack([np.full(scale.size, -np.inf), np.full(scale.size, np.inf)])
    ends = np.outer(
        term.clip, scale if observation.order == "clip_then_scale" else np.ones(scale.size)
    )
    return np.stack([ends.min(axis=0), ends.max(axis=0)])


class Normaliser(Stateful):
    """Clips and normalizes a vector in place, if the contract requires it.

    Attributes:
        changes: True if `apply` has any effect.
    """

    PLAN = ("_bound", "_normalised_bound")

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: bounds and statistics."""
        mean, divisor = self._mean_and_divisor or (None, None)
        return {**super().plan(), "mean": mean, "divisor": divisor}

    def __init__(self, observation: Observation, statistics: tuple[F64, F64] | None = None) -> None:
        """Store bounds and statistics.

        Args:
            observation: Observation that defines the bounds.
            statistics: Mean and divisor [size] of the whole vector; None for no normalization.
        """
        self._bound = observation.clip
        self._mean_and_divisor = statistics
        normalisation = observation.normalisation
        self._normalised_bound = normalisation.clip if normalisation else None
        self.changes = self._bound is not None or statistics is not None

    def apply(self, vector: F64) -> None:
        """Clip and normalize a vector [size] in place, and clip the result, without allocating."""
        if self._bound is not None:
            np.clip(vector, -self._bound, self._bound, out=vector)
        if self._mean_and_divisor is not None:
            mean, divisor = self._mean_and_divisor
            np.subtract(vector, mean, out=vector)
            np.divide(vector, divisor, out=vector)
            if self._normalised_bound is not None:
                np.clip(vector, -self._normalised_bound, self._normalised_bound, out=vector)
