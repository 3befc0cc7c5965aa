# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show the contents of a bundle, model, checkpoint or recording, and point out suspicious values.

    model_tools inspect my_bundle
    model_tools inspect my_bundle --html my_bundle.html
    model_tools inspect my_bundle --plan --output my_bundle.polplan

Supported folders: bundles, rosbag2 recordings. Supported files: ONNX and RKNN models; checkpoints
from torch.save (needs PyTorch); native core plans. Types are recognized by content, not by name.
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
    add_bundle(
        parser,
        "file or folder of one of these kinds, or the name of an installed bundle",
        type=Path,
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="show the bundle's plan (the part that the native core needs)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file to which --plan writes the plan"
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write an HTML page to this file, with a drawing of the height scan points",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[InspectionReport]:
    """Report the contents; the exit status is 1 if the file is unusable, 0 if only suspicious."""
    from model_tools.prove.inspect.inspection import (
        inspection_parts,
        write_inspection_page,
    )
    from model_tools.prove.inspect.registry import inspect_path
    from policy_core.bundle.bundle import CONTRACT_FILE
    from policy_core.bundle.load import bundle_folder
    from policy_core.errors import PolicyError

    path = given.bundle
    if not path.exists():
        try:
            path = bundle_folder(str(path))
        except PolicyError as error:
            raise ToolError(f"{path}: expected a file or folder, found nothing; {error}") from error
    if path.name == CONTRACT_FILE and path.is_file():
        path = path.parent  # a contract without its files shows little
    if given.plan:
        report = _planned(path, given)
    elif given.output is not None:
        raise ToolError(
            "--output: expected --plan as well (only the plan is written to this "
            "file), found no --plan"
        )
    else:
        report = inspect_path(path)
    if given.html:
        write_inspection_page(report, given.html)
    return CommandResult(
        document=report, text=inspection_parts(report), status=1 if report.problems else 0
    )


def _planned(path: Path, given: argparse.Namespace) -> InspectionReport:
    """Return the values of a bundle's plan; write the plan to `--output`, if given."""
    from model_tools.files.outputs import new_file
    from model_tools.prove.inspect.plans import make_plan, plan_report
    from policy_core.bundle.bundle import Bundle
    from policy_core.bundle.load import load_bundle

    content = make_plan(load_bundle(path, kind=Bundle))
    if given.output is not None:
        with new_file(given.output, force=given.force) as file:
            file.write_bytes(content)
    return plan_report(path, content)
