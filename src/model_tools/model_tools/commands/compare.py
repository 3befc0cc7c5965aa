# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare artifacts: are the outputs of a compiled model the same, and does the robot still walk?

    model_tools compare my_bundle my_bundle_int8 --rows rollout.npz --closed-loop --output report

The first artifact is the reference. Bundles of chunk policies are compared on their golden rows
and on LeRobot datasets or recordings (--rows, or --dataset). If there are other rows, golden rows
that were drawn at random do not judge models of 8 bits. A limit that the bundle does not state is
that of the precision; the exit status is 1 if a limit is exceeded. The output folder gets
comparison.json and comparison.html; with --record, the bundles that are compared with the first
get them, too.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.commands.arguments import add_backend_options, add_topics
from model_tools.commands.bundle_arguments import add_robot, robot_of
from model_tools.errors import ToolError

if TYPE_CHECKING:  # as in `run`: what a command needs is imported when it runs
    from rich.table import Table

    from model_tools.prove.comparison.compare import Compared
    from policy_inference.backends.registry import Options
    from policy_inference.bundle.bundle import ChunkBundle

JSON_FILE, HTML_FILE = "comparison.json", "comparison.html"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "bundles", type=Path, nargs="+", help="folders of bundles, or names of installed ones"
    )
    parser.add_argument(
        "--backends",
        default="onnx",
        help="back ends to open each bundle with, by comma (default onnx)",
    )
    add_backend_options(parser)
    parser.add_argument(
        "--rows",
        "--dataset",
        type=Path,
        action="append",
        default=[],
        help="more rows than the golden ones: a recorded rollout, .npz or .npy, or a "
        "rosbag2 recording; for a chunk policy a LeRobot dataset or a "
        "recording; may be given several times",
    )
    add_topics(parser)
    parser.add_argument(
        "--closed-loop", action="store_true", help="also walk the simulated robot with each"
    )
    add_robot(parser)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of each walk, s (default 20)"
    )
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the report in the bundles that are compared with the first",
    )
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(given: argparse.Namespace) -> int:
    """Compare; return the exit status."""
    from policy_inference.backends.registry import parse_options
    from policy_inference.bundle.bundle import ChunkBundle
    from policy_inference.bundle.load import bundle_folder, load_bundle

    options = parse_options(given.backend_option)
    given.bundles = [bundle_folder(str(bundle)) for bundle in given.bundles]
    bundles = [load_bundle(folder) for folder in given.bundles]
    chunks = [bundle for bundle in bundles if isinstance(bundle, ChunkBundle)]
    if not chunks:
        return _joint_policies(given, options)
    if len(chunks) < len(bundles):
        raise ToolError(
            f"{given.bundles[0]}: expected bundles of one kind, found joint policies "
            "and chunk policies"
        )
    return _chunk_policies(given, chunks, options)


def _joint_policies(given: argparse.Namespace, options: Options) -> int:
    from model_tools.prove.comparison import comparison_report
    from model_tools.prove.comparison.candidates import candidates
    from model_tools.prove.comparison.compare import compare
    from model_tools.prove.comparison.comparison_page import record, write_html

    artifacts = candidates(given.bundles, given.backends.split(","), options)
    walk_s, robot = given.seconds if given.closed_loop else None, robot_of(given, "--closed-loop")
    with _output(given) as folder:  # before the walks
        found = compare(artifacts, given.rows, walk_s, dict(given.topic), robot)
        _show(comparison_report.tables(found), comparison_report.failures(found))
        if folder is not None:
            comparison_report.write_json(found, folder / JSON_FILE)
            write_html(found, folder / HTML_FILE)
    _note(given, partial(record, found))
    for line in comparison_report.poor_walks(found):
        _log.warning("%s", line)
    for line in _remedies(found):
        _log.info("%s", line)
    return 0 if all(found) else 1


def _remedies(found: Sequence[Compared]) -> list[str]:
    """Return a line for each artifact that does not hold a limit, where its compiler has advice."""
    from model_tools.ship.compilers.compiler import remedy

    artifacts = [one.candidate for one in found if not one]
    return [
        f"{one.label}: {advice}"
        for one in artifacts
        if (advice := remedy(one.backend, one.entry.precision))
    ]


def _chunk_policies(
    given: argparse.Namespace, bundles: Sequence[ChunkBundle], options: Options
) -> int:
    from model_tools.prove.comparison import chunk_report
    from model_tools.prove.comparison.chunk_candidates import chunk_candidates
    from model_tools.prove.comparison.chunk_compare import compare_chunks
    from model_tools.prove.comparison.chunk_report import (
        record_chunks,
        write_chunk_page,
    )

    if given.closed_loop:
        raise ToolError("--closed-loop: expected joint policies, which walk, found a chunk policy")
    artifacts = chunk_candidates(bundles, given.backends.split(","), options)
    with _output(given) as folder:
        found = compare_chunks(artifacts, given.rows, dict(given.topic))
        _show(chunk_report.tables(found), chunk_report.failures(found))
        if folder is not None:
            chunk_report.write_chunk_json(found, folder / JSON_FILE)
            write_chunk_page(found, folder / HTML_FILE)
    _note(given, partial(record_chunks, found))
    for line in chunk_report.remedies(found):
        _log.warning("%s", line)
    return 0 if all(found) else 1


def _output(given: argparse.Namespace) -> AbstractContextManager[Path | None]:
    """Return the output's folder in the making: what cannot be written is found before the work."""
    if given.output is None:
        return nullcontext()
    from model_tools.files.outputs import new_folder

    return new_folder(
        given.output, marker=JSON_FILE, owned=(JSON_FILE, HTML_FILE), force=given.force
    )


def _show(tables: Sequence[Table], failures: Sequence[str]) -> None:
    from rich.console import Console

    Console().print(*tables, sep="\n")
    for line in failures:
        _log.error("%s", line)


def _note(given: argparse.Namespace, record: Callable[..., Sequence[Path]]) -> None:
    """Say where the report is; keep it in the bundles where that is asked for."""
    if given.output is not None:
        _log.info("report in %s", given.output)
    if given.record:
        for file in record(force=given.force):
            _log.info("report kept as %s", file)
