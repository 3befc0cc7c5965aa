# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay shows: lines and a table on the terminal, and all figures as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table

from model_tools.prove.replaying.flight import Edge
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight
from model_tools.prove.replaying.stages import (
    COMMAND,
    GUARD,
    INPUTS,
    OUTPUTS,
    STATE,
    TARGET,
    Departure,
    ReplayStage,
)
from policy_inference.comparison.plain_json import check_figures, plain

DIGITS = 9
WHAT = {
    "state": "sensors' messages and own past -> state",
    "inputs": "state -> model's inputs",
    "outputs": "inputs -> model's outputs",
    "target": "outputs -> target within bounds",
    "command": "target -> joint command",
    "guard": "state and ages -> mode",
}


def verdict(found: ReplayedFlight) -> str:
    """Return in one sentence what came of it."""
    if found.differs:
        beyond = next((str(check) for check in found.checks if not check), found.first_judged)
        more = "".join(f"; {each}" for each in found.broken)
        return f"not the same commands: {beyond}{more} ({compared(found)})"
    if found.broken:
        return f"not as the contract allows: {'; '.join(found.broken)} ({compared(found)})"
    if found.unproven:
        return f"not proven: {'; '.join(found.unproven)} ({compared(found)})"
    if found.judgement is Judgement.WHAT_IF:
        command = found.replayer.stages[COMMAND]
        return (
            f"another policy: the command differs in {command.differing} of {command.judged} "
            f"ticks that could be compared, of {ticks(found)} in all"
        )
    again = (
        "bit for bit"
        if found.judgement is Judgement.EXACT
        else "within the limits of its precision"
    )
    if not found.replayer.coverage.run:
        return f"the same commands again, {again}; the policy did not run ({compared(found)})"
    return f"the same commands again, {again} ({compared(found)})"


def compared(found: ReplayedFlight) -> str:
    """Return in words what was compared, and in how many ticks."""
    coverage, stages = found.replayer.coverage, found.replayer.stages
    others = [f"{name} {stages[name].judged}" for name in (COMMAND, GUARD)]
    of_run = (STATE, INPUTS, OUTPUTS, TARGET)
    policy = [f"{name} {stages[name].judged}" for name in of_run if name in stages]
    text = (
        f"compared, of {coverage.ticks} ticks: {', '.join(others)}; with {coverage.run} of "
        f"them in RUN: {', '.join(policy)}"
    )
    if coverage.lost:
        text += f"; {coverage.lost} ticks are missing"
    if coverage.run and coverage.never_sensed:
        text += f"; without messages for {', '.join(coverage.never_sensed)}"
    return text


def ticks(found: ReplayedFlight) -> int:
    """Return the number of ticks."""
    return len(found.flight.time_s)


def lines(found: ReplayedFlight) -> list[str]:
    """Return what ran, what happened and what came of it."""
    info, replayer, flight = found.recording.info, found.replayer, found.flight
    modes = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in flight.seconds_by_mode.items())
    text = [
        f"{found.recording.path}: {info.policy} on {info.backend} ({info.host}), "
        f"{ticks(found)} ticks: {modes}",
        f"recorded because: {info.reason}",
        f"replayed with {found.bundle.path} on {found.backend}; judged: "
        f"{found.judgement.value} ({found.because})",
        *(
            f"{edge.time_s:9.3f} s  {edge.mode.name:5}  {edge.reason}"
            f"{'   <-- here' if edge is flight.trip else ''}"
            for edge in flight.edges
        ),
    ]
    if found.tightened:
        text.append(f"tightened: {'; '.join(found.tightened)}")
    if counts := counted(replayer.rules, replayer.dropped, replayer.coverage.lost):
        text.append(counts)
    if found.first:
        within = " (within the limits)" if found.judgement is Judgement.LIMITS and found else ""
        text.append(f"first difference{within}: {found.first}")
    return text


def counted(rules: Counter[str], dropped: Counter[str], lost: int) -> str:
    """Return in words what the guard did, and what was lost; empty where nothing."""
    said = [f"{rule} in {count} ticks" for rule, count in rules.items()]
    said += [f"answer dropped in {count} ticks ({cause})" for cause, count in dropped.items()]
    return "; ".join(said + ([f"{lost} ticks are not in the recording"] if lost else []))


