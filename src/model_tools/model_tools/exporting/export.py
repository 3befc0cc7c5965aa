# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a policy to an ONNX model that is proven to be the same function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.policy import CheckpointPolicy, read_policy
from model_tools.checkpoints.to_onnx import to_onnx
from model_tools.exporting.portable import refuse_custom_operators, simplified
from model_tools.exporting.proof import prove, prove_recorded
from model_tools.files import new_file
from model_tools.onnx_model import CHECKPOINT_SHA256, OBS_STATS
from model_tools.parity import Difference, random_rows, read_rows
from policy_inference.bundle.verified import sha256_of
from policy_inference.interfaces import F32

PRODUCER, STATS_FILE = "model_tools with torch", "obs_stats.npz"
CONTRACT_STD_FLOOR = 1e-3
"""Smaller divisors are raised to this, unless the contract names another bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export, and how.

    Attributes:
        checkpoint: What a training saved.
        config: The network that it holds the weights of.
        output: File to write.
        opset: 11 to 20.
        dynamic_batch: Whether the number of robots stays open.
        check: Observations (key `obs`) to compare on beside random ones, and perhaps the actions
            that belong to them.
        trust_code: Whether a TorchScript program may be loaded.
        force: Whether files that are there may be replaced.
    """

    checkpoint: Path
    config: ExportConfig
    output: Path
    opset: int = 11
    dynamic_batch: bool = False
    check: Path | None = None
    trust_code: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was found, made, and written; differences by what was compared."""

    policy: CheckpointPolicy
    model: onnx.ModelProto
    differences: dict[str, Difference]
    written: list[Path]


def export(request: Request) -> Exported:
    """Export a checkpoint, prove that the model is the same function, and write it.

    Raises:
        ToolError: The checkpoint cannot be used, or the model differs.
        OSError: A file cannot be read or written.
    """
    config = request.config
    given, actions = dict[str, F32](), None
    if request.check is not None:
        given[request.check.name], actions = read_rows(request.check, config.obs_dim,
                                                       config.act_dim)
    policy = read_policy(request.checkpoint, config, trust_code=request.trust_code)
    model = make_model(
        policy, obs_dim=config.obs_dim, opset=request.opset, dynamic_batch=request.dynamic_batch,
        metadata={"checkpoint": request.checkpoint.name, "format": policy.format,
                  CHECKPOINT_SHA256: sha256_of(request.checkpoint)},
    )  # fmt: skip
    rows = {**random_rows(*policy.usual_obs(config.obs_dim)), **given}
    differences = prove(policy, model, rows, dynamic_batch=request.dynamic_batch)
    if actions is not None:
        differences |= prove_recorded(policy, model, given, actions)
    written = write(request.output, model, policy, force=request.force)
    return Exported(policy=policy, model=model, differences=differences, written=written)


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
        entry: dict[str, object] = {"file": STATS_FILE, "sha256": sha256_of(growing_stats)}
        if (smallest := float(divisor.min())) < CONTRACT_STD_FLOOR:
            entry["std_floor"] = float(f"{smallest / 2:.1g}")
        model.metadata_props.add(key=OBS_STATS, value=json.dumps(entry))
        onnx.save(model, str(growing))
    return [output, stats]
