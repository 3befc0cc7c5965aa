# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show the policy, stage and health of each robot in a fleet, and since when.

    model_tools fleet status --prometheus http://monitor:9090
    model_tools fleet status --inventory robots.yml --limit wave_1 --policy lite3_walk@1.3.0

With --prometheus, the alert rules in deploy/prometheus judge the robots' health. With --inventory
alone, the command reads each robot's own metrics, and the robot's nodes judge its health. With
both, the robots of the inventory must be in Prometheus. The exit status is 0 if all robots are
healthy, 1 if one is bad, and 4 if there is not enough data to call them healthy.
"""
# run: model_tools fleet status --prometheus: {skip: docs/fleet.md runs it with a Prometheus}
# run: model_tools fleet status --inventory:
# run:   before: cp deploy/ansible/robots.example.yml robots.yml
# run:   status: 4

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, seconds
from policy_store.report import Report, Table, Tone, Verdict

if TYPE_CHECKING:
    from model_tools.ship.fleet import FleetReading, FleetRobot

_POLLED_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prometheus", metavar="URL", help="server, such as http://127.0.0.1:9090")
    parser.add_argument(
        "--inventory",
        type=Path,
        metavar="FILE",
        help="an Ansible inventory (YAML) whose hosts have the variable metrics_url",
    )
    parser.add_argument("--limit", default="", metavar="GROUP", help="a group of the inventory")
    parser.add_argument(
        "--policy", default="", metavar="NAME@VERSION", help="policy that each robot must run"
    )
    parser.add_argument(
        "--run-s",
        type=seconds,
        default=0.0,
        metavar="S",
        help="minimum RUN time of each robot with this policy, s",
    )
    parser.add_argument(
        "--wait-s",
        type=seconds,
        default=0.0,
        metavar="S",
        help="repeat until all robots are healthy or one robot is bad, for at most this time",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write an HTML page to this file"
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Show the fleet.

    Returns:
        health of the worst robot (healthy, bad, unknown), and robots: robot, policy (NAME@VERSION),
        sha256 (of the policy's contract), stage, health, reasons, since_s (Unix time; null if
        unknown), run_s (time in RUN with this policy).
    """
    from model_tools.ship.fleet import (
        EXIT_STATUS,
        UNKNOWN,
        NoAnswerError,
        judge_fleet,
        read_inventory,
        worst,
    )

    if not (given.prometheus or given.inventory):
        raise ToolError("expected --prometheus URL or --inventory FILE, found neither")
    if given.limit and not given.inventory:
        raise ToolError("--limit GROUP needs --inventory FILE, found no --inventory")
    robots = read_inventory(given.inventory, given.limit) if given.inventory else None
    ends_s = time.monotonic() + given.wait_s
    while True:
        try:
            reading = _read(given.prometheus, robots)
            states = judge_fleet(reading, only=robots, policy=given.policy, run_s=given.run_s)
            if worst(states) != UNKNOWN or time.monotonic() >= ends_s:
                break
        except NoAnswerError:
            if time.monotonic() >= ends_s:
                raise
        time.sleep(_POLLED_EVERY_S)
    health, report = worst(states), fleet_report(states)
    if given.html:
        from model_tools.files.report_page import write_page

        write_page(report, given.html)
    return CommandResult(
        document={"health": health, "robots": states},
        text=report.parts,
        status=EXIT_STATUS[health],
    )


def _read(prometheus: str | None, robots: dict[str, str] | None) -> FleetReading:
    from model_tools.ship.fleet import read_prometheus, read_robots

    return read_prometheus(prometheus, robots or ()) if prometheus else read_robots(robots or {})


def fleet_report(states: Sequence[FleetRobot]) -> Report:
    """Return a report with a table of the robots."""
    tones = {"healthy": Tone.GOOD, "bad": Tone.BAD, "unknown": Tone.WARN}
    rows = [
        (
            one.robot,
            one.policy or None,
            one.stage,
            Verdict(one.health, tones[one.health]),
            None if one.since_s is None else _date(one.since_s),
            round(one.run_s),
            "; ".join(one.reasons),
        )
        for one in states
    ]
    header = ("robot", "runs", "stage", "health", "since", "RUN, s", "reasons")
    return Report(
        title=f"Fleet, {_date(time.time())}",
        values={},
        parts=[
            Table(header=header, rows=rows) if rows else "no robots found",
        ],
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
