# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show what is in a bundle, a model, a checkpoint or a file of data, and what is suspicious.

    model_tools inspect my_bundle

Knows folders: bundles, LeRobot checkpoints and datasets; rosbag2 recordings; models: ONNX, RKNN,
TensorRT engines; checkpoints of torch.save (needs PyTorch) and TorchScript programs, which are not
loaded; YAML of a training run; arrays: npz, npy, safetensors. The content decides, not the name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, add_bundle

if TYPE_CHECKING:
    from model_tools.prove.inspect.inspection import InspectionReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add_bundle(
        parser,
        "file or folder of one of these kinds, or the name of an installed bundle",
        type=Path,
    )


def run(given: argparse.Namespace) -> CommandResult[InspectionReport]:
    """Show it; the status is 1 where it cannot be used, and 0 where it is only suspicious."""
    from model_tools.prove.inspect.inspection import inspection_parts
    from model_tools.prove.inspect.registry import inspect_path
    from policy_core.bundle.bundle import CONTRACT_FILE
    from policy_core.bundle.load import bundle_folder
    from policy_core.errors import PolicyError

    path = given.bundle
    if not path.exists():
        try:
            path = bundle_folder(str(path))
        except PolicyError as error:
            raise ToolError(
                f"{path}: expected a file or folder, found nothing; as a {error}"
            ) from error
    if path.name == CONTRACT_FILE and path.is_file():
        path = path.parent  # a contract without the files that it names shows little
    report = inspect_path(path)
    return CommandResult(
        document=report, text=inspection_parts(report), status=1 if report.problems else 0
    )
