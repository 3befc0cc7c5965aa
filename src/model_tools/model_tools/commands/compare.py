# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare a compiled model with the reference: its outputs, and whether the robot still walks.

    model_tools compare my_bundle my_bundle_int8 --rows rows.npz --closed-loop --output report

The first artifact is the reference. Bundles of chunk policies are compared on their golden rows and
on LeRobot datasets or recordings (--rows or --dataset). If other rows are given, 8-bit models are
not judged on golden rows that were drawn at random. Where the bundle states no limit, the default
for the precision applies; the exit status is 1 if a limit is exceeded. The output folder contains
comparison.json and comparison.html; --record also writes them into the compared bundles.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.arguments import add_topics
from model_tools.commands.bundle_arguments import add_robot, output_folder, read_robot
from policy_store.command_line import CommandResult, add_backend_options

if TYPE_CHECKING:  # as in `run`: a command imports heavy packages when it runs
    from model_tools.prove.comparison.compare import Compared

JSON_FILE, HTML_FILE = "comparison.json", "comparison.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundles", type=Path, nargs="+", help="folders of bundles, or names of installed ones"
    )
    parser.add_argument(
        "--backend",
        default="onnx",
        metavar="A,B",
        help="comma-separated back ends for each bundle (default onnx)",
    )
    add_backend_options(parser)
    parser.add_argument(
        "--rows",
        "--dataset",
        type=Path,
        action="append",
        default=[],
        help="rows besides the golden ones: a recorded rollout, .npz or .npy, or a rosbag2 "
        "recording; for a chunk policy a LeRobot dataset or a recording; may be repeated",
    )
    add_topics(parser)
    parser.add_argument(
        "--closed-loop",
        action="store_true",
        help="also walk the simulated robot with each artifact",
    )
    add_robot(parser)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of each walk, s (default 20)"
    )
    parser.add_argument(
        "--run-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="time limit of one model run, for back ends in their own process, such as rknn_sim, "
        "s (default 60)",
    )
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument(
        "--record",
        action="store_true",
        help="store the report in each bundle that is compared with the first",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Compare models; the exit status is 1 if a limit is exceeded.

    Returns:
        The content of comparison.json.
    """
    from model_tools.files.report_page import write_page
    from model_tools.prove.comparison.candidates import candidates
    from model_tools.prove.comparison.compare import compare
    from model_tools.prove.comparison.comparison_report import (
        comparison_report,
        record,
    )
    from policy_core.bundle.load import bundle_folder, load_bundle
    from policy_core.errors import LateRunError, PolicyError
    from policy_inference.backends.registry import parse_options

    options, robot = parse_options(given.backend_option), read_robot(given, "--closed-loop")
    bundles = [load_bundle(bundle_folder(str(bundle))) for bundle in given.bundles]
    artifacts = candidates(bundles, given.backend.split(","), options, given.run_timeout)
    walk_s = given.seconds if given.closed_loop else None
    with output_folder(given, JSON_FILE, JSON_FILE, HTML_FILE) as folder:  # before the walks
        try:
            found = compare(artifacts, given.rows, walk_s, dict(given.topic), robot)
        except LateRunError as late:
            raise LateRunError(f"{late}; --run-timeout allows longer runs") from late
        report = comparison_report(found)
        if folder is not None:
            report.write_json(folder / JSON_FILE)
            write_page(report, folder / HTML_FILE)
    text = list(report.parts)
    if given.output is not None:
        text.append(f"report in {given.output}")
    error: PolicyError | OSError | None = None
    if given.record:
        try:
            text += [f"report kept as {file}" for file in record(found, force=given.force)]
        except (PolicyError, OSError) as failed:  # show the comparison in any case
            error = failed
    return CommandResult(
        document=report.document,
        text=[*text, *_remedies(found)],
        status=0 if all(found) else 1,
        error=error,
    )


def _remedies(found: Sequence[Compared]) -> list[str]:
    """Return the compiler's advice, if any, for each artifact that exceeds a limit."""
    from model_tools.ship.compilers.compiler import remedy

    artifacts = [one.candidate for one in found if not one]
    return [
        f"{one.label}: {advice}"
        for one in artifacts
        if (advice := remedy(one.backend, one.precision))
    ]
