# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The survived error is one up to which every smaller one is survived, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.evaluation.evaluate import evaluated_policies
from model_tools.prove.evaluation.sensitivity import (
    REQUIRED_SUCCESS,
    sensitivity,
    survives,
    usual_plan,
    with_errors,
)
from model_tools.simulation.estimated import CORRELATION_S, VelocityError
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .evaluations import OrderedPool, evaluated, plan

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
ERRORS_MPS = (0.4, 0.1, 0.2)


def measured(
    folder: Path, failing_mps: Sequence[float], stated_mps: float | None = None, **planned: Any
) -> dict[str, Any]:
    """Return the figures of a policy that fails with these errors."""
    pool = OrderedPool(lambda task: task.conditions["velocity_error_mps"] not in failing_mps)
    tried = with_errors(plan(**{"seeds": 40, **planned}), ERRORS_MPS)
    return sensitivity(evaluated(folder, tried, pool), stated_mps)


@pytest.mark.parametrize(
    ("failing_mps", "survived_mps"),
    [([], 0.4), ([0.4], 0.2), ([0.1], 0.0), ([0.0], None)],
)
def test_the_survived_error_is_the_largest_before_the_first_that_is_not(
    tmp_path: Path, failing_mps: list[float], survived_mps: float | None
) -> None:
    found = measured(tmp_path, failing_mps)
    assert found["survived_error_mps"] == survived_mps
    assert found["required_success"] == REQUIRED_SUCCESS
    levels = found["levels"]
    assert [level["error_mps"] for level in levels] == [0.0, 0.1, 0.2, 0.4]
    assert [level["holds"] for level in levels] == [
        level["error_mps"] not in failing_mps for level in levels
    ]
    assert {level["trials"] for level in levels} == {40}
    assert {level["error_vx"]["measured"] for level in levels} == {40}


@pytest.mark.parametrize(
    ("failing_mps", "stated_mps", "good"),
    [([0.4], 0.2, True), ([0.4], 0.25, False), ([0.1], None, True), ([0.0], None, False)],
)
def test_a_policy_must_survive_the_error_in_its_contract(
    tmp_path: Path, failing_mps: list[float], stated_mps: float | None, good: bool
) -> None:
    assert survives(measured(tmp_path, failing_mps, stated_mps)) is good


def test_few_trials_show_nothing_and_one_without_a_result_has_failed(tmp_path: Path) -> None:
    with refusal(ToolError):
        with_errors(plan(seeds=34), ERRORS_MPS)
    assert measured(tmp_path / "half", [], seeds=10, required_success=0.5)[
        "survived_error_mps"
    ] == max(ERRORS_MPS)
    lacking = measured(tmp_path / "lacking", [], seeds=2, first_seed=999, required_success=0.1)
    assert lacking["not_done"] == 4
    assert {(level["successes"], level["trials"]) for level in lacking["levels"]} == {(1, 2)}


def test_what_has_no_one_curve_is_refused() -> None:
    for planned in (plan(robot="so101"), plan(backends=("onnx", "rknn_sim"))):
        with refusal(ToolError):
            with_errors(planned, ERRORS_MPS)


@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_a_policy_without_base_velocity_is_refused_and_its_robot_is_found(robot: str) -> None:
    bundle = load_bundle(BUNDLES / f"{robot}_walk")
    usual = usual_plan(bundle)
    assert usual.robot == robot
    with refusal(ToolError):
        evaluated_policies(with_errors(usual, ERRORS_MPS), [bundle], {})


def test_the_error_has_its_size_and_its_correlation_time() -> None:
    step_s, size_mps = 0.02, 0.3
    times_ns = (np.arange(500) * step_s * 1e9).astype(int).tolist()
    drawn = [VelocityError(size_mps, seed) for seed in range(150)]
    errors = np.array([[error.at(time_ns) for time_ns in times_ns] for error in drawn])
    assert np.sqrt(np.square(errors).sum(axis=2).mean()) == pytest.approx(size_mps, rel=0.05)
    up = errors[..., 2]  # has no constant part
    assert up.var() == pytest.approx(size_mps**2 / 6.0, rel=0.05)
    apart = round(CORRELATION_S / step_s)
    share = (up[:, :-apart] * up[:, apart:]).mean() / up.var()
    assert share == pytest.approx(np.exp(-1.0), abs=0.05)
    sides = errors.mean(axis=1)[:, :2]
    assert np.linalg.norm(sides, axis=1).mean() == pytest.approx(size_mps / 2.0**0.5, rel=0.05)
    again = VelocityError(2.0 * size_mps, 7)
    twice = np.array([again.at(time_ns) for time_ns in times_ns])
    assert twice == pytest.approx(2.0 * errors[7])
