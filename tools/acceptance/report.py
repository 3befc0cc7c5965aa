# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an acceptance shows: the table of gates, all figures, and the ten minutes as a recording."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_sim.demo.plots import write_plots
from robot_sim.figures import FOOT_NAMES, JOINT_NAMES, Array
from robot_sim.rotation import tilt_rad
from robot_sim.trace import Trace
from tools.acceptance.trial import Outcome

CLOSE_UP_S = 12.0
Outcomes = Sequence[Outcome]


def gates_table(columns: Mapping[str, Outcomes]) -> str:
    """Return the gates as a Markdown table, with one column per policy."""
    rows = [("gate (robot_sim, lockstep)", "wanted", list(columns))]
    rows += [(name, wanted, [show(outcomes) for outcomes in columns.values()])
             for name, wanted, show in _ROWS]  # fmt: skip
    lines = ["| " + " | ".join([name, wanted, *cells]) + " |" for name, wanted, cells in rows]
    lines.insert(1, "| " + " | ".join(["---"] * (2 + len(columns))) + " |")
    return "\n".join(lines)


def cases_table(outcomes: Outcomes) -> str:
    """Return all cases of one policy as a Markdown table."""
    head = ("case", "held", "survived s", "error vx, vy, wz", "tilt deg", "torque limit %",
            "action change", "guard %")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    return "\n".join([*lines, *map(case_row, outcomes)])


def case_row(outcome: Outcome) -> str:
    """Return one case as a row of that table."""
    held = {True: "yes", False: "**no**", None: "-"}[outcome.passed]
    cells = (
        outcome.name, held, f"{outcome.survived_s:.1f} of {outcome.duration_s:.0f}",
        ", ".join(f"{value:.3f}" for value in outcome.error), f"{outcome.tilt_deg:.1f}",
        f"{100.0 * outcome.torque_limit_share:.2f}", f"{outcome.action_change:.4f}",
        f"{100.0 * outcome.altered_share:.2f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def write_figures(outcomes: Outcomes, path: Path) -> None:
    """Write all outcomes as JSON."""
    rows = [_plain(dataclasses.asdict(outcome)) for outcome in outcomes]
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", "utf-8")


def read_figures(path: Path) -> list[Outcome]:
    """Read a file written by `write_figures`."""
    return [_outcome(row) for row in json.loads(path.read_text("utf-8"))]


def write_recording(trace: Trace, folder: Path) -> None:
    """Write IMU, joint torques and foot forces of a walk as JSON, and pictures of it.

    The pictures show the whole walk and the seconds about the largest tilt.
    """
    recording = {
        "rate_hz": float(np.round(1.0 / np.diff(trace.time_s[:2])[0], 6)),
        "units": {"time": "s", "orientation": "x y z w, body to world", "ang_vel_body": "rad/s",
                  "lin_acc_body": "m/s^2", "joint_effort": "N m", "foot_force_world": "N"},
        "joint_names": JOINT_NAMES, "foot_names": FOOT_NAMES,
        "time": _rounded(trace.time_s), "orientation": _rounded(trace.quat_xyzw),
        "ang_vel_body": _rounded(trace.ang_vel_body), "lin_acc_body": _rounded(trace.lin_acc_body),
        "joint_effort": _rounded(trace.joint_effort),
        "foot_force_world": _rounded(trace.foot_force_world),
    }  # fmt: skip
    (folder / "ten_minutes.json").write_text(json.dumps(recording), "utf-8")
    write_plots(trace, folder / "ten_minutes.png")
    worst_s = trace.time_s[int(np.argmax(tilt_rad(trace.quat_xyzw)))]
    near = np.searchsorted(trace.time_s, [worst_s - CLOSE_UP_S / 2, worst_s + CLOSE_UP_S / 2])
    write_plots(trace.rows(slice(*near.tolist())), folder / "largest_tilt.png")


def _of(outcomes: Outcomes, group: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.group == group]


def _error_row(index: int) -> Any:
    def show(outcomes: Outcomes) -> str:
        outcome = _of(outcomes, "steady")[index]
        return ", ".join(f"{value:.3f}" for value in outcome.error)

    return show


def _count(group: str) -> Any:
    def show(outcomes: Outcomes) -> str:
        found = _of(outcomes, group)
        return f"{sum(outcome.survived for outcome in found)} of {len(found)}"

    return show


def _worst(group: str, field: str, digits: int, factor: float = 1.0) -> Any:
    def show(outcomes: Outcomes) -> str:
        values = [getattr(outcome, field) for outcome in _of(outcomes, group)]
        return f"{factor * np.max(values):.{digits}f}"

    return show


def _standing(outcomes: Outcomes) -> str:
    return f"{_of(outcomes, 'steady')[3].action_change:.4f}"


def _survived(outcomes: Outcomes) -> str:
    return f"{_of(outcomes, 'long')[0].survived_s:.0f}"


_ROWS: list[tuple[str, str, Any]] = [
    ("error at (0.8, 0, 0)", "<= 0.04 each", _error_row(0)),
    ("error at (0, 0.5, 0)", "<= 0.04 each", _error_row(1)),
    ("error at (0, 0, 0.8)", "<= 0.04 each", _error_row(2)),
    ("error at (0, 0, 0)", "<= 0.04 each", _error_row(3)),
    ("on its feet in these", "4 of 4", _count("steady")),
    ("largest tilt in these, degrees", "<= 8", _worst("steady", "tilt_deg", 1)),
    ("samples at the torque limit, worst, %", "<= 0.5",
     _worst("steady", "torque_limit_share", 2, 100.0)),
    ("mean action change, standing", "<= 0.002", _standing),
    ("pushes of 100 N for 0.1 s survived", "8 of 8", _count("pushes")),
    ("mixed 60 s, friction 0.4, 0 to 20 ms latency", "5 of 5", _count("mixed 0.4")),
    ("mixed 60 s, friction 1, 0 to 20 ms latency", "5 of 5", _count("mixed 1")),
    ("mixed 10 minutes, survived, s", "600", _survived),
    ("largest tilt in it, degrees", "<= 20", _worst("long", "tilt_deg", 1)),
    ("ticks altered by the guard in it, %", "<= 0.1", _worst("long", "altered_share", 3, 100.0)),
]  # fmt: skip


def _rounded(values: Array) -> Any:
    return np.round(values, 4).tolist()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Round figures to what is meant by them; what was not measured is null, as JSON has no NaN."""
    def shorten(value: Any) -> Any:
        if isinstance(value, float):
            return None if np.isnan(value) else float(f"{value:.4g}")
        return [shorten(entry) for entry in value] if isinstance(value, tuple) else value

    return {name: shorten(value) for name, value in row.items()}


def _outcome(row: dict[str, Any]) -> Outcome:
    """Return an outcome from its plain figures."""
    def measured(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(measured, value))
        return float("nan") if value is None else value

    kept = {"passed": row["passed"]}  # null there means that it has no limits
    return Outcome(**{name: measured(value) for name, value in row.items()} | kept)
