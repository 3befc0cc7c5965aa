# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the robot's state to a model input: gather, offset, scale, clip, history, normalise."""

import numpy as np

from policy_inference.bundle.contract import JointContract, Observation, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_places
from policy_inference.core.normaliser import Normaliser
from policy_inference.core.scaling import Index, frame_scaler, layout
from policy_inference.core.state import RobotState, field_name
from policy_inference.interfaces import F64, Tensor


class ObservationBuilder:
    """Writes one model input from the robot's state, without allocating.

    Attributes:
        remembers: Whether it has frames of the past; else `advance` and `reset` do nothing.
    """

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
        indices, offsets = zip(*(_gathered(term, contract, state) for term in observation.terms),
                               strict=True)
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
        self._flat.take(self._index, None, frame, "clip")
        np.subtract(frame, self._offset, frame)
        self._scaler.apply(frame)
        if self._history:
            self._history.write()
        if self._normaliser.changes:
            self._normaliser.apply(self._vector)
        self._out[...] = self._vector


class _History:
    """The latest frames in a ring, and for each position of the ring the order to read them in."""

    def __init__(self, age: Index, column: Index, frame: F64, init: str) -> None:
        self._frame, self._length = frame, int(age.max()) + 1
        self._ring: F64 = np.zeros((self._length, frame.size))
        self._repeat_first = init == "repeat"
        newest = np.arange(self._length)[:, None]
        self._order: Index = (newest - age) % self._length * frame.size + column
        self.vector: F64 = np.zeros(age.size)
        self.reset()

    def reset(self) -> None:
        """Forget the frames of the past."""
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
        """Make the frame that was written last part of the past."""
        self._empty = False
        self._newest = (self._newest + 1) % self._length


def _gathered(term: Term, contract: JointContract, state: RobotState) -> tuple[Index, F64]:
    """Return where the values of a term stand in the state, and what is subtracted from them."""
    spec = TERMS[term.term]
    places = np.array(term_places(term, contract))
    offset: F64 = np.zeros(places.size)
    if spec.minus_default:
        offset = per_joint(contract.joints.default_position, contract.joints.names)[places]
    return state.slices[field_name(term)].start + places, offset
