# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Golden rows: inputs of the reference model and what it makes of them."""

from __future__ import annotations

from pathlib import Path

from model_tools.array_files import write_arrays
from policy_inference.comparison.rows import Rows, evenly

GOLDEN_FILE, GOLDEN_ROWS = "golden.npz", 256


def write_golden(file: Path, rows: Rows) -> None:
    """Write at most 256 of the rows, evenly spaced, which have all tensors of the model."""
    chosen = evenly(len(rows), GOLDEN_ROWS)
    tensors = {**rows.inputs, **rows.outputs}
    write_arrays(file, {name: array[chosen] for name, array in tensors.items()})
