# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an ONNX model is the function that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.array_files import OBSERVATION, check_rows, read_arrays
from model_tools.errors import ToolError
from policy_inference.interfaces import F32, Tensor

TOLERANCE = 1e-5
RANDOM_ROWS, SPREAD = 200, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far actions are from the reference's."""

    rows: int
    largest: float
    """Largest |difference|."""
    scale: float
    """Largest |action| of the reference."""
    row: int
    """Where the largest difference is."""

    @property
    def limit(self) -> float:
        """What is allowed: the tolerance of the largest action, or of 1 where that is larger."""
        return TOLERANCE * max(1.0, self.scale)

    def __bool__(self) -> bool:
        """Whether the outputs differ by more than the limit; NaN does."""
        return not self.largest <= self.limit

    def __str__(self) -> str:
        """Return e.g. ``2.4e-07 in 200 rows (row 31; actions up to 4.1, limit 4.1e-05)``."""
        return (f"{self.largest:.2g} in {self.rows} rows (row {self.row}; actions up to "
                f"{self.scale:.3g}, limit {self.limit:.2g})")


def random_rows(mean: F32, spread: F32) -> F32:
    """Return observations [200, obs_dim] around a mean [obs_dim], wider than the training's."""
    rows = np.random.default_rng(0).normal(0.0, SPREAD, (RANDOM_ROWS, len(mean)))
    return (mean + spread * rows).astype(np.float32)


def read_rows(path: Path, obs_dim: int) -> F32:
    """Read observations [rows, obs_dim] from the key `obs` of an npz, or from an npy.

    Raises:
        ToolError: They are not there, of another size, or not finite.
        OSError: The file cannot be read.
    """
    arrays = read_arrays(path)
    if OBSERVATION not in arrays:
        raise ToolError(f"{path}: expected observations under the key {OBSERVATION}, found the "
                        f"keys {', '.join(arrays) or 'none'}")
    rows = arrays[OBSERVATION]
    check_rows(path, OBSERVATION, rows, (len(np.atleast_1d(rows)), obs_dim))
    return rows.astype(np.float32)


def difference(
    model: bytes, reference: Callable[[F32], F32], rows: F32, prepare: Callable[[F32], F32],
    batch: int = 1,
) -> Difference:  # fmt: skip
    """Run both over the rows in their order, each with its own state fed back.

    Args:
        model: ONNX; its first input and output are observation and action, the others the state.
        reference: From observations [batch, obs_dim] to actions [batch, act_dim].
        rows: Observations [rows, obs_dim].
        prepare: What is done to observations before the model gets them.
        batch: How many robots at once; they get the same rows, each one row behind the other.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    state = [np.zeros((given.shape[0], batch, given.shape[2]), np.float32) for given in inputs[1:]]
    found, expected = list[Tensor](), list[Tensor]()
    for index in range(len(rows)):
        obs = rows[np.arange(index, index + batch) % len(rows)]
        feed = dict(zip([given.name for given in inputs], [prepare(obs), *state], strict=True))
        action, *state = session.run(None, feed)
        found.append(action)
        expected.append(reference(obs))
    return between(np.stack(found), np.stack(expected))


def between(found: Tensor, expected: Tensor) -> Difference:
    """Return how far rows of outputs [rows, ...] are from the expected ones."""
    wanted = expected.reshape(len(expected), -1).astype(np.float64)
    # numpy's max keeps a NaN, which argmax then takes for the largest.
    errors = np.abs(np.subtract(found.reshape(wanted.shape), wanted, dtype=np.float64)).max(axis=1)
    row = int(np.argmax(errors))
    return Difference(rows=len(errors), largest=float(errors[row]),
                      scale=float(np.abs(wanted).max()), row=row)
