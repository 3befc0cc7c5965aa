# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Summary of trials: rates and means with intervals, and differences between policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_tools.prove.evaluation.evaluate import Evaluated, succeeded
from model_tools.prove.evaluation.plan import FactorRange, shown_value
from model_tools.prove.evaluation.statistics import (
    bootstrap_mean,
    mcnemar,
    pairs_needed,
    wilson,
)
from model_tools.prove.evaluation.trials import (
    DIGITS,
    EvaluatedPolicy,
    TrialRow,
    TrialTask,
    shown_conditions,
)
from policy_store.report import plain

_PARTS = 4
"""Number of equal parts into which a range is divided, to show its effect."""


def summarise(found: Evaluated) -> dict[str, Any]:
    """Return all results, which do not depend on the number of processes and machines."""
    policies = [_policy(found, policy) for policy in found.policies]
    counts = ("trials", "successes", "success_low", "success_high")
    document = {
        **{name: policies[0][name] for name in counts},
        "robot": found.plan.robot,
        "planned": len(found.plan),
        "required_success": found.plan.required_success,
        "holds": holds(found),
        "not_done": sum(task.key in found.not_done for task in found.tasks),
        "policies": policies,
        "differences": [
            _difference(found, found.policies[0], other) for other in found.policies[1:]
        ],
        "worst": [_worst_trial(found, task) for task in worst(found, 10)],
    }
    rounded: dict[str, Any] = plain(document, DIGITS)
    return rounded


def holds(found: Evaluated) -> bool:
    """Return whether every trial has a result and every policy reaches the required rate."""
    required = found.plan.required_success or 0.0
    return not any(task.key in found.not_done for task in found.tasks) and all(
        wilson(*found.successes(policy))[0] >= required for policy in found.policies
    )


def worst(found: Evaluated, count: int) -> list[TrialTask]:
    """Return the worst trials, worst first: failed ones, then by measured values."""

    def badness(task: TrialTask) -> tuple[bool, float, float]:
        row = found.rows[task.key]
        figures = row.figures
        lasted = figures.get("survived_s", figures.get("took_s")) or 0.0
        closest_m = figures.get("closest_m")
        errors = [
            figures[name] or 0.0 for name in ("error_vx", "error_vy", "error_wz") if name in figures
        ]
        good = succeeded(row, found.plan.success)
        return good, lasted if errors else 0.0, -(closest_m or max(errors, default=0.0))

    return sorted((task for task in found.tasks if task.key in found.rows), key=badness)[:count]


def _by_level(found: Evaluated, rows: Sequence[TrialRow], name: str) -> dict[str, Any]:
    """Return the success rate at each value of a factor, or in each part of its range."""
    values, given = getattr(found.plan.factors, name), [row.conditions[name] for row in rows]
    if isinstance(values, FactorRange):
        width = (values.max - values.min) / _PARTS
        lows = [values.min + width * part for part in range(_PARTS)]
        called = [f"{low:.3g} to {low + width:.3g}" for low in lows]
        of = [called[max(0, int(np.searchsorted(lows, each, "right")) - 1)] for each in given]
    else:
        called, of = [*map(shown_value, values)], [*map(shown_value, given)]
    return {
        level: _rate([row for row, its in zip(rows, of, strict=True) if its == level], found)
        for level in called
    }


def _rate(rows: Sequence[TrialRow], found: Evaluated) -> dict[str, Any]:
    successes = sum(succeeded(row, found.plan.success) for row in rows)
    low, high = wilson(successes, len(rows))
    return {
        "trials": len(rows),
        "successes": successes,
        "success_low": low,
        "success_high": high,
    }


def _policy(found: Evaluated, policy: EvaluatedPolicy) -> dict[str, Any]:
    rows = found.trial_rows(policy)
    return {
        "policy": policy.label,
        "bundle_sha256": policy.sha256,
        "backend": policy.backend,
        **_rate(rows, found),
        "figures": {
            name: mean_interval([row.figures.get(name) for row in rows]) for name in _names(rows)
        },
        "by_factor": {name: _by_level(found, rows, name) for name in found.plan.varied},
    }


def _difference(found: Evaluated, first: EvaluatedPolicy, other: EvaluatedPolicy) -> dict[str, Any]:
    better, worse, count = found.discordant(first, other)
    pairs = found.pairs(first, other)
    return {
        "policy": first.label,
        "against": other.label,
        "pairs": count,
        "only_policy_succeeded": better,
        "only_against_succeeded": worse,
        "p_mcnemar": mcnemar(better, worse),
        "pairs_needed": pairs_needed(better, worse, count),
        "figures": {
            name: mean_interval(
                [_apart(one.figures.get(name), two.figures.get(name)) for one, two in pairs]
            )
            for name in _names([one for one, _ in pairs])
        },
    }


def _apart(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or theirs is None else mine - theirs


def mean_interval(values: Sequence[float | None]) -> dict[str, float]:
    """Return the mean of the known values, with its interval."""
    known = [value for value in values if value is not None]
    mean, low, high = bootstrap_mean(known)
    return {"mean": mean, "low": low, "high": high, "measured": len(known)}


def _names(rows: Sequence[TrialRow]) -> Mapping[str, None]:
    return dict.fromkeys(name for row in rows for name in row.figures)


def _worst_trial(found: Evaluated, task: TrialTask) -> dict[str, Any]:
    row = found.rows[task.key]
    return {
        "policy": row.policy,
        "conditions": shown_conditions(task, found.plan.varied),
        "succeeded": succeeded(row, found.plan.success),
        "stopped_by": row.stopped_by,
        "figures": dict(row.figures),
    }
