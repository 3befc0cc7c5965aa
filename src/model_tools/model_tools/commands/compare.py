# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare artifacts: is the compiled model still the same function, and does it still walk?

    model_tools compare my_bundle my_bundle_int8 --rows rollout.npz --closed-loop --output report

The first artifact is the reference. Limits are those of the precision, each where the bundle does
not state it; the exit status is 1 when one does not hold. The output folder gets comparison.json
and comparison.html; with --record, the bundles that are compared with the first get them, too.
"""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path

from model_tools.commands.arguments import add_backend_options, add_topics

JSON_FILE, HTML_FILE = "comparison.json", "comparison.html"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of bundles")
    parser.add_argument("--backends", default="onnx",
                        help="back ends to open each bundle with, by comma (default onnx)")
    add_backend_options(parser)
    parser.add_argument("--rows", type=Path, action="append", default=[],
                        help="rows besides the golden ones: a recorded rollout, .npz or .npy, or a "
                             "rosbag2 recording; may be given several times")
    add_topics(parser)
    parser.add_argument("--closed-loop", action="store_true",
                        help="walk the simulated robot with each, too")
    parser.add_argument("--seconds", type=float, default=20.0,
                        help="length of each walk, s (default 20)")
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument("--record", action="store_true",
                        help="keep the report in the bundles that are compared with the first")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(given: argparse.Namespace) -> int:
    """Compare; return the exit status."""
    from rich.console import Console

    from model_tools.comparison import report
    from model_tools.comparison.artifacts import candidates
    from model_tools.comparison.compare import compare
    from model_tools.comparison.html import write_html
    from model_tools.comparison.record import record
    from model_tools.files import new_folder
    from policy_inference.backends.registry import parse_options

    artifacts = candidates(given.bundles, given.backends.split(","),
                           parse_options(given.backend_option))
    # Opened first: an output that cannot be written is found before the walks, not after.
    output = nullcontext() if given.output is None else new_folder(
        given.output, marker=JSON_FILE, owned=(JSON_FILE, HTML_FILE), force=given.force)
    with output as folder:
        found = compare(artifacts, given.rows, given.seconds if given.closed_loop else None,
                        dict(given.topic))
        Console().print(*report.tables(found), sep="\n")
        for line in report.failures(found):
            _log.error("%s", line)
        if folder is not None:
            report.write_json(found, folder / JSON_FILE)
            write_html(found, folder / HTML_FILE)
    if given.output is not None:
        _log.info("report in %s", given.output)
    if given.record:
        for file in record(found, force=given.force):
            _log.info("report kept as %s", file)
    for line in report.remedies(found):
        _log.info("%s", line)
    return 0 if all(found) else 1
