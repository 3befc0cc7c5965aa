# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Make an NVIDIA Triton model repository from a bundle, with YAML to serve it with KServe.

    model_tools deploy triton my_arm --output repository
    tritonserver --model-repository repository
    model_tools compile oip --bundle my_arm --precision fp32 --output my_arm_remote

The models have the tensors that the contract states. Their hashes are stored as parameters, which
the `oip` back end checks.
"""
# run: tritonserver: {skip: Triton's container}

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.arguments import number_above_0
from policy_store.command_line import CommandResult, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder or name of the bundle")
    parser.add_argument("--output", type=Path, required=True, help="folder of the repository")
    parser.add_argument(
        "--model-version",
        type=number_above_0,
        default=1,
        help="version number in the repository (default 1)",
    )
    parser.add_argument(
        "--instances",
        type=number_above_0,
        default=1,
        help="number of concurrent runs of a model (default 1)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "gpu", "auto"), default="auto", help="default: auto"
    )
    parser.add_argument(
        "--storage-uri",
        default="",
        help="URI of the repository for KServe, such as s3://...",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing repository")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Write the repository.

    Returns:
        repository (folder), models (names).
    """
    from model_tools.ship.model_repository import write_repository
    from policy_core.bundle.load import load_bundle

    names = write_repository(
        load_bundle(given.bundle),
        given.output,
        version=given.model_version,
        instances=given.instances,
        device=given.device,
        storage=given.storage_uri,
        force=given.force,
    )
    return CommandResult(
        document={"repository": given.output, "models": names},
        text=[f"{given.output}: {', '.join(names)}"],
    )
