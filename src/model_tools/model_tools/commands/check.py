# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that flight recordings satisfy the invariants in every tick.

    model_tools check ~/.ros/flights/*

The policy is not run again; the recorded modes, requests, ages, targets and commands are checked
against the invariants of docs/invariants.md, with the contract and the limits that were in force.
The exit status is 1 if any is violated, and otherwise 4 if a recording cannot be read.
`model_tools replay` checks whether the policy reproduces these commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError, VerdictError
from policy_store.command_line import CommandResult
from policy_store.report import Cell, Facts, Part, Table, Tone, Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording", type=Path, nargs="+", help="folder of the recording, or its .mcap file"
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Check recordings; the exit status is 1 if an invariant is violated.

    Returns:
        For each readable recording: `ticks`, `checked` and `violated` (counts by invariant),
            `first` (the first violation of each invariant).
    """
    from model_tools.prove.replaying.invariants import (
        INVARIANTS,
        RECORDER_INVARIANTS,
        CheckedFlight,
        check_flight,
    )

    def shown(found: CheckedFlight) -> list[Part]:
        word = Verdict("holds", Tone.GOOD) if found else Verdict("violated", Tone.BAD)
        checked = f"{len(found.checked)} of {len(INVARIANTS) + len(RECORDER_INVARIANTS)}"
        rows: list[tuple[str, Cell]] = [
            ("ticks", found.ticks),
            ("invariants checked", checked),
        ]
        parts: list[Part] = [Facts(title=str(found.recording.path), rows=rows, verdict=word)]
        if not found:
            parts.append(
                Table(
                    header=("invariant", "times", "first tick", "after, s", "found"),
                    rows=[
                        (one.name, found.counts[one.name], one.tick, one.time_s, one.found)
                        for one in found.violations
                    ],
                )
            )
        return parts

    flights, unreadable = list[CheckedFlight](), list[str]()
    for path in given.recording:
        try:
            flights.append(check_flight(path))
        except ToolError as error:
            unreadable += str(error).split("\n")
    unread = (ToolError if all(flights) else VerdictError)(*unreadable)
    return CommandResult(
        document={
            str(found.recording.path): {
                "ticks": found.ticks,
                "checked": dict(found.checked),
                "violated": dict(found.counts),
                "first": [one._asdict() for one in found.violations],
            }
            for found in flights
        },
        text=[part for found in flights for part in shown(found)],
        status=0 if all(flights) else 1,
        error=unread if unreadable else None,
    )
