# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy as ONNX, as torch writes it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from model_tools.errors import ToolError

OBS, ACTION, STATE = "obs", "action", ("h", "c")


def to_onnx(
    policy: Any, state: Sequence[Tensor], *, obs_dim: int, opset: int, dynamic_batch: bool
) -> bytes:
    """Return the model: `obs` [batch, obs_dim] to `action`; `h_in`, `c_in` to `h_out`, `c_out`.

    Args:
        policy: A `networks.Policy`, or a program like one.
        state: Of one robot: nothing, h, or h and c.
        obs_dim: Size of the observation.
        opset: 11 to 20, which this exporter of torch writes.
        dynamic_batch: Whether the batch axis is free; else it is 1.

    Raises:
        ToolError: The policy holds an operation that ONNX does not have in this opset.
    """
    carried = STATE[: len(state)]
    inputs, outputs = [OBS, *(f"{s}_in" for s in carried)], [ACTION, *(f"{s}_out" for s in carried)]
    axes = {name: {0 if name in (OBS, ACTION) else 1: "batch"} for name in (*inputs, *outputs)}
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # The newer exporter needs more packages and writes no opset below 18.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                policy, (torch.zeros(1, obs_dim), *state), buffer, opset_version=opset,
                input_names=inputs, output_names=outputs,
                dynamic_axes=axes if dynamic_batch else None, dynamo=False,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        logging.getLogger("model_tools").debug("torch.onnx.export", exc_info=error)
        reason = (str(error).strip().splitlines() or ["an error"])[0]
        raise ToolError(f"opset {opset}: expected operations that ONNX has, found: {reason}; try "
                        "a higher --opset") from error
    return buffer.getvalue()
