# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measures how large an error in base_lin_vel a policy survives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from model_tools.errors import ToolError
from model_tools.prove.evaluation.evaluate import Evaluated, succeeded
from model_tools.prove.evaluation.evaluation_report import UNITS, missing_results
from model_tools.prove.evaluation.plan import Plan
from model_tools.prove.evaluation.statistics import highest_shown, wilson
from model_tools.prove.evaluation.summary import mean_interval
from model_tools.prove.evaluation.trials import DIGITS
from policy_core.bundle.bundle import AnyBundle
from policy_store.report import Chart, Plot, Report, Series, Table, Tone, Verdict
from robot_sim.figures import load_robot, robot_names

REQUIRED_SUCCESS = 0.9
"""Success rate that the lower end of the interval must reach, if the plan states none."""
_SEEDS, _DURATION_S = 60, 10.0
_TRACKING = ("error_vx", "error_vy", "error_wz")


def usual_plan(bundle: AnyBundle) -> Plan:
    """Return walks with mixed commands, for the robot_sim robot that has the policy's joints."""
    joints = set(bundle.contract.joints.on_robot())
    robots = (name for name in robot_names() if joints <= set(load_robot(name).joint_names))
    return Plan(robot=next(robots, "lite3"), seeds=_SEEDS, duration_s=_DURATION_S)


def with_errors(plan: Plan, errors_mps: Sequence[float]) -> Plan:
    """Return a plan with trials at every error, and without an error.

    Raises:
        ToolError: The plan has several back ends, its robot does not walk, or it has so few walks
            that even a policy that never fails would not reach the required rate.
    """
    if plan.reaches or len(plan.backends) > 1:
        raise ToolError(
            "plan: expected a walking robot and a single back end, found "
            f"{plan.robot} and {', '.join(plan.backends)}"
        )
    factors = dataclasses.replace(
        plan.factors, velocity_error_mps=tuple(sorted({0.0, *errors_mps}))
    )
    required = plan.required_success or REQUIRED_SUCCESS
    tried = dataclasses.replace(plan, factors=factors, required_success=required)
    walks = sum(1 for _, tried_with in tried.conditions() if not tried_with["velocity_error_mps"])
    if (highest := highest_shown(walks)) < required:
        raise ToolError(
            f"plan: expected enough walks to show a success rate of {required:g}, found {walks} "
            f"for each error, which can show at most {highest:.3g}, even if all succeed; increase "
            "`seeds`"
        )
    return tried


def sensitivity(found: Evaluated, stated_error_mps: float | None) -> dict[str, Any]:
    """Return the success rate with each error, and the error that the policy survives.

    Args:
        found: Trials of one policy, from a plan that `with_errors` returned.
        stated_error_mps: The estimator's error in the policy's contract, if it has one.

    Returns:
        `survived_error_mps`: the largest error up to which the lower end of every success rate's
        interval reaches the required rate; None if even the rate without an error does not. Trials
        without a result count as failed.
    """
    [policy], plan = found.policies, found.plan
    levels, survived = list[dict[str, Any]](), None
    errors_mps = plan.factors.velocity_error_mps
    assert isinstance(errors_mps, tuple)
    for error_mps in errors_mps:
        keys = [
            task.key for task in found.tasks if task.conditions["velocity_error_mps"] == error_mps
        ]
        rows = [found.rows[key] for key in keys if key in found.rows]
        successes = sum(succeeded(row, plan.success) for row in rows)
        low, high = wilson(successes, len(keys))
        holds = low >= (plan.required_success or 0.0)
        if holds and all(level["holds"] for level in levels):
            survived = error_mps
        levels.append(
            {
                "error_mps": error_mps,
                "trials": len(keys),
                "successes": successes,
                "success_low": low,
                "success_high": high,
                "holds": holds,
                **{
                    name: mean_interval([row.figures.get(name) for row in rows])
                    for name in _TRACKING
                },
            }
        )
    return {
        "plan": dataclasses.asdict(plan),
        "policy": policy.label,
        "bundle_sha256": policy.sha256,
        "backend": policy.backend,
        "model_sha256": policy.model_sha256,
        "robot": plan.robot,
        "duration_s": plan.trial_s,
        "required_success": plan.required_success,
        "stated_error_mps": stated_error_mps,
        "survived_error_mps": survived,
        "not_done": len(found.not_done),
        "reasons": [*missing_results(found)],
        "levels": levels,
    }


def survives(figures: dict[str, Any]) -> bool:
    """Return whether the policy survives the error stated in its contract (0 if none is stated)."""
    survived: float | None = figures["survived_error_mps"]
    return survived is not None and survived >= (figures["stated_error_mps"] or 0.0)


def sensitivity_report(figures: dict[str, Any]) -> Report:
    """Return the report on the results of `sensitivity`."""
    levels, required = figures["levels"], figures["required_success"]
    errors = [level["error_mps"] for level in levels]
    rates = [100.0 * level["successes"] / level["trials"] for level in levels]
    lows = [100.0 * level["success_low"] for level in levels]
    highs = [100.0 * level["success_high"] for level in levels]
    stated, survived = figures["stated_error_mps"], figures["survived_error_mps"]
    return Report(
        title=f"Sensitivity of {figures['policy']} to errors of base_lin_vel",
        values=figures,
        digits=DIGITS,
        parts=[
            Table(
                header=(
                    "error, m/s",
                    "trials",
                    "succeeded",
                    "from, %",
                    "to, %",
                    "required, %",
                    "verdict",
                    *(UNITS[name] for name in _TRACKING),
                ),
                rows=[
                    (
                        level["error_mps"],
                        level["trials"],
                        level["successes"],
                        low,
                        high,
                        100.0 * required,
                        Verdict.of(level["holds"]),
                        *(level[name]["mean"] for name in _TRACKING),
                    )
                    for level, low, high in zip(levels, lows, highs, strict=True)
                ],
            ),
            *figures["reasons"],
            "no survived error: even without an error, the lower end of the interval is below "
            f"{100.0 * required:g} %"
            if survived is None
            else f"survived error: {survived:g} m/s",
            *([] if stated is None else [f"error in the contract: {stated:g} m/s"]),
            "Errors are the root mean square of the length of what was added to base_lin_vel. "
            "Intervals are 95 % (Wilson).",
            Plot(
                charts=[
                    Chart(
                        title="success, %",
                        x_label="error, m/s",
                        series=[
                            Series(label="rate", x=errors, y=rates),
                            Series(label="interval", x=errors, y=lows, tone=Tone.PLAIN),
                            Series(x=errors, y=highs, tone=Tone.PLAIN),
                            Series(
                                label="required",
                                x=errors,
                                y=[100.0 * required] * len(errors),
                                tone=Tone.BAD,
                            ),
                        ],
                    ),
                    Chart(
                        title="tracking error, m/s and rad/s",
                        x_label="error, m/s",
                        series=[
                            Series(
                                label=name.removeprefix("error_"),
                                x=errors,
                                y=[level[name]["mean"] for level in levels],
                            )
                            for name in _TRACKING
                        ],
                    ),
                ],
                columns=2,
            ),
        ],
    )
