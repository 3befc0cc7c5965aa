# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The proof that a model is the policy of its checkpoint, on rows and on recorded actions."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from model_tools.checkpoints.policy import CheckpointPolicy
from model_tools.errors import ToolError
from model_tools.parity import RECORDED_TOLERANCE, Difference, difference, recorded
from policy_inference.interfaces import F32

SEVERAL = 5
"""Robots at once with which a free batch axis is tried."""


def prove(
    policy: CheckpointPolicy, model: onnx.ModelProto, sets: Mapping[str, F32], *,
    dynamic_batch: bool,
) -> dict[str, Difference]:  # fmt: skip
    """Compare the model with the policy on sets of observations [rows, obs_dim].

    Returns:
        One difference per set.

    Raises:
        ToolError: They differ.
    """
    data = model.SerializeToString()
    found = dict[str, Difference]()
    for name, rows in sets.items():
        for batch in (1, SEVERAL) if dynamic_batch else (1,):
            one = difference(data, policy.steps(batch), rows, policy.prepared, batch)
            if one:
                raise ToolError(f"model: {name}: expected the checkpoint's actions, found a "
                                f"difference of {one}{_remedy(policy)}")
            found.setdefault(name, one)
    return found


def prove_recorded(
    policy: CheckpointPolicy, model: onnx.ModelProto, rows: Mapping[str, F32], actions: F32
) -> dict[str, Difference]:
    """Compare the model with recorded actions [rows, act_dim], the only proof of a state dict.

    Raises:
        ToolError: They differ.
    """
    [(name, obs)] = rows.items()
    found = difference(model.SerializeToString(), recorded(actions), obs, policy.prepared,
                       tolerance=RECORDED_TOLERANCE)
    if found:
        raise ToolError(f"{name}: expected the actions that were recorded, found a difference of "
                        f"{found}; check activation, output_activation, rnn and normaliser, and "
                        "that the rows of a recurrent policy are one run from its beginning")
    return {f"{name}, recorded actions": found}


def _remedy(policy: CheckpointPolicy) -> str:
    if policy.program is None or not policy.layers:
        return ""
    return ("; the program does more than the configuration describes, such as clamping, "
            "branching or counting; without state, export it as it stands (leave out hidden_sizes)")
