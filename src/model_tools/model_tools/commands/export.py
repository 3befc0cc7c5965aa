# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export a policy from a training checkpoint to ONNX, and verify that the outputs are the same.

    model_tools export model_1500.pt --config network.yaml --output policy.onnx

Reads state dicts, checkpoints from rsl_rl, skrl and rl_games, and TorchScript. The model has the
input `obs` and the output `action`; a recurrent model also has h_in (and c_in), h_out (and c_out).
"""
# run: needs: torch
# run: swap: {model_tools: .venv-torch/bin/python -m model_tools}

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.make.checkpoints import require_torch
from policy_store.command_line import CommandResult

OPSETS = range(11, 21)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the training")
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="YAML: obs_dim, act_dim, hidden_sizes, activation, ...",
    )
    parser.add_argument("--output", type=Path, required=True, help="ONNX file to write")
    parser.add_argument(
        "--opset",
        type=int,
        default=11,
        choices=OPSETS,
        metavar="N",
        help="ONNX opset, 11 to 20 (default 11)",
    )
    parser.add_argument(
        "--dynamic-batch", action="store_true", help="make the batch size dynamic (default: 1)"
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="NPZ",
        help="observations to compare on in addition to random ones (key obs, one per row), with "
        "the actions that the training code computed for them (key actions); for a state dict, "
        "only such actions verify the activations",
    )
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="load a TorchScript program, which can execute arbitrary code while it loads",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Export a checkpoint to ONNX, and verify the model.

    Returns:
        format of the checkpoint, inputs and outputs (names of the model's tensors), opset,
        differences (largest error of the actions against the checkpoint, by set of rows), written
        (files).
    """
    if given.checkpoint.suffix == ".onnx":
        raise ToolError(
            f"{given.checkpoint}: expected a checkpoint, found a file named .onnx; an ONNX model "
            "needs no export: pass it to `model_tools import`"
        )
    require_torch()
    from model_tools.make.portable import require_onnxsim

    require_onnxsim()
    from model_tools.make.checkpoints.checkpoint_export import (
        ExportRequest,
        export,
        export_facts,
    )
    from model_tools.make.checkpoints.load import read_checkpoint
    from model_tools.make.checkpoints.network_config import read_config

    config = read_config(given.config)
    request = ExportRequest(
        checkpoint=read_checkpoint(given.checkpoint, trust_code=given.trust_code),
        config=config,
        output=given.output,
        opset=given.opset,
        dynamic_batch=given.dynamic_batch,
        check=given.check,
        force=given.force,
    )
    exported = export(request)
    graph = exported.model.graph
    result = {
        "format": request.checkpoint.format,
        "inputs": [tensor.name for tensor in graph.input],
        "outputs": [tensor.name for tensor in graph.output],
        "opset": exported.model.opset_import[0].version,
        "differences": {name: one.largest for name, one in exported.differences.items()},
        "written": exported.written,
    }
    return CommandResult(document=result, text=[export_facts(request, exported)])
