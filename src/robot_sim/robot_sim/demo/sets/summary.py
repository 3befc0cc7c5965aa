# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo of a policy set in figures: `summary.json`, the table that is shown, the verdict."""

from collections.abc import Iterable
from typing import Any

from robot_sim.demo.sets.performance import SetDemoResult, SwitchEvent, SwitchRound
from robot_sim.demo.summary import aligned, walked
from robot_sim.metrics import measure

LARGEST_STEP_RATIO = 1.5
"""Of the largest step of a target in a healthy run."""


def summarise(result: SetDemoResult) -> dict[str, Any]:
    """Return the content of `summary.json`."""
    contract, rounds = result.bundle.contract, [_round(each) for each in result.rounds]
    failing = _round(result.failing)
    everything = [*rounds, failing]
    return {
        "bundle": contract.name,
        "version": contract.version,
        "members": {
            name: {
                "bundle": member.contract.name,
                "version": member.contract.version,
                "rate_hz": member.contract.rate_hz,
            }
            for name, member in result.bundle.members.items()
        },
        "states": [*contract.states],
        "switches": sum(each["switches"] for each in rounds),
        "refused": sum(each["refused"] for each in rounds),
        "falls": sum(each["falls"] for each in everything),
        "largest_step_ratio": max(each["largest_step_ratio"] for each in everything),
        "rounds": rounds,
        "failing": {"state": result.failed, **failing, "events": _described(result.failing.events)},
        "simulated_s": round(sum(each["simulated_s"] for each in everything), 1),
        "wall_s": round(result.wall_s, 1),
    }


def _round(found: SwitchRound) -> dict[str, Any]:
    status, granted = found.status, [event for event in found.events if event.granted]
    metrics = measure(walked(found.trace, left_run=status.latched))
    return {
        "friction": found.conditions.friction,
        "latency_ms": 1e3 * found.conditions.latency_s,
        "pushes": len(found.pushes_s),
        "switches": len(granted),
        "refused": len(found.events) - len(granted),
        "fallbacks": status.policy_set[0].fallbacks,
        "falls": metrics.falls,
        "fault": status.reason if status.latched else None,
        "largest_step_ratio": round(max((each.step_ratio for each in granted), default=0.0), 3),
        "max_tilt_deg": round(metrics.max_tilt_deg, 1),
        "distance_m": round(metrics.distance_m, 1),
        "guard_events": {entry.name: entry.count for entry in status.guard_counters if entry.count},
        "simulated_s": round(float(found.trace.time_s[-1]), 1),
        "recording": None if found.recording is None else str(found.recording),
    }


def _described(events: Iterable[SwitchEvent]) -> list[dict[str, Any]]:
    return [
        {
            "at_s": round(event.at_s, 2),
            "state": event.state,
            "granted": event.granted,
            "why": event.why,
        }
        for event in events
    ]


def table(summary: dict[str, Any]) -> str:
    """Return the figures for a person."""
    failing = summary["failing"]
    lines = [
        ("set", f"{summary['bundle']} {summary['version']}"),
        (
            "members",
            ", ".join(
                f"{name} ({member['bundle']} {member['version']}, {member['rate_hz']:g} Hz)"
                for name, member in summary["members"].items()
            ),
        ),
        *(
            (
                f"friction {each['friction']:g}, {each['latency_ms']:g} ms",
                f"{each['switches']} switches, {each['refused']} refused, {each['pushes']} pushes, "
                f"{each['falls']} falls, largest step {each['largest_step_ratio']:.2f}, tilt "
                f"{each['max_tilt_deg']:.0f} degrees",
            )
            for each in summary["rounds"]
        ),
        (
            "a member fails",
            f"{failing['refused']} refused, {failing['fallbacks']} fallback, "
            f"{failing['falls']} falls",
        ),
        ("in all", f"{summary['switches']} switches, {summary['falls']} falls"),
        ("time", f"{summary['simulated_s']} s simulated in {summary['wall_s']} s"),
    ]
    return aligned(lines)


def verdict(summary: dict[str, Any]) -> str | None:
    """Return what was wrong with the run, if anything."""
    everything = [*summary["rounds"], summary["failing"]]
    if faults := [each["fault"] for each in everything if each["fault"]]:
        return f"expected no fault, found {'; '.join(faults)}"
    if summary["falls"]:
        return f"expected no fall, found {summary['falls']}"
    if summary["largest_step_ratio"] > LARGEST_STEP_RATIO:
        return (
            f"expected steps of at most {LARGEST_STEP_RATIO:g} times that of a healthy run, found "
            f"{summary['largest_step_ratio']:.2f}"
        )
    if not summary["failing"]["fallbacks"]:
        return "expected a fallback where a member failed, found none"
    return None
