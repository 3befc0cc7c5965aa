# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows put to the reference model again."""

from __future__ import annotations

import dataclasses

import numpy as np

from model_tools.errors import ToolError
from model_tools.parity import between
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.open_loop import joints
from policy_inference.comparison.rows import Rows, play
from policy_inference.interfaces import Tensor


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
            raise ToolError(f"{rows.source}: {name}{_worst(bundle, name, played[name], said)}: "
                            "expected the outputs of the bundle's model, found a difference of "
                            f"{difference}; another policy made these rows, or the inputs beside "
                            "them are not those that it had")
    return dataclasses.replace(rows, inputs={name: played[name] for name in model.inputs},
                               outputs={name: played[name] for name in model.outputs})


def _worst(bundle: Bundle, name: str, found: Tensor, said: Tensor) -> str:
    """Name the joint of the largest difference, where the output commands joints."""
    if name != bundle.contract.action.output:
        return ""
    wanted = said.reshape(len(said), -1)
    errors = np.subtract(found.reshape(wanted.shape), wanted, dtype=np.float64)
    largest = np.abs(errors).max(axis=0)
    return f" of {joints(bundle.contract)[int(largest.argmax())]}"