def table(found: ReplayedFlight) -> Table:
    """Return the stages with their figures."""
    shown = Table()
    shown.add_column("stage")
    for name in ("judged", "not judged", "differ", "largest", "mean"):
        shown.add_column(name, justify="right")
    for name, stage in found.replayer.stages.items():
        colour = "bold red" if stage.differing and name in found.judged_stages else "default"
        shown.add_row(
            name,
            str(stage.judged),
            str(stage.not_judged),
            f"[{colour}]{stage.differing}[/]",
            f"{stage.largest:.3g}",
            f"{stage.mean:.3g}",
        )
    return shown


def document(found: ReplayedFlight) -> dict[str, Any]:
    """Return all figures in the types of JSON."""
    info, flight, replayer = found.recording.info, found.flight, found.replayer
    shown: dict[str, Any] = plain(
        {
            "recording": str(found.recording.path),
            "reason": info.reason,
            "policy": info.bundle_name,
            "version": info.bundle_version,
            "bundle_sha256": info.bundle_sha256,
            "backend": info.backend,
            "runs_on": info.runs_on,
            "host": info.host,
            "settings": dict(info.settings),
            "ticks": ticks(found),
            "seconds_by_mode": flight.seconds_by_mode,
            "timeline": list(map(_edge, flight.edges)),
            "replayed": {
                "bundle": str(found.bundle.path),
                "bundle_sha256": found.bundle.sha256,
                "backend": found.backend,
                "runs_on": found.runs_on,
                "judged": found.judgement.name.lower(),
                "because": found.because,
                "unproven": found.unproven,
                "compared": compared(found),
                "broken_limits": list(found.broken),
                "tightened": list(found.tightened),
                "same": bool(found) if found.judgement is not Judgement.WHAT_IF else None,
                "first_difference": _departure(found.first),
                "stages": {name: _stage(stage) for name, stage in replayer.stages.items()},
                "checks": check_figures(found.checks),
            },
            "guard": dict(replayer.rules),
            "dropped": dict(replayer.dropped),
            "lost_ticks": replayer.coverage.lost,
            "figures": figures(found),
        },
        DIGITS,
    )
    return shown


def figures(found: ReplayedFlight) -> dict[str, Any]:
    """Return the largest and usual values of the flight; NaN where they were not recorded."""
    flight = found.flight
    roll, pitch = np.degrees(flight.rpy_rad[:, 0]), np.degrees(flight.rpy_rad[:, 1])
    share = np.abs(flight.joint_effort) / flight.effort_limit
    return {
        "largest_roll_deg": _largest(roll),
        "largest_pitch_deg": _largest(pitch),
        "largest_torque_share": dict(zip(flight.joints, map(_largest, share.T), strict=True)),
        "largest_foot_force_n": dict(zip(flight.feet, map(_largest, flight.forces.T), strict=True)),
        "largest_age_s": {name: _largest(ages) for name, ages in flight.ages_s.items()},
        "duration_s": {
            "p50": _at(flight.duration_s, 50.0),
            "p99": _at(flight.duration_s, 99.0),
            "max": _largest(flight.duration_s),
        },
    }


def write_json(
    found: ReplayedFlight, file: Path, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write all figures, and more of them by name."""
    figures = document(found) | dict(more)
    file.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "tick": edge.tick,
        "time_s": edge.time_s,
        "mode": edge.mode.name,
        "reason": edge.reason,
        "trip": edge.trip,
    }


def _stage(stage: ReplayStage) -> dict[str, Any]:
    return {
        "judged": stage.judged,
        "not_judged": stage.not_judged,
        "differing": stage.differing,
        "largest": stage.largest,
        "mean": stage.mean,
        "tolerance": stage.tolerance,
        "first": _departure(stage.first),
        "worst": _departure(stage.worst),
    }


def _departure(found: Departure | None) -> dict[str, Any] | None:
    return (
        None
        if found is None
        else {
            "tick": found.tick,
            "time_s": found.time_s,
            "stage": found.stage,
            "name": found.name,
            "expected": found.expected,
            "found": found.found,
            "difference": found.difference,
        }
    )


def _largest(values: Any) -> float:
    known = np.abs(values)[np.isfinite(values)]
    return float(known.max()) if known.size else float("nan")


def _at(values: Any, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
