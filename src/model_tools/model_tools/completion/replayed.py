# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows put to the reference model again."""

from __future__ import annotations

import dataclasses

from model_tools.errors import ToolError
from model_tools.parity import between
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import Rows, play


def replayed(bundle: Bundle, rows: Rows) -> Rows:
    """Return the rows with all tensors of the model, which must give the outputs that they have.

    Raises:
        ToolError: It gives others.
        PolicyError: It does not run.
    """
    model = bundle.contract.model
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        played = play(backend, rows, bundle.contract.state)
    finally:
        backend.close()
    for name, said in rows.outputs.items():
        difference = between(played[name], said)
        if difference:
            raise ToolError(f"{rows.source}: {name}: expected the outputs of the bundle's model, "
                            f"found a difference of {difference}; another policy made these rows")
    return dataclasses.replace(rows, inputs={name: played[name] for name in model.inputs},
                               outputs={name: played[name] for name in model.outputs})
