# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export a policy to an ONNX model, and prove that both compute the same function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from model_tools.errors import ToolError
from model_tools.files.onnx_model import CHECKPOINT_SHA256, OBS_STATS
from model_tools.files.outputs import new_file
from model_tools.make.checkpoints.checkpoint_policy import CheckpointPolicy, build_policy
from model_tools.make.checkpoints.load import TorchCheckpoint
from model_tools.make.checkpoints.network_config import ExportConfig
from model_tools.make.checkpoints.networks import to_onnx
from model_tools.make.parity import (
    RECORDED_TOLERANCE,
    ParityDifference,
    difference,
    random_rows,
    read_rows,
    recorded,
)
from model_tools.make.portable import refuse_custom_operators, simplified
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import F32
from policy_store.report import Facts

PRODUCER, STATS_FILE = "model_tools with torch", "obs_stats.npz"
CONTRACT_STD_FLOOR = 1e-3
"""Lower bound to which smaller divisors are raised, unless the contract states another bound."""
SEVERAL = 5
"""Batch size used to test a free batch axis."""
NORMALISERS = {
    "bake": "in the model",
    "none": "left out",
    "keep": "kept beside the model, for import",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Options for an export.

    Attributes:
        checkpoint: The parsed checkpoint.
        config: Description of the checkpoint's network.
        output: File to write.
        opset: ONNX opset version, 11 to 20.
        dynamic_batch: Leave the batch size free.
        check: File with observations (key `obs`), and optionally their actions, to compare in
            addition to random observations.
        force: Replace existing files.
    """

    checkpoint: TorchCheckpoint
    config: ExportConfig
    output: Path
    opset: int = 11
    dynamic_batch: bool = False
    check: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """Result of an export, with the difference for each set of observations."""

    policy: CheckpointPolicy
    model: onnx.ModelProto
    differences: dict[str, ParityDifference]
    written: list[Path]


def export(request: ExportRequest) -> ExportedModel:
    """Export a checkpoint, prove that the model computes the same function, and write the model."""
    config = request.config
    given, actions = dict[str, F32](), None
    if request.check is not None:
        given[request.check.name], actions = read_rows(
            request.check, config.obs_dim, config.act_dim
        )
    checkpoint = request.checkpoint
    policy = build_policy(checkpoint, config)
    model = make_model(
        policy,
        obs_dim=config.obs_dim,
        opset=request.opset,
        dynamic_batch=request.dynamic_batch,
        metadata={
            "checkpoint": checkpoint.path.name,
            "format": checkpoint.format,
            CHECKPOINT_SHA256: checkpoint.sha256,
        },
    )
    rows = {**random_rows(*policy.usual_obs(config.obs_dim)), **given}
    differences = prove(policy, model, rows, dynamic_batch=request.dynamic_batch)
    if actions is not None:
        differences |= prove_recorded(policy, model, given, actions)
    written = write(request.output, model, policy, force=request.force)
    return ExportedModel(policy=policy, model=model, differences=differences, written=written)


def make_model(
    policy: CheckpointPolicy,
    *,
    obs_dim: int,
    opset: int,
    dynamic_batch: bool,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Export a policy to ONNX, and return the simplified model."""
    raw = to_onnx(
        policy.exported,
        policy.whole.initial_state(1),
        obs_dim=obs_dim,
        opset=opset,
        dynamic_batch=dynamic_batch,
    )
    model = onnx.load_from_string(raw)
    refuse_custom_operators(model)
    model = simplified(model)
    model.producer_name = PRODUCER
    onnx.helper.set_model_props(model, dict(metadata))
    return model


def write(
    output: Path, model: onnx.ModelProto, policy: CheckpointPolicy, *, force: bool
) -> list[Path]:
    """Write the model, and the statistics that belong next to it; return the files."""
    if policy.statistics is None or not policy.normalised_outside:
        with new_file(output, force=force) as growing:
            onnx.save(model, str(growing))
        return [output]
    stats, (mean, divisor) = output.parent / STATS_FILE, policy.statistics.arrays()
    with new_file(stats, force=force) as growing_stats, new_file(output, force=force) as growing:
        np.savez(growing_stats, mean=mean, std=divisor)
        entry: dict[str, object] = {"file": STATS_FILE, "sha256": sha256_file(growing_stats)}
        if (smallest := float(divisor.min())) < CONTRACT_STD_FLOOR:
            entry["std_floor"] = float(f"{smallest / 2:.1g}")
        model.metadata_props.add(key=OBS_STATS, value=json.dumps(entry))
        onnx.save(model, str(growing))
    return [output, stats]


def prove(
    policy: CheckpointPolicy,
    model: onnx.ModelProto,
    sets: Mapping[str, F32],
    *,
    dynamic_batch: bool,
) -> dict[str, ParityDifference]:
    """Compare the model with the policy on sets of observations [rows, obs_dim].

    Returns:
        The difference for each set.
    """
    data = model.SerializeToString()
    found = dict[str, ParityDifference]()
    for name, rows in sets.items():
        for batch in (1, SEVERAL) if dynamic_batch else (1,):
            one = difference(data, policy.steps(batch), rows, policy.prepared, batch)
            if one:
                raise ToolError(
                    f"model: {name}: expected the checkpoint's actions, found a "
                    f"difference of {one}{_remedy(policy)}"
                )
            found.setdefault(name, one)
    return found


def prove_recorded(
    policy: CheckpointPolicy, model: onnx.ModelProto, rows: Mapping[str, F32], actions: F32
) -> dict[str, ParityDifference]:
    """Compare the model with recorded actions [rows, act_dim]; a state dict has no other proof."""
    [(name, obs)] = rows.items()
    found = difference(
        model.SerializeToString(),
        recorded(actions),
        obs,
        policy.prepared,
        tolerance=RECORDED_TOLERANCE,
    )
    if found:
        raise ToolError(
            f"{name}: expected the actions that were recorded, found a difference of "
            f"{found}; check activation, output_activation, rnn and normaliser, and "
            "that the rows of a recurrent policy are a single run from its first step"
        )
    return {f"{name}, recorded actions": found}


def _remedy(policy: CheckpointPolicy) -> str:
    if policy.program is None or not policy.layers:
        return ""
    return (
        "; the program does more than the configuration describes, such as clamping, "
        "branching or counting; if it has no state, export it as it is (leave out hidden_sizes)"
    )


def export_facts(request: ExportRequest, exported: ExportedModel) -> Facts:
    """Return the facts to show about an export."""
    config, policy, graph = request.config, exported.policy, exported.model.graph
    rnn = config.rnn
    recurrent = f"{rnn.num_layers} x {rnn.type} {rnn.hidden_size}, {rnn.position}" if rnn else None
    return Facts(
        title="",
        rows=[
            ("format", request.checkpoint.format),
            ("layers", ", ".join(policy.layers) or "as in the program"),
            *([("recurrent", recurrent)] if recurrent else []),
            ("activation", config.activation or "as in the program"),
            ("normaliser", _normaliser(config, policy)),
            ("inputs", ", ".join(map(_tensor, graph.input))),
            ("outputs", ", ".join(map(_tensor, graph.output))),
            ("opset", exported.model.opset_import[0].version),
            *(("difference", f"{name}: {one}") for name, one in exported.differences.items()),
            *(("written", str(path)) for path in exported.written),
        ],
    )


def _normaliser(config: ExportConfig, policy: CheckpointPolicy) -> str:
    if policy.statistics is None or config.normaliser is None:
        return "none in the checkpoint"
    return f"{policy.statistics}: {NORMALISERS[config.normaliser]}"


def _tensor(value: Any) -> str:
    axes = [axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim]
    return f"{value.name} [{', '.join(axes)}]"
