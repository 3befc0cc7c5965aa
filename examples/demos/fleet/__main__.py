# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Releases policy versions to a simulated fleet, with interruptions.

    python -m examples.demos.fleet --robots 3 --interruptions 2 --output out/demo-fleet

The robots are simulated Lite3s that walk in lockstep; each has its own store, policy node and
metrics. The registry is Debian's docker-registry; Prometheus uses the suite's alert rules, and
Ansible installs versions on the robots with the suite's role. The output folder contains
summary.json, which --json prints.
"""
# run: skip: make demo-fleet of the README runs it, and takes minutes

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from examples.demos.fleet.candidates import LIMPING, WRONG_SCALE, Changes
from examples.demos.fleet.fleet import BASELINE, BUNDLE, Fleet
from examples.demos.fleet.interruptions import Interrupter
from examples.demos.fleet.releases import ReleaseManager, ReleaseResult
from examples.demos.fleet.servers import require_programs
from examples.demos.fleet.timeline import TIMELINE, draw
from examples.demos.runner import DemoOutcome, demo_parser, emptied, progress, run_demo
from policy_core.bundle.load import bundle_folder
from policy_store.command_line import number_within

PAGE = "fleet.html"
CANDIDATES: Mapping[str, tuple[str, str, Changes]] = {
    "wrong_scale": ("a wrong scale", "1.1.0", WRONG_SCALE),
    "limping": ("limps with a load", "1.2.0", LIMPING),
    "good_candidate": ("good", "1.3.0", {}),
}
"""Title, version and changes of each candidate, in the order of the releases."""
EXPECTED = {"wrong_scale": "shadow", "limping": "canary", "good_candidate": "production"}
"""The stage in which each release must end."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    The exit status is 1 if a release ended in an unexpected stage, and 4 if a robot does not walk
    at the end of a roll-out or a required program is missing.
    """
    return run_demo("fleet", parse(args), (TIMELINE, PAGE), _demonstrate)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    require_programs()
    work = emptied(given.output / "files")
    shipped = bundle_folder(given.bundle)
    with Fleet(work, shipped, robots=given.robots, speed=given.speed) as fleet:
        summary = _show(fleet, given)
        fleet.timeline.stop()
        (work / "timeline.json").write_text(json.dumps(fleet.timeline.document()), "utf-8")
        words = ("fleet", "status", "--prometheus", fleet.prometheus_url)
        page = ("--html", given.output / PAGE)
        table = fleet.run(*words, *page, accepted=(0, 1, 4)).stdout
    return DemoOutcome(
        summary=summary,
        table=table.rstrip("\n"),
        failure=verdict(summary),
        draw=lambda: draw(fleet.timeline, fleet.published, given.output / TIMELINE),
    )


def _show(fleet: Fleet, given: argparse.Namespace) -> dict[str, Any]:
    """Release the chosen candidates and interrupt roll-outs; return the summary."""
    workshop = fleet.workshop
    baseline = workshop.make("in use at first", BASELINE)
    fleet.power_on(baseline, fleet.publish(baseline))
    progress.info("%5.0f s  %d robots walk", fleet.timeline.now_s, len(fleet.robots))
    releases = ReleaseManager(fleet)
    outcomes = {
        name: releases.release(workshop.make(*CANDIDATES[name]), baseline)
        for name in CANDIDATES
        if name in given.releases
    }
    interrupter = Interrupter(fleet, releases, given.seed)
    interrupter.run(given.interruptions, lambda number: workshop.make("good", f"1.4.{number}"))
    robots, lasted_s = fleet.robots.values(), fleet.timeline.now_s
    falls = sum(robot.falls for robot in robots)
    return summarise(outcomes, interrupter, robots=len(robots), falls=falls, duration_s=lasted_s)


def summarise(
    outcomes: dict[str, ReleaseResult],
    interrupter: Interrupter,
    *,
    robots: int,
    falls: int,
    duration_s: float,
) -> dict[str, Any]:
    aftermaths = interrupter.aftermaths
    known = min((one.on_known_version for one in aftermaths), default=robots)
    walking = min((one.walking for one in aftermaths), default=robots)
    return {
        "robots": robots,
        **{name: outcome.stage for name, outcome in outcomes.items()},
        "interruptions": len(interrupter.interruptions),
        "robots_on_known_version": known,
        "robots_walking": walking,
        "falls": falls,
        "duration_s": round(duration_s, 1),
        "releases": {
            name: {
                "version": outcome.candidate.version,
                "changes": dict(outcome.candidate.changes),
                "digest": outcome.digest,
                "stopped_because": outcome.reason,
                "release": outcome.evidence,
            }
            for name, outcome in outcomes.items()
        },
        "interrupted": [asdict(one) for one in interrupter.interruptions],
        "rollouts": [asdict(one) for one in aftermaths],
    }


def verdict(summary: dict[str, Any]) -> str | None:
    """Return why the run failed; None if it succeeded."""
    causes = [
        f"{name}: expected to end in {stage}, found {summary[name]}"
        for name, stage in EXPECTED.items()
        if summary.get(name, stage) != stage
    ]
    for key in ("robots_on_known_version", "robots_walking"):
        if summary[key] != summary["robots"]:
            causes.append(f"{key}: expected {summary['robots']}, found {summary[key]}")
    return "; ".join(causes) or None


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 if they do not fit together."""
    parser = demo_parser("fleet", __doc__, backend_options=False)
    parser.set_defaults(images=True)
    add = parser.add_argument
    add("--bundle", default=BUNDLE, help="bundle of a Lite3 from which all versions are made")
    add(
        "--robots",
        type=number_within(1, 100),
        default=6,
        help="number of robots (default: %(default)s)",
    )
    add(
        "--interruptions",
        type=number_within(0, 100),
        default=10,
        help="number of registry kills, network cuts and power cuts (default: %(default)s)",
    )
    add(
        "--releases",
        nargs="+",
        choices=[*CANDIDATES],
        default=[*CANDIDATES],
        help="which candidates to release (default: all)",
    )
    add("--seed", type=int, default=1, help="seed of the interruptions (default: %(default)s)")
    add(
        "--speed",
        type=float,
        default=0.6,
        help="maximum simulated seconds per second (default: %(default)s)",
    )
    return parser.parse_args(args)


if __name__ == "__main__":
    raise SystemExit(main())
