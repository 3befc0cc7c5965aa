# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Refuses NaN and infinity where the integers of a quantised model would make numbers of them.

Measured: Q/DQ nodes in ONNX Runtime make numbers of both, w8a8 and w16a16i_dfp in the simulator of
RKNN Toolkit2 2.5.0 of infinity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policy_inference.errors import BackendError
from policy_inference.interfaces import Tensor


class FiniteInputs:
    """Looks at the inputs of a model before each run."""

    def __init__(self, backend: str, inputs: Mapping[str, Tensor]) -> None:
        """Take the arrays by name, and the name of the back end for errors."""
        self._backend = backend
        self._arrays = [(name, array, np.zeros(array.shape, np.bool_))
                        for name, array in inputs.items()]  # fmt: skip

    def check(self) -> None:
        """Let finite values pass.

        Raises:
            BackendError: One of them has NaN or infinity.
        """
        for name, array, finite in self._arrays:
            if not np.isfinite(array, out=finite).all():
                raise BackendError(f"{self._backend}: input {name}: expected finite values, found "
                                   "NaN or infinity, which the integers of a quantised model "
                                   "would make numbers of")
