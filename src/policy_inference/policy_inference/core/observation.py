# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the robot's state to a model input: gather, offset, scale, clip, history, normalise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_inference.bundle.contract import JointContract, Observation, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.core.normaliser import Normaliser
from policy_inference.core.state import RobotState, field_name
from policy_inference.interfaces import F64, Tensor

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Columns:
    """One term as columns of the frame: (state[index] - offset) * scale, within low and high."""

    index: Index
    offset: F64
    scale: F64
    low: F64
    high: F64
    frames: int


class ObservationBuilder:
    """Writes one model input from the robot's state, without allocating."""

    def __init__(
        self,
        observation: Observation,
        contract: JointContract,
        state: RobotState,
        out: Tensor,
        statistics: tuple[F64, F64] | None = None,
    ) -> None:
        """Turn names into indices, once.

        Args:
            observation: Terms of this input; a valid part of `contract`.
            contract: The whole contract.
            state: State that is read by each `write`.
            out: Array of the backend that is written, any shape, as many values.
            statistics: Mean and divisor [size] that normalise the whole vector.
        """
        columns = [_columns(term, observation, contract, state) for term in observation.terms]
        self._flat = state.flat
        self._index = np.concatenate([column.index for column in columns])
        self._offset, self._scale, self._low, self._high = (
            np.concatenate([getattr(column, name) for column in columns])
            for name in ("offset", "scale", "low", "high")
        )
        self._clips = bool(np.isfinite([self._low, self._high]).any())
        self._frame: F64 = np.zeros(self._index.size)
        self._history = None
        if any(column.frames > 1 for column in columns):
            self._history = _History(observation, columns, self._frame)
        self._vector = self._history.vector if self._history else self._frame
        self._normaliser = Normaliser(observation, statistics)
        self._out = out.reshape(-1)

    def reset(self) -> None:
        """Forget the frames of the past."""
        if self._history:
            self._history.reset()

    def advance(self) -> None:
        """Make the frame that was written last part of the past."""
        if self._history:
            self._history.advance()

    def write(self) -> None:
        """Write the observation of the present state into `out`; the past stays as it is."""
        frame = self._frame
        # mode="clip" spares the copy that the bounds check of take(out=) needs.
        self._flat.take(self._index, out=frame, mode="clip")
        np.subtract(frame, self._offset, out=frame)
        np.multiply(frame, self._scale, out=frame)
        if self._clips:
            np.clip(frame, self._low, self._high, out=frame)
        if self._history:
            self._history.write()
        self._normaliser.apply(self._vector)
        self._out[:] = self._vector


class _History:
    """The latest frames in a ring, and for each position of the ring the order to read them in."""

    def __init__(
        self, observation: Observation, columns: Sequence[_Columns], frame: F64
    ) -> None:
        self._frame = frame
        self._length = max(column.frames for column in columns)
        self._ring: F64 = np.zeros((self._length, frame.size))
        self._repeat_first = observation.history.init == "repeat"
        age, column = _layout(observation, columns)
        newest = np.arange(self._length)[:, None]
        self._order: Index = (newest - age) % self._length * frame.size + column
        self.vector: F64 = np.zeros(age.size)
        self.reset()

    def reset(self) -> None:
        self._ring[:] = 0.0
        self._newest = 0
        self._empty = True

    def write(self) -> None:
        """Write the frames of the past and this one into `vector`."""
        if self._empty and self._repeat_first:
            self._ring[:] = self._frame
        # The place of the newest frame is the one of that which is too old by now.
        self._ring[self._newest] = self._frame
        self._ring.take(self._order[self._newest], out=self.vector, mode="clip")

    def advance(self) -> None:
        """Keep the frame as one of the past."""
        self._empty = False
        self._newest = (self._newest + 1) % self._length


def _layout(observation: Observation, columns: Sequence[_Columns]) -> tuple[Index, Index]:
    """Return for each value of the vector its age in frames and its column in the frame."""
    starts = np.cumsum([0, *(column.index.size for column in columns)])
    groups = [
        (np.arange(start, start + column.index.size), column.frames)
        for start, column in zip(starts[:-1].tolist(), columns, strict=True)
    ]
    if observation.history.layout == "per_frame":
        groups = [(np.arange(starts[-1]), observation.history.length)]
    ages, places = [], []
    for members, frames in groups:
        order = np.arange(frames)
        if observation.history.order == "oldest_first":
            order = order[::-1]
        ages.append(np.repeat(order, members.size))
        places.append(np.tile(members, frames))
    return np.concatenate(ages), np.concatenate(places)


def _columns(
    term: Term, observation: Observation, contract: JointContract, state: RobotState
) -> _Columns:
    spec = TERMS[term.term]
    names = term_names(term, spec, contract)
    start = state.slices[field_name(term)].start
    places = np.array(spec.order or range(len(names)))
    offset: F64 = np.zeros(len(names))
    if spec.size == "joints":
        places = np.array([contract.joints.names.index(name) for name in names])
    if spec.minus_default:
        offset = per_joint(contract.joints.default_position, contract.joints.names)[places]
    scale = per_joint(term.scale, names)
    low, high = _bounds(term, observation, scale)
    return _Columns(index=start + places, offset=offset, scale=scale, low=low, high=high,
                    frames=term.history_length or observation.history.length)


def _bounds(term: Term, observation: Observation, scale: F64) -> tuple[F64, F64]:
    """Return the clip as bounds of the scaled value: clipping first is clipping to scaled ends."""
    if term.clip is None:
        return np.full(scale.size, -np.inf), np.full(scale.size, np.inf)
    ends = np.outer(term.clip, scale if observation.order == "clip_then_scale" else
                    np.ones(scale.size))
    return ends.min(axis=0), ends.max(axis=0)
