# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands for the stages of a release, which is a file with limits, evidence and approvals.

`release status` and `record` exit with the status of the current stage: 0 healthy, 1 bad, 4 not
enough data; the other verbs exit with 0, or with 1 if refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.bundle_arguments import add_robot, read_robot
from policy_core.errors import plural
from policy_store.command_line import CommandResult, Verb, add_bundle

if TYPE_CHECKING:
    from model_tools.ship.release.release_file import Release

_STAGES = ("simulation", "shadow", "canary", "production")


class ReleaseVerb:
    """One verb of `release`; its docstring becomes the help text, like a module's."""

    def __init__(
        self,
        text: str,
        declare: Callable[[argparse.ArgumentParser], None],
        does: Callable[[argparse.Namespace], CommandResult[Mapping[str, Any]]],
    ) -> None:
        """Store help text, arguments and action."""
        self.__doc__, self.add_arguments, self._does = text, declare, does

    def run(self, given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
        """Run the verb, and return the state of the release.

        Returns:
            file of the release, name, version and sha256 of the bundle, digest in the registry,
            stage (the current one), health (verdict on that stage: healthy, bad or not_enough),
            reasons, ended (event, reason, by, at; null while the release continues), stages by name
            (health, and each robot's health and figures), approved (each approved stage: stage, by,
            at).
        """
        return self._does(given)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="file of the release")


def _add_by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="NAME", help="your name (default: this user)")


