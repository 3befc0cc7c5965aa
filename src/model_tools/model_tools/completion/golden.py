# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Golden rows: inputs of the reference model and what it makes of them."""

from __future__ import annotations

from pathlib import Path

from model_tools.array_files import write_arrays
from model_tools.errors import ToolError
from model_tools.parity import between
from model_tools.rows import Rows, evenly, golden_rows, play
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle

GOLDEN_FILE, GOLDEN_ROWS = "golden.npz", 256


def write_golden(file: Path, rows: Rows) -> None:
    """Write at most 256 of the rows, evenly spaced, which have all tensors of the model."""
    chosen = evenly(len(rows), GOLDEN_ROWS)
    tensors = {**rows.inputs, **rows.outputs}
    write_arrays(file, {name: array[chosen] for name, array in tensors.items()})


def check_golden(bundle: Bundle) -> None:
    """Raise unless the golden outputs are what the bundle's model makes of the golden inputs.

    Raises:
        ToolError: They are not.
        PolicyError: The bundle has no golden rows, or the model does not run.
    """
    rows = golden_rows(bundle)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, ())
    finally:
        backend.close()
    for name, golden in rows.outputs.items():
        difference = between(played[name], golden)
        if difference:
            raise ToolError(f"{bundle.path / GOLDEN_FILE}: {name}: expected the model's outputs, "
                            f"found a difference of {difference}")
