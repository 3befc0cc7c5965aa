# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a policy to an ONNX model that is proven to be the same function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from model_tools.checkpoints.policy import CheckpointPolicy
from model_tools.checkpoints.to_onnx import to_onnx
from model_tools.errors import ToolError
from model_tools.files import new_file
from model_tools.parity import Difference, difference
from model_tools.portable import refuse_custom_operators, simplified
from policy_inference.interfaces import F32

PRODUCER, STATS_FILE = "model_tools", "obs_stats.npz"
SEVERAL = 5
"""Robots at once with which a free batch axis is tried."""


def make_model(
    policy: CheckpointPolicy, *, obs_dim: int, opset: int, dynamic_batch: bool,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:  # fmt: skip
    """Export and simplify.

    Raises:
        ToolError: It cannot be exported or simplified, or needs operators that are not ONNX's.
    """
    raw = to_onnx(policy.exported, policy.whole.initial_state(1), obs_dim=obs_dim, opset=opset,
                  dynamic_batch=dynamic_batch)
    model = onnx.load_from_string(raw)
    refuse_custom_operators(model)
    model = simplified(model)
    model.producer_name = PRODUCER
    onnx.helper.set_model_props(model, dict(metadata))
    return model


def prove(
    policy: CheckpointPolicy, model: onnx.ModelProto, sets: Sequence[F32], *, dynamic_batch: bool
) -> list[Difference]:
    """Compare the model with the policy on sets of observations [rows, obs_dim].

    Returns:
        One difference per set.

    Raises:
        ToolError: They differ.
    """
    data = model.SerializeToString()

    def of(rows: F32, batch: int) -> Difference:
        return difference(data, policy.steps(batch), rows, policy.prepared, batch)

    found = [of(rows, 1) for rows in sets]
    several = [of(rows, SEVERAL) for rows in sets[:1] if dynamic_batch]
    for one in (*found, *several):
        if one:
            raise ToolError(f"model: expected the checkpoint's actions, found a difference "
                            f"of {one}")
    return found


def write(
    output: Path, model: onnx.ModelProto, policy: CheckpointPolicy, *, force: bool
) -> list[Path]:
    """Write the model, and beside it the statistics that are kept; return what was written.

    Raises:
        ToolError: A file is there already and `force` is not given.
        OSError: A file cannot be written.
    """
    if policy.statistics is None or not policy.normalised_outside:
        with new_file(output, force=force) as growing:
            onnx.save(model, str(growing))
        return [output]
    stats, (mean, divisor) = output.parent / STATS_FILE, policy.statistics.arrays()
    with new_file(stats, force=force) as growing_stats, new_file(output, force=force) as growing:
        np.savez(growing_stats, mean=mean, std=divisor)
        onnx.save(model, str(growing))
    return [output, stats]
