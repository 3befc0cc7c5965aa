# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs against expected ones: the figures, the worst place, the limits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.body import ComparisonLimits
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F32
from policy_inference.comparison.limits import CLOSED_LOOP, closed_loop_limits, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, judge
from testkit.wording import refusal

from ..nodes.bundles import write_bundle

JOINTS = ("hip", "knee")


def expected_actions() -> F32:
    return np.random.default_rng(4).normal(size=(50, 2)).astype(np.float32)


def perturbed(row: int, column: int, by: float) -> Difference:
    found = expected_actions()
    found[row, column] += by
    return difference("actions", JOINTS, found, expected_actions())


def test_figures_are_those_of_the_error() -> None:
    found = perturbed(row=7, column=1, by=2.0)
    assert found.mae == pytest.approx(2.0 / 100)
    assert found.rmse == pytest.approx((4.0 / 100) ** 0.5)
    assert found.max_abs == pytest.approx(2.0)
    assert found.worst == (7, "knee")
    np.testing.assert_allclose(found.rmse_each, [0.0, (4.0 / 50) ** 0.5], rtol=1e-6)


def test_the_cosine_of_nothing_is_one_with_nothing_and_zero_with_something() -> None:
    found = difference("actions", JOINTS, np.zeros((2, 2)), np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert found.cosine.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"mae": 0.01}, "mean absolute error"),
        ({"rmse": 0.1}, "RMSE"),
        ({"max_abs": 1.9}, "largest error"),
        ({"cosine_min": 0.99}, "smallest cosine"),
    ],
)
def test_each_limit_fails_by_itself_and_says_where(limits: dict[str, Any], what: str) -> None:
    (check,) = judge(perturbed(row=7, column=1, by=2.0), "rollout", ComparisonLimits(**limits))
    assert not check
    assert check.what == what
    assert "rollout" in check.where
    assert "row 7" in check.where
    loose = ComparisonLimits(mae=0.03, rmse=0.3, max_abs=2.1, cosine_min=-1.0)
    assert all(judge(perturbed(row=7, column=1, by=-2.0), "rollout", loose))


def test_outputs_that_are_not_numbers_fail_every_limit() -> None:
    checks = judge(
        perturbed(row=7, column=1, by=np.nan),
        "rollout",
        ComparisonLimits(mae=1e9, rmse=1e9, max_abs=1e9, cosine_min=-1.0),
    )
    assert len(checks) == 4
    assert not any(checks)


@pytest.mark.parametrize(
    ("stated", "expected_limits"),
    [
        ({}, ComparisonLimits(mae=1e-5)),
        ({"max_abs": 0.5}, ComparisonLimits(mae=1e-5, max_abs=0.5)),
        ({"mae": 0.5}, ComparisonLimits(mae=0.5)),
    ],
)
def test_a_limit_of_the_bundle_replaces_its_own_of_the_precision_and_no_other(
    tmp_path: Path, stated: dict[str, float], expected_limits: ComparisonLimits
) -> None:
    bundle = load_bundle(
        write_bundle(tmp_path / "a", {"limits": {"onnx": stated}}), kind=JointBundle
    )
    assert open_loop_limits(bundle.contract, "onnx", "fp32") == expected_limits


def test_limits_on_walking_are_replaced_one_by_one(tmp_path: Path) -> None:
    stated = {"onnx": {"closed_loop": {"max_tilt_rad": 0.5}}}
    bundle = load_bundle(write_bundle(tmp_path / "a", {"limits": stated}), kind=JointBundle)
    assert closed_loop_limits(bundle.contract, "onnx") == dataclasses.replace(
        CLOSED_LOOP, max_tilt_rad=0.5
    )
    assert open_loop_limits(bundle.contract, "onnx", "fp32").mae == 1e-5


def test_a_precision_of_which_nothing_is_known_needs_limits(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "a")
    with refusal(BundleError):
        open_loop_limits(load_bundle(folder, kind=JointBundle).contract, "onnx", "fp8")
