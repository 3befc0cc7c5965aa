# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Make a complete bundle, with golden rows and nominal figures, from a contract and its model.

    model_tools complete my_contract --model policy.onnx --simulate --output my_bundle

The guard bounds steps and torques by the nominal figures times a margin; without these figures, it
applies only the joint limits. The model must have the hash stated in the contract.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.bundle_arguments import (
    add_completion_arguments,
    find_suspicions,
    read_completion,
)
from policy_store.command_line import CommandResult, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder with the policy.yaml", type=Path)
    parser.add_argument(
        "--model", type=Path, help="reference model (ONNX), if not in the contract's folder"
    )
    add_completion_arguments(parser)
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder of the bundle; with --force, the contract's own folder is allowed",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Complete the bundle.

    Returns:
        bundle (folder), questions (by key, to answer before the bundle loads), nominal (source of
        the guard's nominal figures; null if none), remarks from the import, suspicions (from
        `inspect`, for a complete bundle).
    """
    from model_tools.make.complete import make_bundle

    bundle = make_bundle(
        given.bundle, given.model, given.output, read_completion(given), force=given.force
    )
    nominal = bundle.contract.nominal
    source, suspicions = nominal.source if nominal else None, find_suspicions(bundle.path)
    figures = source or "none (the guard applies only the joint limits)"
    return CommandResult(
        document={
            "bundle": bundle.path,
            "questions": {},
            "nominal": source,
            "remarks": (),
            "suspicions": suspicions,
        },
        text=[
            f"{bundle.path}: golden rows agree with the model; nominal figures: {figures}",
            *(f"suspicious: {each}" for each in suspicions),
        ],
    )
