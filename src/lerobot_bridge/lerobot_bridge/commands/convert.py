# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write recordings as a LeRobot dataset v3.0, with LeRobot's own library.

    lerobot_bridge convert session/ --mapping so101 --output my_dataset --task "Pick the cube"

The command runs in LeRobot's environment: .venv-lerobot/bin/python -m lerobot_bridge convert ...
Several processes write the episodes. OUTPUT.parts keeps them until all are finished: after Ctrl-C,
a full disk or a crash, the same command continues. The command leaves out an episode whose
recording does not fit the mapping, and names it. The exit status is then 1; with --allow-left-out
it is 0. conversion_report.json in the dataset lists the recording of each episode, and what was
left out.
"""
# run: needs: lerobot
# run: swap: {lerobot_bridge: .venv-lerobot/bin/python -m lerobot_bridge}

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot_bridge.commands.arguments import add_mapping, add_reading, read_mapping
from model_tools.errors import ToolError
from policy_store.command_line import CommandResult

LEROBOTS = ("0.4.4", "0.6.1")
"""LeRobot versions whose dataset writer is tested: the newest for Python 3.11 and for 3.12. Later
patch versions are accepted as well, since what is written is checked.
"""
CODECS = ("h264", "hevc", "libsvtav1")
"""Video codecs that LeRobot writes on any machine."""
_log = logging.getLogger("lerobot_bridge")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recordings",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="rosbag2 recording, or folder of recordings",
    )
    add_mapping(parser)
    parser.add_argument("--output", required=True, type=Path, help="folder of the dataset")
    parser.add_argument(
        "--repo-id",
        metavar="USER/NAME",
        help="name of the dataset (default: local/ and the output folder's name)",
    )
    parser.add_argument("--task", default="", help="task for episodes whose recording names none")
    parser.add_argument("--tags", default="", help="tags of the dataset: arm,cube")
    add_reading(parser)
    parser.add_argument("--codec", choices=CODECS, default=CODECS[0], help="of the videos")
    parser.add_argument("--images", action="store_true", help="write each image as a PNG")
    parser.add_argument(
        "--processes",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="number of episodes to convert in parallel (default: one per core)",
    )
    parser.add_argument(
        "--allow-left-out",
        action="store_true",
        help="exit with 0 even if episodes were left out",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Run the conversion; the exit status is 1 if episodes were left out.

    Returns:
        The content of conversion_report.json.
    """
    from lerobot_bridge.converting.convert import Conversion, ConversionSettings, convert
    from lerobot_bridge.converting.parts_folder import parts_path
    from lerobot_bridge.converting.report import conversion_report
    from lerobot_bridge.episodes import find_episodes
    from model_tools.commands.arguments import progress_bar
    from policy_store.report import Report

    require_lerobot()
    output: Path = given.output
    if given.processes < 1:
        raise ToolError(f"--processes: expected at least 1, found {given.processes}")
    given.left = f"finished episodes are in {parts_path(output)}; the same command resumes there"
    mapping = read_mapping(given)
    tags = [tag for tag in given.tags.split(",") if tag]
    found = find_episodes(given.recordings, given.episodes, task=given.task, tags=tags)
    skipped = {each.name: each.why for each in found.skipped}
    settings = ConversionSettings(
        repo_id=given.repo_id or f"local/{output.name}",
        codec=None if given.images else given.codec,
        topics=dict(given.topic),
        split=given.gaps == "split",
        processes=given.processes,
        force=given.force,
    )

    def report(done: Conversion) -> Report:
        return conversion_report(output.name, done, mapping, skipped)

    with progress_bar("converting") as show:
        done = convert(
            found.episodes,
            mapping,
            output,
            settings,
            lambda done: report(done).document,
            lambda part, total: show(round(1000 * part), 1000 * total),
        )
    made = report(done)
    text = [*made.parts, f"dataset in {output}"]
    failed = bool(done.refused) and not given.allow_left_out
    if failed:
        text.append(
            f"{len(done.refused)} of {len(found.episodes)} episodes were left out; "
            f"{parts_path(output)} keeps the others for the next attempt"
        )
    return CommandResult(document=made.document, text=text, status=1 if failed else 0)


def require_lerobot() -> None:
    """Check that LeRobot can write datasets here."""
    remedy = (
        "run `make setup-lerobot`, then this command with .venv-lerobot/bin/python -m "
        f"lerobot_bridge, or run `pip install lerobot=={LEROBOTS[0]}`"
    )
    try:
        version = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolError(
            f"{sys.executable}: expected LeRobot (to write the dataset), found no such package; "
            f"{remedy}"
        ) from error
    *minor, patch = _numbers(version)
    tested = {tuple(minor): patch for *minor, patch in map(_numbers, LEROBOTS)}
    if patch < tested.get(tuple(minor), math.inf):
        raise ToolError(
            f"{sys.executable}: expected LeRobot {' or '.join(LEROBOTS)} (the versions that this "
            f"command supports) or a later patch version of these, found {version}; {remedy}"
        )


def _numbers(version: str) -> tuple[int, int, int]:
    """Return the first three numbers of a version."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch
