# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a release: one file per release, with limits, evidence and approvals.

`release status` and `record` end with the status of the present stage: 0 healthy, 1 bad, 4 not
enough data; the other verbs with 0, or 1 where they are refused.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.bundle_arguments import add_robot, robot_of
from policy_inference.command_line import Verb

if TYPE_CHECKING:
    from model_tools.ship.release.release_file import Release

_STAGES = ("simulation", "shadow", "canary", "production")
_log = logging.getLogger("model_tools")


class ReleaseVerb:
    """One of them; its own docstring is what the command shows, as that of a module."""

    def __init__(
        self,
        text: str,
        declare: Callable[[argparse.ArgumentParser], None],
        does: Callable[[argparse.Namespace], int],
    ) -> None:
        """Take what the verb says, declares and does."""
        self.__doc__ = text
        self._declare, self._does = declare, does

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        self._declare(parser)

    def run(self, given: argparse.Namespace) -> int:
        """Do it; return the exit status."""
        return self._does(given)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="file of the release")


def _add_by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="NAME", help="who does it (default: this user)")


def _add_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of the signed bundle, as it is pushed")
    parser.add_argument(
        "--baseline", default="", metavar="BUNDLE", help="what robots run before: folder, or name"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=_STAGES[:-1],
        help="leave this stage out; the file says so",
    )
    parser.add_argument("--output", type=Path, help="file (default NAME-VERSION.release.yaml)")


def _new(given: argparse.Namespace) -> int:
    from model_tools.ship.release.promotion import new_release
    from model_tools.ship.release.release_file import write_new_release

    release = new_release(given.bundle, given.baseline, given.without)
    output = given.output or Path(f"{release.name}-{release.version}.release.yaml")
    write_new_release(release, output)
    _log.info("%s: stages %s; change its limits now", output, ", ".join(release.asked))
    return 0


def _add_status(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, with everything")


def _status(given: argparse.Namespace) -> int:
    from model_tools.ship.release.release_file import read_release

    return _show(read_release(given.file), as_json=given.json)


def _add_record(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("stage", choices=_STAGES, help="which the evidence is of")
    parser.add_argument(
        "--evidence",
        action="append",
        default=[],
        metavar="[ROBOT=]FILE",
        help="report of replay --bundle, trial status --json or fleet status --json; may be given "
        "several times (default robot: the file's name)",
    )
    parser.add_argument(
        "--attach",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="more files whose SHA-256 is kept, such as recordings",
    )
    parser.add_argument(
        "--bundle", type=Path, help="simulation: walk the simulated robot with this bundle now"
    )
    parser.add_argument(
        "--baseline", default="", metavar="BUNDLE", help="simulation: and compare with this one"
    )
    add_robot(parser)
    _add_by(parser)


def _record(given: argparse.Namespace) -> int:
    from model_tools.errors import ToolError
    from model_tools.ship.release.promotion import record
    from model_tools.ship.release.release_file import read_release

    reports = [_report(text) for text in given.evidence]
    robot = robot_of(given, "--bundle")
    if given.bundle is not None:
        if given.stage != "simulation":
            raise ToolError("--bundle: expected the stage simulation, found another")
        from model_tools.ship.release.simulation_stage import simulate

        report = given.file.with_name(f"{given.file.name.partition('.release')[0]}.simulation.json")
        simulate(read_release(given.file), given.bundle, given.baseline, robot, report)
        reports.append((robot.name, report))
    return _show(record(given.file, given.stage, reports, given.attach, given.by))


def _report(text: str) -> tuple[str, Path]:
    robot, equals, file = text.rpartition("=")
    return (robot, Path(file)) if equals else (Path(text).stem, Path(text))


def _add_promote(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--by", required=True, metavar="NAME", help="who looked, and approves")


def _promote(given: argparse.Namespace) -> int:
    from model_tools.ship.release.promotion import promote

    release = promote(given.file, given.by)
    _log.info(
        "%s %s is in %s, approved by %s", release.name, release.version, release.stage, given.by
    )
    return 0


def _add_end(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--reason", required=True, help="why, for those who read the file later")
    _add_by(parser)


def _halt(given: argparse.Namespace) -> int:
    from model_tools.ship.release.promotion import halt

    release = halt(given.file, given.reason, given.by)
    _log.info("%s %s is halted in %s", release.name, release.version, release.stage)
    return 0


def _rollback(given: argparse.Namespace) -> int:
    from model_tools.ship.release.promotion import roll_back_release

    release = roll_back_release(given.file, given.reason, given.by)
    before = release.baseline.version if release.baseline else "none; stop the robots"
    _log.info(
        "%s %s is rolled back; version before: %s; on each robot: `model_tools rollback %s`",
        release.name,
        release.version,
        before,
        release.name,
    )
    return 0


def _show(release: Release, *, as_json: bool = False) -> int:
    from model_tools.ship.release.promotion import EXIT_STATUS, verdict
    from policy_inference.commands.output import show

    found, ended = verdict(release), release.ended
    status = 1 if ended is not None else EXIT_STATUS[found.health]
    if as_json:
        show(json.dumps(_document(release), indent=2))
        return status
    show(
        f"{release.name} {release.version}: {ended.event.replace('_', ' ')}: {ended.reason}"
        if ended is not None
        else f"{release.name} {release.version}: in {release.stage}"
    )
    for stage in release.asked:
        of_stage = verdict(release, stage)
        robots = release.evidence(stage)
        words = of_stage.health.replace("_", " ")
        show(f"  {stage}: {words if robots else 'no evidence'} ({len(robots)} reports)")
    for reason in found.reasons:
        show(f"  {reason}")
    return status


def _document(release: Release) -> Mapping[str, Any]:
    from model_tools.ship.release.promotion import verdict

    ended, found = release.ended, verdict(release)
    stages = {stage: verdict(release, stage) for stage in release.asked}
    return {
        "name": release.name,
        "version": release.version,
        "sha256": release.sha256,
        "digest": release.digest,
        "stage": release.stage,
        "health": found.health,
        "reasons": list(found.reasons),
        "ended": None
        if ended is None
        else {"event": ended.event, "reason": ended.reason, "by": ended.by, "at": ended.at},
        "stages": {
            stage: {"health": one.health, "robots": sorted(release.evidence(stage))}
            for stage, one in stages.items()
        },
        "approved": [
            {"stage": event.stage, "by": event.by, "at": event.at}
            for event in release.history
            if event.event == "promoted"
        ],
    }


VERBS: dict[str, Verb] = {
    "release new": ReleaseVerb(
        "Begin a release: a file with the stages and their limits.\n\n"
        "    model_tools release new my_bundle --baseline lite3_walk\n",
        _add_new,
        _new,
    ),
    "release status": ReleaseVerb(
        "Show where a release is, and what its present stage lacks.", _add_status, _status
    ),
    "release record": ReleaseVerb(
        "Add evidence of the present stage: reports, and their SHA-256.\n\n"
        "    model_tools release record FILE simulation --bundle my_bundle\n"
        "    model_tools release record FILE shadow --evidence r1=replay.json",
        _add_record,
        _record,
    ),
    "release promote": ReleaseVerb(
        "Let the next stage begin; refused with everything that is missing.", _add_promote, _promote
    ),
    "release halt": ReleaseVerb("Stop a release where it is.", _add_end, _halt),
    "release rollback": ReleaseVerb(
        "Take a release back, to the version before.", _add_end, _rollback
    ),
}
