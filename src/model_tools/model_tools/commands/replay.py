# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a recording of the flight recorder through its bundle again: are the commands the same?

    model_tools replay ~/.ros/flights/my_policy-20260101T120000Z-attitude --output report

The recorded messages, ages and requests drive the real controller. State, observation, model,
target, command and mode are compared with what was recorded: bit for bit on the same machine and
back end, else by the limits of the model's precision. The first tick and value that differ are
named. A policy set is replayed with itself, from the begin of a run. A bundle of another policy
(`--bundle`) is followed: it observes in each tick what was
measured and commanded, and what it would have answered is shown, not judged, with the figures that
a node counts of a shadow (`--mode`, docs/shadow.md). The exit status is 1 if the same policy gives
other commands. The output folder gets report.html, which shows what happened, and replay.json.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from policy_inference.command_line import CommandResult, add_backend_options

JSON_FILE, HTML_FILE = "replay.json", "report.html"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recording", type=Path, help="folder of the recording, or its .mcap file")
    parser.add_argument(
        "--bundle",
        type=Path,
        help="folder of a bundle (default: the one that ran, if it is still there); another policy "
        "of the same robot is followed: it observes what was measured and commanded",
    )
    parser.add_argument(
        "--mode",
        choices=("followed", "free"),
        default="followed",
        help="with --bundle: what it remembers as the shadow of the recorded policy (default "
        "followed; docs/shadow.md)",
    )
    parser.add_argument("--backend", default="", help="back end (default: the one that ran)")
    add_backend_options(parser)
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Replay; the status is 1 if the same policy gives other commands.

    Returns:
        As replay.json.
    """
    from model_tools.files.outputs import new_folder
    from model_tools.prove.replaying import replay_report
    from model_tools.prove.replaying.chunk_shadowing import missing_images
    from model_tools.prove.replaying.replay import replay
    from model_tools.prove.replaying.replay_page import write_html
    from model_tools.prove.replaying.shadowing import (
        shadow_document,
        shadow_flight,
        shadow_line,
        shadow_table,
    )
    from policy_inference.backends.registry import parse_options
    from policy_inference.bundle.bundle import ChunkBundle, SetBundle
    from policy_inference.interfaces import ShadowMode

    # Opened first: an output that cannot be written is found before the work, not after.
    output = (
        nullcontext()
        if given.output is None
        else new_folder(
            given.output, marker=JSON_FILE, owned=(JSON_FILE, HTML_FILE), force=given.force
        )
    )
    with output as folder:
        options = parse_options(given.backend_option)
        found = replay(given.recording, given.bundle, given.backend, options)
        problem = (
            missing_images(found.recording, found.bundle)
            if given.bundle is not None and isinstance(found.bundle, ChunkBundle)
            else ""
        )
        if problem:
            _log.warning("no figures of a shadow: %s", problem)
        shadow = (
            shadow_flight(
                found.recording, found.bundle, [found.backend], options, ShadowMode(given.mode)
            )
            if given.bundle is not None and not problem and not isinstance(found.bundle, SetBundle)
            else None
        )
        more = {} if shadow is None else {"shadow": shadow_document(shadow)}
        if folder is not None:
            replay_report.write_json(found, folder / JSON_FILE, more)
            write_html(found, folder / HTML_FILE, shadow)
    text: list[object] = [*replay_report.lines(found), replay_report.table(found)]
    if shadow is not None:
        text += [shadow_table(shadow), shadow_line(shadow.divergence)]
    if given.output is not None:
        text.append(f"report in {given.output}")
    return CommandResult(
        document=replay_report.document(found) | more,
        text=[*text, replay_report.verdict(found)],
        status=0 if found else 1,
    )
