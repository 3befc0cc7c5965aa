# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an ONNX model is the function that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.array_files import OBSERVATION, check_rows, first_of, read_arrays
from model_tools.errors import ToolError
from policy_inference.interfaces import F32, Tensor

TOLERANCE, RECORDED_TOLERANCE = 1e-5, 1e-4
RANDOM_ROWS, SPREADS = 200, (2.0, 50.0)
"""Twice and 50 times the training's standard deviation: somewhat beyond what it saw, and far
beyond, where a program clamps or branches."""
_ACTIONS = ("actions", "action")


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
    tolerance: float = TOLERANCE
    """Allowed share of the largest action."""

    @property
    def limit(self) -> float:
        """What is allowed: the tolerance of the largest action, or of 1 where that is larger."""
        return self.tolerance * max(1.0, self.scale)

    def __bool__(self) -> bool:
        """Whether the outputs differ by more than the limit; NaN does."""
        return not self.largest <= self.limit

    def __str__(self) -> str:
        """Return e.g. ``2.4e-07 in 200 rows (row 31; actions up to 4.1, limit 4.1e-05)``."""
        return (f"{self.largest:.2g} in {self.rows} rows (row {self.row}; actions up to "
                f"{self.scale:.3g}, limit {self.limit:.2g})")


def random_rows(mean: F32, spread: F32) -> dict[str, F32]:
    """Return observations [200, obs_dim] around a mean [obs_dim] for each of `SPREADS`, by name."""
    random = np.random.default_rng(0)
    return {f"random, {wide:g} times the usual spread":
            (mean + spread * random.normal(0.0, wide, (RANDOM_ROWS, len(mean)))).astype(np.float32)
            for wide in SPREADS}


def read_rows(path: Path, obs_dim: int, act_dim: int) -> tuple[F32, F32 | None]:
    """Read observations [rows, obs_dim] and, where they were recorded, actions [rows, act_dim].

    They have the keys `obs`, and `actions` or `action` in an npz; an npy holds observations.

    Raises:
        ToolError: They are not there, of another size, or not finite.
        OSError: The file cannot be read.
    """
    arrays = read_arrays(path)
    if OBSERVATION not in arrays:
        raise ToolError(f"{path}: expected observations under the key {OBSERVATION}, found the "
                        f"keys {', '.join(arrays) or 'none'}")
    rows, count = arrays[OBSERVATION], len(np.atleast_1d(arrays[OBSERVATION]))
    check_rows(path, OBSERVATION, rows, (count, obs_dim))
    actions = first_of(arrays, _ACTIONS)
    if actions is not None:
        check_rows(path, " or ".join(_ACTIONS), actions, (count, act_dim))
    return rows.astype(np.float32), None if actions is None else actions.astype(np.float32)


def recorded(actions: F32) -> Callable[[F32], F32]:
    """Return a reference that gives recorded actions [rows, act_dim] one by one, [1, act_dim]."""
    rows = iter(actions[:, np.newaxis])
    return lambda _: next(rows)


def difference(
    model: bytes, reference: Callable[[F32], F32], rows: F32, prepare: Callable[[F32], F32],
    batch: int = 1, tolerance: float = TOLERANCE,
) -> Difference:  # fmt: skip
    """Run both over the rows in their order, each with its own state fed back.

    Args:
        model: ONNX; its first input and output are observation and action, the others the state.
        reference: From observations [batch, obs_dim] to actions [batch, act_dim].
        rows: Observations [rows, obs_dim].
        prepare: What is done to observations before the model gets them.
        batch: How many robots at once; they get the same rows, each one row behind the other.
        tolerance: Share of the largest action that may differ.
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
    return between(np.stack(found), np.stack(expected), tolerance)


def between(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> Difference:
    """Return how far rows of outputs [rows, ...] are from the expected ones."""
    wanted = expected.reshape(len(expected), -1).astype(np.float64)
    # numpy's max keeps a NaN, which argmax then takes for the largest.
    errors = np.abs(np.subtract(found.reshape(wanted.shape), wanted, dtype=np.float64)).max(axis=1)
    row = int(np.argmax(errors))
    return Difference(rows=len(errors), largest=float(errors[row]),
                      scale=float(np.abs(wanted).max()), row=row, tolerance=tolerance)
