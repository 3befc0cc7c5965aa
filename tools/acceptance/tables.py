# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of an acceptance test: all gates, with a column per policy, and all cases of a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from model_tools.prove.trial import WalkOutcome
from model_tools.simulation.robot import WalkLimits
from tools.acceptance.cases import long_cases, steady_cases

Outcomes = Sequence[WalkOutcome]
Cell = Callable[[Outcomes], tuple[str, bool]]
"""Returns the cell text for one policy's outcomes, and whether the gate holds."""


def gates_table(columns: Mapping[str, Outcomes]) -> str:
    """Return the gates as a Markdown table, with one column per policy; failures are bold."""
    head = ["gate (robot_sim, lockstep)", "limit", *columns]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, wanted, cell in _rows():
        cells = [cell(outcomes) for outcomes in columns.values()]
        lines.append(_line([name, wanted, *(t if held else f"**{t}**" for t, held in cells)]))
    return "\n".join(lines)


def cases_table(outcomes: Outcomes) -> str:
    """Return all cases of one policy as a Markdown table."""
    head = (
        "case",
        "held",
        "survived s",
        "error vx, vy, wz",
        "tilt deg",
        "torque limit %",
        "action change",
        "guard %",
        "stopped by",
    )
    return "\n".join([_line(head), _line(["---"] * len(head)), *map(case_row, outcomes)])


def case_row(outcome: WalkOutcome) -> str:
    """Return one case as a row of the cases table."""
    held = {True: "yes", False: "**no**", None: "-"}[outcome.passed]
    return _line(
        [
            outcome.name,
            held,
            f"{outcome.survived_s:.1f} of {outcome.duration_s:.0f}",
            ", ".join(f"{value:.3f}" for value in outcome.error),
            f"{outcome.tilt_deg:.1f}",
            f"{100.0 * outcome.torque_limit_share:.2f}",
            f"{outcome.action_change:.4f}",
            f"{100.0 * outcome.altered_share:.2f}",
            outcome.stopped_by,
        ]
    )


def verdict(outcomes: Outcomes) -> str:
    """Return one line that says that all cases passed, or names those that failed."""
    failed = [outcome.name for outcome in outcomes if outcome.passed is False]
    gates = sum(outcome.passed is not None for outcome in outcomes)
    if failed:
        return f"not accepted: {len(failed)} of {gates} cases failed: {'; '.join(failed)}"
    return f"accepted: all {gates} cases held"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _select(outcomes: Outcomes, *groups: str) -> list[WalkOutcome]:
    return [outcome for outcome in outcomes if outcome.group in groups]


def _error(index: int, limit: float) -> Cell:
    def show(outcomes: Outcomes) -> tuple[str, bool]:
        outcome = _select(outcomes, "steady")[index]
        text = ", ".join(f"{value:.3f}" for value in outcome.error)
        return text, all(value <= limit for value in outcome.error)

    return show


def _survivors(group: str, *, gate: bool = True) -> Cell:
    def show(outcomes: Outcomes) -> tuple[str, bool]:
        found = _select(outcomes, group)
        survivors = sum(outcome.survived for outcome in found)
        return f"{survivors} of {len(found)}", survivors == len(found) or not gate

    return show


def _worst(field: str, limit: float, *groups: str, digits: int, factor: float = 1.0) -> Cell:
    def show(outcomes: Outcomes) -> tuple[str, bool]:
        value = np.max([np.max(getattr(outcome, field)) for outcome in _select(outcomes, *groups)])
        return f"{factor * value:.{digits}f}", bool(value <= limit)

    return show


def _standing(limit: float) -> Cell:
    def show(outcomes: Outcomes) -> tuple[str, bool]:
        change = _select(outcomes, "steady")[3].action_change
        return f"{change:.4f}", change <= limit

    return show


def _rows() -> list[tuple[str, str, Cell]]:
    """Return the name, limit and cell of every gate."""
    limits, still, long = (
        case.limits or WalkLimits()
        for case in (steady_cases()[0], steady_cases()[3], long_cases()[0])
    )
    errors = [
        (f"error at {case.name}", f"<= {limits.error:g} each", _error(index, limits.error))
        for index, case in enumerate(steady_cases())
    ]
    return [
        *errors,
        ("no fall at these commands", "4 of 4", _survivors("steady")),
        (
            "largest tilt at these commands, degrees",
            f"<= {limits.tilt_deg:g}",
            _worst("tilt_deg", limits.tilt_deg, "steady", digits=1),
        ),
        (
            "samples at the torque limit, worst, %",
            f"<= {100 * limits.torque_limit_share:g}",
            _worst("torque_limit_share", limits.torque_limit_share, "steady", digits=2, factor=100),
        ),
        (
            "mean action change, standing",
            f"<= {still.action_change:g}",
            _standing(still.action_change),
        ),
        ("pushes of 100 N for 0.1 s survived", "8 of 8", _survivors("pushes")),
        ("mixed 60 s, friction 0.4, 0 to 20 ms latency", "5 of 5", _survivors("mixed 0.4")),
        ("mixed 60 s, friction 1, 0 to 20 ms latency", "5 of 5", _survivors("mixed 1")),
        ("mixed 10 minutes, survived", "1 of 1", _survivors("long")),
        (
            "largest tilt in the 10 minutes, degrees",
            f"<= {long.tilt_deg:g}",
            _worst("tilt_deg", long.tilt_deg, "long", digits=1),
        ),
        (
            "error in mixed walks, worst axis",
            f"<= {long.error:g}",
            _worst("error", long.error, "mixed 0.4", "mixed 1", "long", digits=3),
        ),
        (
            "ticks altered by the guard, worst, %",
            f"<= {100 * long.altered_share:g}",
            _worst("altered_share", long.altered_share, "steady", "long", digits=3, factor=100),
        ),
        (
            "four more 10-minute walks with different random commands, survived",
            "no gate",
            _survivors("long again", gate=False),
        ),
    ]
