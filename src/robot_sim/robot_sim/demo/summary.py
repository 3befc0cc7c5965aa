# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo in figures: `summary.json`, the table that is shown, and whether the walk was good."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import LITE3, LeggedRobot
from robot_sim.metrics import SETTLE_S, WalkMetrics, fallen, measure
from robot_sim.trace import Trace

RUN_MODE = 3.0
"""JointCommand.MODE_RUN, as the trace has it."""
HOLD_MODE = 4.0
"""JointCommand.MODE_HOLD: a short fault that RUN may come back from."""
_LEAD_IN_S = 0.5
LARGEST_TILT_DEG = 25.0
LOWEST_SHARE = 0.575
"""Of the standing robot's height."""
LARGEST_ERROR_MPS = 0.3
_CONTRACT = "check joint order, term order and scales of the contract"
_SIGNS_OF_A_WRONG_CONTRACT = ("attitude", "clipped_too_long")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTiming:
    """What the policy node reported about itself while it ran the policy.

    Attributes:
        bundle: Name of the bundle's folder.
        backend: Name of the backend.
        runs_on: Runtime and device.
        fallback: Why earlier backends of the list did not open, a line each.
        ticks: Ticks since the node was activated, including those of standing up.
        ticks_missed: Deadlines since then at which no tick could start.
        latency_ms: Median, 99th percentile and largest time from sampling to published command.
        guard_events: How often the guard acted, by rule; rules that never acted are left out.
        left_run: Whether the policy node left RUN by itself; a HOLD that recovers does not count.
        reason: Reason of its last mode.
    """

    bundle: str
    backend: str
    runs_on: str
    fallback: str
    ticks: int
    ticks_missed: int
    latency_ms: tuple[float, float, float]
    guard_events: dict[str, int]
    left_run: bool
    reason: str

    @classmethod
    def of(cls, running: Any, ended: Any) -> "ReportedTiming":
        """Take what is needed from two policy_msgs/PolicyStatus.

        Args:
            running: The newest before DAMP was requested. Its latencies are those of RUN.
            ended: The first in DAMP. It holds latched faults that are newer than `running`.
        """
        latency_s = (running.latency_p50_s, running.latency_p99_s, running.latency_max_s)
        p50, p99, longest = (1e3 * value for value in latency_s)
        return cls(
            bundle=Path(ended.bundle).name,
            backend=ended.backend,
            runs_on=ended.runs_on,
            fallback=ended.fallback,
            ticks=ended.ticks,
            ticks_missed=ended.ticks_missed,
            latency_ms=(p50, p99, longest),
            guard_events={entry.name: entry.count for entry in ended.guard_counters if entry.count},
            left_run=ended.latched or running.mode not in (RUN_MODE, HOLD_MODE),
            reason=ended.reason,
        )


def walked(trace: Trace, *, left_run: bool) -> Trace:
    """Return the part of a trace in which the policy ran; where it left RUN, up to the end.

    Lying down on request is no fall, so it must not count; what follows a fault must.

    Raises:
        SimError: The policy never ran.
    """
    run = np.flatnonzero(trace.mode == RUN_MODE)
    if not len(run):
        raise SimError("trace: expected rows in RUN, found none; the policy never ran")
    last = np.flatnonzero(np.isin(trace.mode, (RUN_MODE, HOLD_MODE)))[-1]
    return trace.rows(slice(run[0], None if left_run else last + 1))


def shown(trace: Trace) -> Trace:
    """Return a trace without the time in which the robot lies and waits, less half a second.

    Raises:
        SimError: The robot never moved.
    """
    rows = np.flatnonzero(trace.mode > 0.0)
    if not len(rows):
        raise SimError("trace: expected rows in STAND, found none; the robot never moved")
    first = np.searchsorted(trace.time_s, trace.time_s[rows[0]] - _LEAD_IN_S)
    return trace.rows(slice(int(first), None))


def summarise(metrics: WalkMetrics, reported: ReportedTiming) -> dict[str, Any]:
    """Return the content of `summary.json`; what could not be measured is None."""
    p50, p99, longest = (round(value, 4) for value in reported.latency_ms)
    return {
        "backend": reported.backend,
        "bundle": reported.bundle,
        "duration_s": round(metrics.duration_s, 3),
        "distance_m": round(metrics.distance_m, 3),
        "mean_velocity_error_mps": _rounded(metrics.mean_velocity_error_mps),
        "max_tilt_deg": round(metrics.max_tilt_deg, 2),
        "falls": metrics.falls,
        "guard_events": reported.guard_events,
        "ticks_since_activation": reported.ticks,
        "ticks_missed_since_activation": reported.ticks_missed,
        "latency_ms": {"p50": p50, "p99": p99, "max": longest},
    }


