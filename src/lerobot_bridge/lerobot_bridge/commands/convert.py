# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write recordings as a LeRobot dataset v3.0, with LeRobot's own library.

    lerobot_bridge convert session/ --mapping so101 --output my_dataset --task "Pick the cube"

It runs in the environment of LeRobot: .venv-lerobot/bin/python -m lerobot_bridge convert ...
Episodes are written in several processes, and kept in OUTPUT.parts until all are there: after
Ctrl-C, a full disk or a crash the same command goes on. An episode whose recording does not fit the
mapping is left out and named; then the exit status is 1, unless --allow-left-out says that this is
fine. conversion_report.json in the dataset says which recording each episode is from, and what is
missing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from contextlib import nullcontext
from pathlib import Path

from lerobot_bridge.commands.arguments import add_mapping, add_reading, mapping_of
from lerobot_bridge.writing.form import CODECS
from model_tools.errors import ToolError

_log = logging.getLogger("lerobot_bridge")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "recordings",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="rosbag2 recording, or folder of such",
    )
    add_mapping(parser)
    parser.add_argument("--output", required=True, type=Path, help="folder of the dataset")
    parser.add_argument(
        "--repo-id",
        metavar="USER/NAME",
        help="what it is called (default: local/NAME of the output)",
    )
    parser.add_argument(
        "--task", default="", help="what was done, where the recording does not say"
    )
    parser.add_argument("--tags", default="", help="words to find it by: arm,cube")
    add_reading(parser)
    parser.add_argument("--codec", choices=CODECS, default=CODECS[0], help="of the videos")
    parser.add_argument("--images", action="store_true", help="write each picture as a PNG")
    parser.add_argument(
        "--processes",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="episodes at once (default: one for each core)",
    )
    parser.add_argument(
        "--allow-left-out",
        action="store_true",
        help="exit with 0 also where episodes were left out",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="report, .json or .html")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(given: argparse.Namespace) -> int:
    """Convert; return the exit status."""
    from lerobot_bridge.converting.convert import Conversion, Settings, convert
    from lerobot_bridge.converting.lerobot_version import require_lerobot
    from lerobot_bridge.converting.parts_folder import parts_of
    from lerobot_bridge.converting.report import document, lines, write_html
    from lerobot_bridge.episodes import find_episodes
    from model_tools.commands.arguments import progress_bar
    from model_tools.files.outputs import new_file

    require_lerobot()
    output: Path = given.output
    if given.processes < 1:
        raise ToolError(f"--processes: expected at least 1, found {given.processes}")
    if given.report is not None:
        _check_place(given.report, output)
    given.left = f"finished episodes are in {parts_of(output)}, from where the same command goes on"
    mapping = mapping_of(given)
    tags = [tag for tag in given.tags.split(",") if tag]
    found = find_episodes(given.recordings, given.episodes, task=given.task, tags=tags)
    skipped = {each.name: each.why for each in found.skipped}
    settings = Settings(
        repo_id=given.repo_id or f"local/{output.name}",
        codec=None if given.images else given.codec,
        topics=dict(given.topic),
        split=given.gaps == "split",
        processes=given.processes,
        force=given.force,
    )

    def report(done: Conversion) -> dict[str, object]:
        return document(done, mapping, skipped)

    place = nullcontext() if given.report is None else new_file(given.report, force=given.force)
    with place as file:  # before the work, so that a report that cannot be written is said first
        with progress_bar("converting") as tell:
            done = convert(
                found.episodes,
                mapping,
                output,
                settings,
                report,
                lambda part, total: tell(round(1000 * part), 1000 * total),
            )
        said = report(done)
        if file is not None and file.suffix == ".html":
            write_html(said, output.name, file)
        elif file is not None:
            file.write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    for line in lines(said):
        _log.info("%s", line)
    _log.info("dataset in %s", output)
    if done.refused and not given.allow_left_out:
        _log.error(
            "%d of %d episodes were left out; the others are kept in %s for another try",
            len(done.refused),
            len(found.episodes),
            parts_of(output),
        )
        return 1
    return 0


def _check_place(report: Path, output: Path) -> None:
    if report.suffix not in (".json", ".html"):
        raise ToolError(f"--report: expected a file .json or .html, found {report}")
    if report.resolve().is_relative_to(output.resolve()):
        raise ToolError(
            f"--report: expected a file outside of the dataset, which holds its own "
            f"report, found {report}"
        )
