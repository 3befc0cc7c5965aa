# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Collect calibration samples, check their coverage, and refuse unsuitable ones.

    model_tools calibrate --bundle my_bundle --bag recordings/walk --output calib.npz
    model_tools calibrate --bundle my_arm --dataset my_dataset --samples 200 --output calib

Rows are drawn at random (--seed) from recordings, live topics, files with rows (logs, recorded
rollouts), or an environment in which the bundle's own model or --policy acts. You can combine
several recordings and files. The output is an .npz or an .npy, or, with --format, a folder with the
list that a vendor's compiler reads. --report FOLDER receives coverage.html and coverage.json.

The graphs of a chunk policy are calibrated with observations from a LeRobot dataset or a recording
with camera topics. They are evenly spaced (--samples sets their number) and normalized as on the
robot. The encoders' outputs calibrate the other graph. The output is a folder with one subfolder
per graph.
"""
# run: model_tools calibrate --bundle my_bundle: {short: --from 2}

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.arguments import ALL, add_samples, add_topics, number_above_0
from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, add_bundle, number_within

if TYPE_CHECKING:
    from model_tools.files.rows import RowSource
    from model_tools.prove.calibration.calibrate import Selection
    from policy_core.bundle.bundle import JointBundle
    from policy_core.bundle.chunk_bundle import ChunkBundle

_USUAL = 2048


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder or name of the bundle", type=Path)
    parser.add_argument(
        "--bag",
        type=Path,
        action="append",
        default=[],
        help="rosbag2 recording of the robot; may be repeated",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="live topics of a robot, a simulation or `ros2 bag play`; needs a sourced ROS 2",
    )
    parser.add_argument(
        "--duration",
        type=float,
        metavar="SECONDS",
        help="duration of --live, on the stamps' clock; default: until Ctrl-C, or until all "
        "publishers are gone",
    )
    add_topics(parser)
    parser.add_argument(
        "--rows",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="log or recorded rollout, .npz or .npy; may be repeated",
    )
    parser.add_argument(
        "--env",
        metavar="MODULE:FUNCTION",
        help="function that returns an environment; its module is in the current folder or "
        "installed",
    )
    parser.add_argument(
        "--policy",
        metavar="MODULE:CLASS",
        help="policy that acts in the environment instead of the bundle's model: a class "
        "or function called with obs_dim and act_dim that returns an object with act(obs)",
    )
    parser.add_argument(
        "--dataset", type=Path, metavar="FOLDER", help="LeRobot dataset (v3.0), for a chunk policy"
    )
    add_samples(
        parser,
        "number of samples, or all (default 2048; usual: 1000 to 4000); for a chunk policy, the "
        "number of observations (default 200, or all if there are fewer)",
        or_all=True,
    )
    parser.add_argument(
        "--batch",
        type=number_within(1, 65536),
        default=32,
        help="number of rows to buffer and write together (default 32)",
    )
    parser.add_argument(
        "--every", type=number_above_0, default=1, help="take every Nth tick (default 1)"
    )
    parser.add_argument(
        "--from",
        type=float,
        default=0.0,
        dest="from_s",
        metavar="SECONDS",
        help="start at this time, s since the first tick of each source",
    )
    parser.add_argument(
        "--to",
        type=float,
        dest="to_s",
        metavar="SECONDS",
        help="end at this time, s since the first tick of each source",
    )
    parser.add_argument(
        "--seed",
        type=number_within(0, 2**32 - 1),
        default=0,
        help="seed of the sampling, and of an environment's first episode (default 0)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help=".npz or .npy file, or folder (see --format)"
    )
    parser.add_argument(
        "--format",
        choices=("npz", "npy", "rknn", "bpu_bin", "bpu_npy"),
        help="format of the output: a folder for RKNN Toolkit2, or for the D-Robotics compilers "
        "of RDK X5 and Ultra (bpu_bin), S100 and S600 (bpu_npy)",
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="folder for the report")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--allow-poor",
        action="store_true",
        help="write the samples even if they fail the quality check; the file contains the verdict",
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Collect samples; the exit status is 1 if they failed the quality check.

    Returns:
        output (null if the samples failed and were not written), report (folder; null without
        --report), coverage (as in coverage.json; for a chunk policy, as in calibration.json).
    """
    from policy_core.bundle.load import bundle_folder, load_bundle

    given.bundle = bundle_folder(str(given.bundle))
    bundle = load_bundle(given.bundle)
    return _RUNS[bundle.contract.kind](given, bundle)


def _run_chunks(given: argparse.Namespace, bundle: ChunkBundle) -> CommandResult[Mapping[str, Any]]:
    from model_tools.commands.arguments import progress_bar
    from model_tools.files.observation_sources import open_source
    from model_tools.prove.calibration.chunk_calibrate import calibrate_chunks

    options = {
        "--live": given.live,
        "--env": given.env,
        "--report": given.report,
        "--from": given.from_s,
        "--to": given.to_s is not None,
        "--every": given.every != 1,
    }
    refused = ", ".join(name for name, value in options.items() if value)
    if refused:
        raise ToolError(
            "expected only --dataset, --rows, --bag and --samples for the chunk policy "
            f"{bundle.contract.name}, found {refused}"
        )
    sources = [*given.bag, *given.rows, *([given.dataset] if given.dataset else [])]
    if len(sources) != 1:
        raise ToolError(
            "expected exactly one of --dataset, --rows and --bag to calibrate a chunk policy, "
            f"found {len(sources)}"
        )
    source = open_source(bundle.contract, sources[0], dict(given.topic))
    with progress_bar("samples") as progress:
        made = calibrate_chunks(
            bundle,
            source,
            source.count if given.samples == ALL else given.samples,
            given.output,
            given.format or "npy",
            force=given.force,
            progress=progress,
        )
    return CommandResult(
        document={"output": given.output, "report": None, "coverage": made},
        text=[f"samples in {given.output}"],
    )


def _run_rows(given: argparse.Namespace, bundle: JointBundle) -> CommandResult[Mapping[str, Any]]:
    from model_tools.commands.arguments import progress_bar
    from model_tools.prove.calibration.calibrate import (
        CalibrationRequest,
        Selection,
        calibrate,
    )
    from model_tools.prove.calibration.calibration_report import (
        Calibrated,
        calibration_report,
    )
    from policy_core.errors import PolicyError

    if given.dataset is not None:
        raise ToolError(
            f"--dataset: expected a chunk policy, found the joint policy {bundle.contract.name}; "
            "use --bag or --rows"
        )
    selection = Selection(
        samples=None if given.samples == ALL else given.samples or _USUAL,
        every=given.every,
        from_s=given.from_s,
        to_s=given.to_s,
        seed=given.seed,
    )
    _check(given, selection)
    request = CalibrationRequest(
        selection=selection,
        batch=given.batch,
        output=given.output,
        form=given.format,
        report=given.report,
        force=given.force,
        allow_poor=given.allow_poor,
    )
    kept = list[Calibrated]()
    error: PolicyError | OSError | None = None
    try:
        with progress_bar("rows") as progress:
            calibrate(bundle, _sources(given, bundle, selection), request, progress, kept.append)
    except (PolicyError, OSError) as failed:
        if not kept:
            raise
        error = failed  # show the coverage in any case
    [found] = kept
    report = calibration_report(found)
    text = [*report.parts]
    if given.report is not None:
        text.append(f"report in {given.report}")
    if error is None:
        text.append(f"rows in {given.output}")
    return CommandResult(
        document={
            "output": given.output if error is None else None,
            "report": given.report,
            "coverage": report.document,
        },
        text=text,
        error=error,
    )


def _check(given: argparse.Namespace, selection: Selection) -> None:
    if given.env is None and given.policy is not None:
        raise ToolError("--policy: expected --env (the environment to act in), found none")
    if not (given.bag or given.live or given.rows or given.env):
        raise ToolError("expected a source of rows, found none of --bag, --live, --rows, --env")
    if given.topic and not (given.bag or given.live):
        raise ToolError("--topic: expected a recording (--bag) or --live, found neither")
    if given.duration is not None and not given.live:
        raise ToolError("--duration: expected --live as well, found --duration alone")
    if given.duration is not None and not given.duration > 0:
        raise ToolError(
            f"--duration: expected a number of seconds above 0, found {given.duration:g}"
        )
    if given.env is not None and (selection.samples is None or not selection.whole):
        raise ToolError(
            "--env: expected --samples with a number and no --from or --to, since an environment "
            "has no end"
        )


def _sources(
    given: argparse.Namespace, bundle: JointBundle, selection: Selection
) -> Iterator[RowSource]:
    from model_tools.files.row_files import BagSource, read_rows
    from model_tools.prove.calibration.calibrate import RowsFileSource

    for path in given.bag:
        yield BagSource(
            bundle,
            path,
            dict(given.topic),
            from_s=given.from_s,
            to_s=math.inf if given.to_s is None else given.to_s,
        )
    for file in given.rows:
        yield RowsFileSource(bundle, read_rows(file, bundle))
    if given.live:
        yield _live(bundle, dict(given.topic), given.duration)
    if given.env is not None:
        from model_tools.prove.calibration.calibrate import EnvironmentSource

        assert selection.samples is not None  # checked
        yield EnvironmentSource(
            bundle,
            given.env,
            steps=selection.samples * selection.every,
            policy=given.policy,
            seed=given.seed,
        )


def _live(bundle: JointBundle, topics: Mapping[str, str], duration_s: float | None) -> RowSource:
    try:
        from model_tools.nodes.live import LiveSource
    except ImportError as error:
        raise ToolError(
            f"--live: expected a sourced ROS 2, found no {error.name}; source its "
            "setup.bash, or calibrate from a recording"
        ) from error
    return LiveSource(bundle, topics, duration_s=math.inf if duration_s is None else duration_s)


_RUNS: Mapping[str, Callable[[argparse.Namespace, Any], CommandResult[Mapping[str, Any]]]] = {
    "joint": _run_rows,
    "chunk": _run_chunks,
}
"""Functions that run the verb, by kind of contract."""
