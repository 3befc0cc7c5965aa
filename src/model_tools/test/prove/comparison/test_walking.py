# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Walks against limits: a robot that stays on its feet has not done all it was asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.comparison.walking import (
    Walked,
    judge,
    judge_alone,
    walk_each,
)
from model_tools.ship.compilers.onnx import quantise
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.comparison.limits import CLOSED_LOOP
from testkit.wording import check_wording

OURS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
SHORT_S = 4.0
FORWARD = "(0.8, 0, 0)"


@pytest.fixture(scope="module")
def gait_bundle() -> JointBundle:
    return load_bundle(OURS, kind=JointBundle)


@pytest.fixture(scope="module")
def own_walks(gait_bundle: JointBundle) -> list[Walked]:
    return walks_of(gait_bundle, gait_bundle.artifact("onnx")[1])


def walks_of(gait_bundle: JointBundle, file: Path) -> list[Walked]:
    model = gait_bundle.contract.model
    backend = OnnxBackend(file, model.input_specs, model.output_specs)
    try:
        return walk_each(gait_bundle, backend, SHORT_S)
    finally:
        backend.close()


def with_outcome(walks: list[Walked], index: int, **outcome: Any) -> list[Walked]:
    walk = walks[index]
    other = dataclasses.replace(walk, outcome=dataclasses.replace(walk.outcome, **outcome))
    return [*walks[:index], other, *walks[index + 1 :]]


def test_a_model_calibrated_on_zeros_stands_to_the_end_and_fails(
    gait_bundle: JointBundle, own_walks: list[Walked], tmp_path: Path
) -> None:
    file = tmp_path / "zeros.onnx"
    quantise(gait_bundle.artifact("onnx")[1], file, {"obs": np.zeros((40, 45), np.float32)})

    checks = judge(walks_of(gait_bundle, file), own_walks, CLOSED_LOOP)

    failed = [(check.what, check.where) for check in checks if not check]
    assert any("vx" in what and where == FORWARD for what, where in failed)
    assert not any("short" in what for what, _ in failed)


@pytest.mark.parametrize(
    ("index", "outcome", "what", "where"),
    [
        (0, {"survived_s": 1.5}, "walks cut short", "(0.8, 0, 0): fell after 1.5 s"),
        (2, {"survived_s": 1.5, "stopped_by": "tilt"}, "walks cut short", "(0, 0, 0.8): tilt"),
        (1, {"error": (0.0, 0.5, 0.0)}, "error of vy", "(0, 0.5, 0)"),
        (1, {"tilt_deg": 10.5}, "largest tilt, degrees", "(0, 0.5, 0)"),
        (2, {"torque_limit_share": 0.03}, "share at the torque limit", "(0, 0, 0.8)"),
        (2, {"torque_limit_share": np.nan}, "share at the torque limit", "(0, 0, 0.8)"),
        (3, {"action_change": 0.07}, "mean |action change|, standing", "(0, 0, 0)"),
    ],
)
def test_each_limit_fails_by_itself_and_names_the_walk(
    own_walks: list[Walked], index: int, outcome: dict[str, Any], what: str, where: str
) -> None:
    assert own_walks[0].outcome.action_change > 0.06  # it may change while the robot walks
    checks = judge(with_outcome(own_walks, index, **outcome), own_walks, CLOSED_LOOP)

    assert [(check.what, check.where) for check in checks if not check] == [(what, where)]


def alone(walks: list[Walked], gait_bundle: JointBundle) -> set[str]:
    """Return what is poor in walks, whatever the reference does."""
    checks = judge_alone(walks, gait_bundle)
    return {f"{check.what} {check.where}" for check in checks if not check}


def test_a_reference_that_does_not_walk_is_poor_however_alike_the_others_are(
    gait_bundle: JointBundle, own_walks: list[Walked]
) -> None:
    assert alone(own_walks, gait_bundle) == set()
    stands = with_outcome(own_walks, 0, error=(0.8, 0.0, 0.0))
    assert all(judge(stands, stands, CLOSED_LOOP))
    check_wording(*alone(stands, gait_bundle))
