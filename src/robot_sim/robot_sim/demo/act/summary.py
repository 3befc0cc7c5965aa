# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo of a chunk policy in figures: `summary.json` and the table that is shown."""

from pathlib import Path
from typing import Any

import numpy as np

from robot_sim.arm_episodes import ArmTrace
from robot_sim.demo.act.performance import DemoResult
from robot_sim.demo.summary import aligned

_HOLD_MODE = 4
"""JointCommand.MODE_HOLD."""


def summarise(result: DemoResult) -> dict[str, Any]:
    """Return the content of `summary.json`."""
    trace, options = result.trace, result.options
    last = list(result.statuses.values())[-1]
    took_s = trace.took_s[trace.succeeded]
    return {
        "bundle": Path(last.bundle).name,
        "backend": last.backend,
        "runs_on": last.runs_on,
        "mode": options.mode,
        "rate_hz": last.rate_hz,
        "lockstep": options.lockstep,
        "episodes": len(result.statuses),
        "successes": int(trace.succeeded.sum()),
        "mean_time_to_reach_s": round(float(took_s.mean()), 2) if len(took_s) else None,
        "chunks": result.chunks,
        # In lockstep inference takes what is asked for, of simulated time.
        "chunk_ms": None
        if options.lockstep
        else {
            name: _ms(result.diagnostics.get(f"chunk.inference_{name}_s"))
            for name in ("p50", "p99")
        },
        "hold_ticks": int(np.count_nonzero(trace.mode == _HOLD_MODE)),
        "guard_events": {entry.name: entry.count for entry in last.guard_counters if entry.count},
        "ticks_since_activation": last.ticks,
        "ticks_missed_since_activation": last.ticks_missed,
        "tick_ms": {
            "p50": _ms(last.latency_p50_s),
            "p99": _ms(last.latency_p99_s),
            "max": _ms(last.latency_max_s),
        },
        "wall_s": round(result.wall_s, 1),
        "simulated_s": round(float(trace.time_s[-1]), 1),
        "results": [_result(trace, seed, status) for seed, status in result.statuses.items()],
    }


def _result(trace: ArmTrace, seed: int, status: Any) -> dict[str, Any]:
    """Return how an episode ended; without figures where a fault came before it began."""
    fault = {"fault": status.reason} if status.latched else {}
    at = np.flatnonzero(trace.seed == seed)
    if not len(at):
        return {"seed": seed, "succeeded": False, **fault}
    row = int(at[0])
    return {
        "seed": seed,
        "succeeded": bool(trace.succeeded[row]),
        "took_s": round(float(trace.took_s[row]), 2),
        "closest_mm": round(1e3 * float(trace.closest_m[row]), 1),
        **fault,
    }


def table(summary: dict[str, Any]) -> str:
    """Return the figures for a person."""
    events = ", ".join(f"{name} {count}" for name, count in summary["guard_events"].items())
    tick, chunk = summary["tick_ms"], summary["chunk_ms"]
    took = f"; p50 {chunk['p50']} ms, p99 {chunk['p99']} ms" if chunk else ""
    lines = [
        ("policy", f"{summary['bundle']} on {summary['backend']} ({summary['runs_on']})"),
        ("chunks", f"{summary['chunks']}, {summary['mode']}{took}"),
        ("episodes", f"{summary['successes']} of {summary['episodes']} reached"),
        *(
            [("time to reach", f"{summary['mean_time_to_reach_s']} s on average")]
            if summary["successes"]
            else []
        ),
        ("held", f"{summary['hold_ticks']} ticks"),
        ("guard events", events or "none"),
        (
            "ticks",
            f"{summary['ticks_since_activation']} since activation at "
            f"{summary['rate_hz']:g} Hz, "
            f"{summary['ticks_missed_since_activation']} missed",
        ),
        ("tick", f"p50 {tick['p50']} ms, p99 {tick['p99']} ms, max {tick['max']} ms"),
        ("time", f"{summary['simulated_s']} s simulated in {summary['wall_s']} s"),
    ]
    return aligned(lines)


def verdict(summary: dict[str, Any]) -> str | None:
    """Return what was wrong with the run, if anything."""
    faults = [
        f"seed {each['seed']}: {each['fault']}" for each in summary["results"] if "fault" in each
    ]
    if faults:
        return f"expected no fault, found {len(faults)}: {'; '.join(faults)}"
    if not summary["successes"]:
        return f"expected at least one of {summary['episodes']} episodes to succeed, none did"
    return None


def _ms(seconds: Any) -> float | None:
    return None if seconds is None else round(1e3 * float(seconds), 3)
