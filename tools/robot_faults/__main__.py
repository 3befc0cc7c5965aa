# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Let everything go wrong for an emulated robot that walks, and write how each ended.

    python -m tools.robot_faults --robot lite3 --output out/faults --page docs/lite3_faults.md

Each case has processes of its own and takes about 20 s, all of them half an hour, on a machine
with nothing else to do: it is real time. Writes `endings.json`, the page, and a folder of
logs, trace and events for each case. The exit status is 1 when one did not end as it should.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from examples.demos.runner import own_domain
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from tools.robot_faults import go2, lite3
from tools.robot_faults.table import page, verdict
from tools.robot_faults.trial import Ending, failed, try_bad_start, try_case

ROBOTS = {"lite3": (lite3, lite3.Lite3Stack), "go2": (go2, go2.Go2Stack)}
"""Module of each robot, with its cases and the head of its page, and its processes."""
_log = logging.getLogger("robot_faults")
_ATTEMPTS = 3
"""A machine that does something else for a moment is no fault of the robot's."""
Trial = Callable[[Path], Ending]
Name = tuple[str, str]
"""Group and what goes wrong."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    robot, stack = ROBOTS[given.robot]
    trials: dict[Name, Trial] = {
        **{(case.group, case.what): partial(try_case, stack, case) for case in robot.cases()},
        **{
            ("start", start.what): partial(try_bad_start, stack, start)
            for start in robot.bad_starts()
        },
    }
    chosen = {name for name in trials if re.search(given.only, ": ".join(name))}
    if not chosen:
        _log.error(
            "robot_faults: --only %s: expected a part of a case's name, found no such case",
            given.only,
        )
        return 2
    os.environ.update(own_domain(seed=os.getpid()))
    file = given.output / "endings.json"
    endings = _read(file) if given.only else {}
    for number, (name, trial) in enumerate(trials.items(), 1):
        if name not in chosen:
            continue
        ending = _tried(*name, trial, given.output / f"{number:02d}")
        endings[name] = ending
        time_ms = "" if ending.damped_ms is None else f"damped after {ending.damped_ms:.0f} ms; "
        _log.info(
            "%d of %d: %s%s: %s%s",
            number,
            len(trials),
            "" if ending.as_wanted else "NOT AS IT SHOULD: ",
            ending.what,
            time_ms,
            ending.ended,
        )
        _write(file, endings.values())
    known = [endings[name] for name in trials if name in endings]
    if given.page is not None:
        given.page.write_text(page(robot.INTRODUCTION, robot.TITLES, known), "utf-8")
    _log.info(verdict(known))
    return 0 if all(ending.as_wanted for ending in known) else 1


def _tried(group: str, what: str, trial: Trial, folder: Path) -> Ending:
    """Try a case; try it again where the robot did not walk even before anything went wrong."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            return trial(folder)
        except (OperatorError, SimError) as error:
            ending = failed(group, what, error)
    return ending


def _read(file: Path) -> dict[Name, Ending]:
    """Return the endings of an earlier run; none where there was none."""
    if not file.is_file():
        return {}
    endings = [Ending(**fields) for fields in json.loads(file.read_text("utf-8"))]
    return {(ending.group, ending.what): ending for ending in endings}


def _write(file: Path, endings: Iterable[Ending]) -> None:
    text = json.dumps([dataclasses.asdict(ending) for ending in endings], indent=1)
    file.write_text(f"{text}\n", "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robot_faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--robot", choices=ROBOTS, required=True, help="which robot")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--page", type=Path, help="file for the page")
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN",
        help="regular expression: cases whose `group: name` has it; the others "
        "stay as they ended before in this folder",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
