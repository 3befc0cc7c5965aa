# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a whole observation before the model gets it: clip, normalise, clip."""

import numpy as np

from policy_inference.bundle.contract import Observation
from policy_inference.interfaces import F64


class Normaliser:
    """Bounds and normalises a vector in place, as far as the contract says so.

    Attributes:
        changes: Whether it does anything.
    """

    def __init__(
        self, observation: Observation, statistics: tuple[F64, F64] | None = None
    ) -> None:
        """Keep bounds and statistics.

        Args:
            observation: States the bounds.
            statistics: Mean and divisor [size] of the whole vector; None leaves it as it is.
        """
        self._bound = observation.clip
        self._mean_and_divisor = statistics
        normalisation = observation.normalisation
        self._normalised_bound = normalisation.clip if normalisation else None
        self.changes = self._bound is not None or statistics is not None

    def apply(self, vector: F64) -> None:
        """Clip, normalise and clip a vector [size], without allocating."""
        if self._bound is not None:
            np.clip(vector, -self._bound, self._bound, out=vector)
        if self._mean_and_divisor is not None:
            mean, divisor = self._mean_and_divisor
            np.subtract(vector, mean, out=vector)
            np.divide(vector, divisor, out=vector)
            if self._normalised_bound is not None:
                np.clip(vector, -self._normalised_bound, self._normalised_bound, out=vector)
