# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recurrent state: what the model gives back as its own next input."""

from collections.abc import Sequence

import numpy as np

from policy_inference.bundle.contract import StatePair
from policy_inference.interfaces import Backend


class RecurrentState:
    """Copies each state output to its input; zeros at the start."""

    def __init__(self, pairs: Sequence[StatePair], backend: Backend) -> None:
        """Keep the arrays of the pairs."""
        self._pairs = [(backend.inputs[pair.input], backend.outputs[pair.output])
                       for pair in pairs]  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """Set the state to zero."""
        for into, _ in self._pairs:
            into[...] = 0

    def is_finite(self) -> bool:
        """Return whether the outputs of this tick may become inputs."""
        return not self._pairs or all(np.isfinite(out).all() for _, out in self._pairs)

    def advance(self) -> None:
        """Make the outputs of this tick the inputs of the next."""
        for into, out in self._pairs:
            into[...] = out
