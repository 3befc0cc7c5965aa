# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a flight recording through its bundle again, and compare the commands.

    model_tools replay ~/.ros/flights/my_policy-20260101T120000Z-attitude --output report

The recorded messages, ages and requests drive the real controller, starting from one of its
recorded states (`--from`). State, observation, model outputs, target, command and mode are compared
with the recording: bit for bit on the same machine and back end, otherwise within the limits for
the model's precision. The report names the first tick and value that differ. A recording of a
policy set is always replayed with that set. A different policy (`--bundle`) runs as a shadow: in
each tick, it observes what was measured and commanded. Its outputs are displayed, not judged, with
the figures that a node computes for a shadow (`--mode`, docs/candidates.md). The exit status is 1
if the recorded policy now gives different commands. The output folder contains report.html, which
shows what happened, and replay.json.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.bundle_arguments import output_folder
from policy_store.command_line import CommandResult, add_backend_options, seconds

if TYPE_CHECKING:
    from model_tools.prove.replaying.replay import ReplayedFlight
    from model_tools.prove.replaying.shadowing import ShadowedFlight

JSON_FILE, HTML_FILE = "replay.json", "report.html"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, help="folder of the recording, or its .mcap file")
    parser.add_argument(
        "--bundle",
        type=Path,
        help="folder of a bundle, or name of an installed bundle (default: the bundle that ran, "
        "if it still exists); a different policy for the same robot runs as a shadow: it "
        "observes what was measured and commanded",
    )
    parser.add_argument(
        "--mode",
        choices=("followed", "free"),
        default="followed",
        help="with --bundle: what a shadow observes as its last actions: the recorded commands "
        "(followed, default) or its own (free); see docs/candidates.md",
    )
    parser.add_argument(
        "--member",
        default="",
        metavar="NAME",
        help="member of a recorded policy set with which --bundle is compared",
    )
    parser.add_argument("--backend", default="", help="back end (default: the back end that ran)")
    add_backend_options(parser)
    parser.add_argument(
        "--from",
        dest="from_s",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="start at the last recorded state of the controller before this time (default: 0)",
    )
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Replay a recording; the exit status is 1 if the recorded policy now gives different commands.

    Returns:
        The content of replay.json.
    """
    from model_tools.files.report_page import write_page
    from model_tools.prove.replaying.replay_report import replay_report

    # Opened first, so that an unwritable output is reported before the work.
    with output_folder(given, JSON_FILE, JSON_FILE, HTML_FILE) as folder:
        found, shadow = _replayed(given)
        report = replay_report(found, shadow)
        if folder is not None:
            report.write_json(folder / JSON_FILE)
            write_page(report, folder / HTML_FILE)
    where = [] if given.output is None else [f"report in {given.output}"]
    return CommandResult(
        document=report.document,
        text=[*report.parts[:-1], *where, report.parts[-1]],
        status=0 if found else 1,
    )


def _replayed(given: argparse.Namespace) -> tuple[ReplayedFlight, ShadowedFlight | None]:
    """Return the replay of a recording, and the results of a different bundle as its shadow."""
    from model_tools.prove.replaying.replay import replay
    from model_tools.prove.replaying.shadowing import missing_images, shadow_flight
    from policy_core.bundle.load import bundle_folder, load_bundle
    from policy_core.interfaces import ShadowMode
    from policy_inference.backends.registry import parse_options

    options = parse_options(given.backend_option)
    # With --member, the bundle shadows that member; the set itself is replayed with its own bundle.
    other = None if given.member else given.bundle
    found = replay(given.recording, other, given.backend, options, given.from_s)
    if given.bundle is None or (found.bundle.members and not given.member):
        return found, None
    recording, bundle = found.recording, found.bundle
    if given.member:
        bundle = load_bundle(bundle_folder(str(given.bundle)))
    if problem := missing_images(recording, bundle):
        _log.warning("no shadow figures: %s", problem)
        return found, None
    mode, backends = ShadowMode(given.mode), [found.backend]
    return found, shadow_flight(recording, bundle, backends, options, mode, given.member)