def _add_new(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of the signed bundle, as pushed", type=Path)
    parser.add_argument(
        "--baseline",
        default="",
        metavar="BUNDLE",
        help="bundle that the robots run before the release",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=_STAGES[:-1],
        help="stage to skip; the release file records the omission",
    )
    parser.add_argument("--output", type=Path, help="file (default NAME-VERSION.release.yaml)")


def _new(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import new_release
    from model_tools.ship.release.release_file import write_new_release

    release = new_release(given.bundle, given.baseline, given.without)
    output = given.output or Path(f"{release.name}-{release.version}.release.yaml")
    write_new_release(release, output)
    text = [
        f"{output}: stages {', '.join(release.asked)}; to use other limits, change them in this "
        "file now"
    ]
    text += [
        f"  contract: {one}; if intended, add it to accepted_differences, or use `release accept`"
        for one in release.unaccepted
    ]
    return _result(output, release, *text)


def _status(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.release_file import read_release

    return _judged(given.file, read_release(given.file))


def _add_record(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("stage", choices=_STAGES, help="stage of the evidence")
    parser.add_argument(
        "--evidence",
        action="append",
        default=[],
        metavar="[ROBOT=]FILE",
        help="report of replay --bundle, trial status --json or fleet status --json; may be "
        "repeated (default robot: the file's name)",
    )
    parser.add_argument(
        "--attach",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="more files whose SHA-256 is recorded, such as recordings",
    )
    parser.add_argument(
        "--bundle", type=Path, help="simulation: walk the simulated robot with this bundle now"
    )
    parser.add_argument(
        "--baseline", default="", metavar="BUNDLE", help="simulation: compare with this bundle"
    )
    add_robot(parser)
    _add_by(parser)


def _record(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.errors import ToolError
    from model_tools.ship.release.promotion import record
    from model_tools.ship.release.release_file import read_release

    reports = [_report(text) for text in given.evidence]
    robot = read_robot(given, "--bundle")
    if given.bundle is not None:
        if given.stage != "simulation":
            raise ToolError("--bundle: expected the stage simulation, found a different stage")
        from model_tools.ship.release.simulation_stage import simulate

        report = given.file.with_name(f"{given.file.name.partition('.release')[0]}.simulation.json")
        simulate(read_release(given.file), given.bundle, given.baseline, robot, report)
        reports.append((robot.name, report))
    return _judged(given.file, record(given.file, given.stage, reports, given.attach, given.by))


def _report(text: str) -> tuple[str, Path]:
    robot, equals, file = text.rpartition("=")
    return (robot, Path(file)) if equals else (Path(text).stem, Path(text))


def _add_promote(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--by", required=True, metavar="NAME", help="reviewer who approves")


def _promote(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import promote

    release = promote(given.file, given.by)
    text = f"{release.name} {release.version} is in {release.stage}, approved by {given.by}"
    return _result(given.file, release, text)


def _add_accept(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument(
        "key", nargs="+", help="contract key whose difference is intended, such as joints.damping"
    )
    parser.add_argument("--by", required=True, metavar="NAME", help="reviewer who accepts it")


def _accept(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import accept

    release = accept(given.file, given.key, given.by)
    text = f"{release.name} {release.version}: {', '.join(given.key)} accepted by {given.by}"
    return _result(given.file, release, text)


def _add_end(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("--reason", required=True, help="reason, for later readers of the file")
    _add_by(parser)


def _halt(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import halt

    release = halt(given.file, given.reason, given.by)
    text = f"{release.name} {release.version} is halted in {release.stage}"
    return _result(given.file, release, text)


def _rollback(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import roll_back_release

    release = roll_back_release(given.file, given.reason, given.by)
    before = release.baseline.version if release.baseline else "none; stop the robots"
    text = (
        f"{release.name} {release.version} is rolled back; previous version: {before}; on each "
        f"robot: `policy_store rollback {release.name}`"
    )
    return _result(given.file, release, text)


def _judged(file: Path, release: Release) -> CommandResult[Mapping[str, Any]]:
    """Return a release's verdicts as a result; the current stage's verdict sets the exit status."""
    from model_tools.ship.release.promotion import EXIT_STATUS, verdict

    ended, verdicts = release.ended, {stage: verdict(release, stage) for stage in release.asked}
    now, reasons = verdicts[release.stage]
    text = [
        f"{release.name} {release.version}: {ended.event.replace('_', ' ')}: {ended.reason}"
        if ended is not None
        else f"{release.name} {release.version}: in {release.stage}"
    ]
    for stage, (found, _) in verdicts.items():
        robots = release.evidence(stage)
        words = found.replace("_", " ")
        text.append(
            f"  {stage}: {words if robots else 'no evidence'} ({plural(len(robots), 'report')})"
        )
        for name, one in sorted(robots.items()):
            figures = ", ".join(f"{what} {value:.4g}" for what, value in one.figures.items())
            health = one.health.replace("_", " ")
            text.append(f"    {name}: {health}{figures and f' ({figures})'}")
    text += [f"  {reason}" for reason in reasons]
    return _result(file, release, *text, status=1 if ended else EXIT_STATUS[now])


def _result(
    file: Path, release: Release, *text: str, status: int = 0
) -> CommandResult[Mapping[str, Any]]:
    from model_tools.ship.release.promotion import verdict

    ended, (health, reasons) = release.ended, verdict(release)
    document = {
        "file": file,
        "name": release.name,
        "version": release.version,
        "sha256": release.sha256,
        "digest": release.digest,
        "stage": release.stage,
        "health": health,
        "reasons": reasons,
        "ended": ended and {key: getattr(ended, key) for key in ("event", "reason", "by", "at")},
        "stages": {
            stage: {
                "health": verdict(release, stage)[0],
                "robots": {
                    name: {"health": one.health, "figures": one.figures}
                    for name, one in sorted(release.evidence(stage).items())
                },
            }
            for stage in release.asked
        },
        "approved": [
            {"stage": event.stage, "by": event.by, "at": event.at}
            for event in release.history
            if event.event == "promoted"
        ],
    }
    return CommandResult(document=document, text=text, status=status)


VERBS: dict[str, Verb] = {
    "release new": ReleaseVerb(
        "Start a release: a file with the stages and their limits.\n\n"
        "    model_tools release new my_bundle --baseline lite3_walk\n",
        _add_new,
        _new,
    ),
    "release status": ReleaseVerb(
        "Show the stage of a release, and what it still lacks.\n\n"
        "    model_tools release status FILE",
        _add_file,
        _status,
    ),
    "release record": ReleaseVerb(
        "Add evidence for the current stage: reports and their SHA-256.\n\n"
        "    model_tools release record FILE simulation --bundle my_bundle\n"
        "    model_tools release record FILE shadow --evidence r1=replay.json",
        _add_record,
        _record,
    ),
    "release accept": ReleaseVerb(
        "Accept differences between the bundle's contract and the baseline's.\n\n"
        "    model_tools release accept FILE joints.damping --by 'A. Name'",
        _add_accept,
        _accept,
    ),
    "release promote": ReleaseVerb(
        "Start the next stage; a refusal lists everything that is missing.\n\n"
        "    model_tools release promote FILE --by 'A. Name'",
        _add_promote,
        _promote,
    ),
    "release halt": ReleaseVerb(
        "Stop a release at its current stage.\n\n"
        "    model_tools release halt FILE --reason 'two robots fell'",
        _add_end,
        _halt,
    ),
    "release rollback": ReleaseVerb(
        "Roll a release back to the previous version.\n\n"
        "    model_tools release rollback FILE --reason 'two robots fell'",
        _add_end,
        _rollback,
    ),
}
