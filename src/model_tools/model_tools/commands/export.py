# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export a policy from a training's checkpoint to ONNX, and verify that its outputs are the same.

Reads state dicts, checkpoints of rsl_rl, skrl and rl_games, and TorchScript. The model has the
input `obs` and the output `action`; a recurrent one takes h_in (and c_in) and gives h_out (c_out).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.make.checkpoints import require_torch

OPSETS = range(11, 21)
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, help="what the training saved")
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
        help="version of ONNX's operators, 11 to 20 (default 11)",
    )
    parser.add_argument(
        "--dynamic-batch", action="store_true", help="leave the number of robots open (default: 1)"
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="NPZ",
        help="observations (key obs, a row each) to compare on, in addition to random ones, "
        "and the training's actions for them (key actions): only these verify the "
        "activations of a state dict",
    )
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="load a TorchScript program, which may run any code while it loads",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")


def run(given: argparse.Namespace) -> int:
    """Export, prove, write, and show what was found.

    Raises:
        PolicyError: The checkpoint or the configuration cannot be used, or the model differs.
        OSError: A file cannot be read or written.
    """
    if given.checkpoint.suffix == ".onnx":
        raise ToolError(
            f"{given.checkpoint}: expected a checkpoint, found an ONNX model by its "
            "name, which needs no export: model_tools import takes it as it is"
        )
    require_torch()
    from model_tools.make.checkpoints.checkpoint_export import (
        ExportRequest,
        export,
        show_export,
    )
    from model_tools.make.checkpoints.network_config import read_config

    config = read_config(given.config)
    names = ("checkpoint", "output", "opset", "dynamic_batch", "check", "trust_code", "force")
    asked = {name: getattr(given, name) for name in names}
    show_export(config, export(ExportRequest(config=config, **asked)))
    return 0
