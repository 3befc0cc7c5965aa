# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the model gives back: recurrent state as its own next input, outputs as observations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_core.bundle.contract import StatePair
from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import Backend
from policy_core.observation.state import RobotState


class RecurrentState(Stateful):
    """Copies each state output to its input; zeros at the start."""

    def __init__(self, pairs: Sequence[StatePair], backend: Backend) -> None:
        """Keep the arrays of the pairs."""
        self.pairs = [(backend.inputs[pair.input], backend.outputs[pair.output]) for pair in pairs]
        """Input and output of each; none where there is nothing to do."""
        self._inputs = {pair.input: backend.inputs[pair.input] for pair in pairs}
        self.reset()

    def reset(self) -> None:
        """Set the state to zero."""
        for into in self._inputs.values():
            into[...] = 0

    def saved(self) -> dict[str, Any]:
        """Return a copy of each input."""
        return {name: into.copy() for name, into in self._inputs.items()}

    def restore(self, saved: Tree) -> None:
        """Go on from inputs of the same model."""
        for name, into in self._inputs.items():
            into[...] = saved[name]

    def is_finite(self) -> bool:
        """Return whether the outputs of this tick may become inputs."""
        return all(np.isfinite(out).all() for _, out in self.pairs)

    def advance(self) -> None:
        """Make the outputs of this tick the inputs of the next."""
        for into, out in self.pairs:
            into[...] = out


class LastOutputs:
    """Writes outputs that a term observes into the state, for the next tick to read.

    Unlike recurrent state they are scaled, clipped and kept in the history as observations are.
    `RobotState.restart` makes them zeros; where a result is not taken, they stay as they were.
    """

    def __init__(self, state: RobotState, backend: Backend) -> None:
        """Find the arrays of the outputs that the state has a field of."""
        self.pairs = [
            (field, backend.outputs[name].reshape(-1)) for name, field in state.last_outputs.items()
        ]
        """Field and output of each; none where there is nothing to do."""

    def is_finite(self) -> bool:
        """Return whether the outputs of this tick may be observed in the next."""
        return all(np.isfinite(out).all() for _, out in self.pairs)

    def advance(self) -> None:
        """Make the outputs of this tick those that the next one observes."""
        for field, out in self.pairs:
            field[:] = out