def table(metrics: WalkMetrics, reported: ReportedTiming) -> str:
    """Return the figures for a person."""
    p50, p99, longest = reported.latency_ms
    events = ", ".join(f"{name} {count}" for name, count in reported.guard_events.items())
    lines = [
        ("policy", f"{reported.bundle} on {reported.backend} ({reported.runs_on})"),
        *(("not on", line) for line in reported.fallback.splitlines()),
        ("walked", f"{metrics.distance_m:.1f} m in {metrics.duration_s:.1f} s"),
        ("mean velocity error", _error(metrics.mean_velocity_error_mps, "m/s")),
        ("mean turn error", _error(metrics.mean_turn_error_radps, "rad/s")),
        ("largest tilt", f"{metrics.max_tilt_deg:.1f} degrees, {_covered(reported)}"),
        ("falls", f"{metrics.falls}"),
        ("guard events", events or "none"),
        ("ticks", f"{reported.ticks} since activation, {reported.ticks_missed} missed"),
        ("latency", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {longest:.2f} ms"),
    ]
    return aligned(lines)


def _covered(reported: ReportedTiming) -> str:
    """Return the time that falls and tilt cover, as `walked` takes it."""
    return "from RUN to the end" if reported.left_run else "while the policy ran"


def measured(trace: Trace, reported: ReportedTiming, robot: LeggedRobot = LITE3) -> WalkMetrics:
    """Measure what counts: how it followed while the policy ran, and whether it stayed up.

    A robot that is down when the policy begins has fallen. After a fault it stands still or lies,
    which says nothing about how the policy follows commands, but may be a fall.
    """
    up = walked(trace, left_run=reported.left_run)
    figures: Any = {
        "effort_limit_nm": robot.effort_limit_nm,
        "fallen_height_m": robot.fallen_height_m,
    }
    whole = measure(up, **figures)
    fell_before = bool(fallen(up.quat_xyzw[0], up.pos_world[0], robot.fallen_height_m))
    return replace(
        measure(walked(trace, left_run=False), **figures),
        falls=whole.falls + fell_before,
        max_tilt_deg=whole.max_tilt_deg,
        min_height_m=whole.min_height_m,
    )


def _error(value: float, unit: str) -> str:
    if math.isfinite(value):
        return f"{value:.3f} {unit}"
    return f"not measured: no command lasted longer than {SETTLE_S:g} s"


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def verdict(
    metrics: WalkMetrics, reported: ReportedTiming, *, lockstep: bool, robot: LeggedRobot = LITE3
) -> str | None:
    """Judge a walk on flat ground.

    Args:
        metrics: Of the time in which the robot should have been up.
        reported: What the policy node reported.
        lockstep: Whether simulated time waited for the policy node, so that a busy machine does
            not matter.
        robot: What walked.

    Returns:
        None for a good walk: the policy ran to the end, the robot neither fell nor tilted by more
        than 25 degrees nor sank far, and its mean velocity error was at most 0.3 m/s,
        where that could be measured. Else all causes and what to do, in one line.
    """
    # A robot that fell was also unsteady and did not follow: those are no separate causes.
    causes = _failed(metrics, reported) or _faults_of_walking(metrics, robot)
    if not causes:
        return None
    return "; ".join([*causes, *_remedy(reported, lockstep=lockstep)])


def _failed(metrics: WalkMetrics, reported: ReportedTiming) -> list[str]:
    causes = []
    if reported.left_run:
        causes.append(f"the policy node left RUN by itself ({reported.reason})")
    # A robot that is damped sinks to the ground, which is no cause.
    if metrics.falls and not (reported.left_run and not reported.reason.startswith("attitude")):
        times = "once" if metrics.falls == 1 else f"{metrics.falls} times"
        causes.append(f"the robot fell {times}")
    return causes


def _faults_of_walking(metrics: WalkMetrics, robot: LeggedRobot) -> list[str]:
    lowest_m = round(LOWEST_SHARE * robot.poses.standing.height_m, 2)
    causes = []
    if metrics.max_tilt_deg > LARGEST_TILT_DEG:
        causes.append(
            f"the robot is unsteady: expected a tilt of at most {LARGEST_TILT_DEG:g} "
            f"degrees on flat ground, found {metrics.max_tilt_deg:.1f}"
        )
    if metrics.min_height_m < lowest_m:
        causes.append(
            f"the robot does not stay up: expected its body at {lowest_m:g} m or more, "
            f"found {metrics.min_height_m:.2f} m"
        )
    if metrics.mean_velocity_error_mps > LARGEST_ERROR_MPS:
        causes.append(
            "the robot does not follow its commands: expected a mean velocity error of "
            f"at most {LARGEST_ERROR_MPS:g} m/s, found "
            f"{metrics.mean_velocity_error_mps:.2f} m/s"
        )
    return causes


def _remedy(reported: ReportedTiming, *, lockstep: bool) -> list[str]:
    """Return a remedy; none if the reason of the policy node is enough."""
    if reported.ticks_missed and not lockstep:
        return [
            f"{reported.ticks_missed} ticks were missed, so this machine may be too busy for "
            "real time: try --lockstep"
        ]
    if reported.left_run and not reported.reason.startswith(_SIGNS_OF_A_WRONG_CONTRACT):
        return []
    return [_CONTRACT]


def aligned(lines: Sequence[tuple[str, str]]) -> str:
    """Return names and what they have, in two columns."""
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
