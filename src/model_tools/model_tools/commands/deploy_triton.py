# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Make a model repository for NVIDIA Triton from a bundle, with KServe's YAML beside it.

    model_tools deploy triton my_arm --output repository
    tritonserver --model-repository repository
    model_tools compile oip --bundle my_arm --precision fp32 --output my_arm_remote

The models keep the contract's tensors, and their hashes are parameters, which the back end `oip`
compares.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from policy_store.command_line import CommandResult, add_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRepository:
    """A model repository of Triton.

    Attributes:
        repository: Its folder.
        models: Names of the models there.
    """

    repository: Path
    models: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder or name of the bundle")
    parser.add_argument("--output", type=Path, required=True, help="folder of the repository")
    parser.add_argument(
        "--model-version", type=int, default=1, help="number of the version there (default 1)"
    )
    parser.add_argument(
        "--instances", type=int, default=1, help="runs of a model that go on at once (default 1)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "gpu", "auto"), default="auto", help="default: auto"
    )
    parser.add_argument(
        "--storage-uri", default="", help="where KServe finds the repository, such as s3://..."
    )
    parser.add_argument("--force", action="store_true", help="replace a repository that exists")


def run(given: argparse.Namespace) -> CommandResult[ModelRepository]:
    from model_tools.errors import ToolError
    from model_tools.ship.model_repository import write_repository
    from policy_core.bundle.load import load_bundle

    for option in ("model_version", "instances"):
        if getattr(given, option) < 1:
            raise ToolError(
                f"--{option.replace('_', '-')}: expected 1 or more, found {getattr(given, option)}"
            )
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
        document=ModelRepository(repository=given.output, models=names),
        text=[f"{given.output}: {', '.join(names)}"],
    )
