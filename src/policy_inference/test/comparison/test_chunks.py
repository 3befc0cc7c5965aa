# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of chunks: by joint and in rad, the precision that counts, what shows a collapse."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.body import ComparisonLimits
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F32, F64
from policy_core.members.chunk.normalise import VectorNormaliser
from policy_inference.comparison.chunks import (
    chunk_checks,
    chunk_differences,
    chunk_limits,
    features_checks,
    rad_difference,
    swapped_check,
)
from policy_inference.comparison.limits import CLOSED_LOOP, closed_loop_limits, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, judge
from testkit.chunk_bundles import write_chunk_bundle
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

from ..nodes.bundles import write_bundle

LOOSE = ComparisonLimits(max_abs=10.0)


@pytest.fixture(scope="module")
def arm_contract(tmp_path_factory: pytest.TempPathFactory) -> ChunkContract:
    return load_bundle(
        write_chunk_bundle(tmp_path_factory.mktemp("arm")), kind=ChunkBundle
    ).contract


@pytest.fixture
def chunks() -> F64:
    """Normalised chunks [rows, steps, actions] that answer what was seen."""
    return np.random.default_rng(0).normal(size=(6, 8, 3))


def chunk_difference(contract: ChunkContract, found: F64, expected: F64) -> Difference:
    units = VectorNormaliser(contract.action.normalisation, 3).undo(expected)
    (difference,) = chunk_differences(contract, {"normalised_chunk": found}, {"chunk": units})
    return difference


def checks(contract: ChunkContract, expected: F64, found: F64) -> dict[str, bool]:
    difference = chunk_difference(contract, found, expected)
    return {check.what: bool(check) for check in chunk_checks(difference, "rows", LOOSE)}


def places_of_failures(contract: ChunkContract, expected: F64, found: F64) -> list[int]:
    """Return which checks fail: of the error, of each joint's values, of the answer to images."""
    return [i for i, holds in enumerate(checks(contract, expected, found).values()) if not holds]


def test_error_is_reported_by_joint_with_the_row_and_the_cosine_of_the_whole_chunk(
    arm_contract: ChunkContract, chunks: F64
) -> None:
    found = chunks.copy()
    found[4, 7, 1] += 0.5
    difference = chunk_difference(arm_contract, found, chunks)
    assert difference.worst == (4, "elbow_flex")
    assert difference.max_abs_each == pytest.approx([0.0, 0.5, 0.0], abs=1e-8)
    product = np.vdot(found[4], chunks[4])
    lengths = np.linalg.norm(found[4]) * np.linalg.norm(chunks[4])
    assert difference.cosine.min() == pytest.approx(product / lengths)
    assert difference.worst_direction == 4


def test_a_degree_is_a_degree_and_a_gripper_is_no_angle_in_degrees(
    arm_contract: ChunkContract,
) -> None:
    zeros = np.zeros((1, 8, 3))
    difference = rad_difference(arm_contract, zeros + 1.0, zeros)
    assert difference.max_abs_each == pytest.approx(
        [np.pi / 180, np.pi / 180, (1.74533 + 0.17453) / 100]
    )


def test_features_are_measured_by_channel_and_their_direction_is_judged(
    arm_contract: ChunkContract, chunks: F64
) -> None:
    expected = np.random.default_rng(1).normal(size=(6, 4, 3, 5))
    found = expected.copy()
    found[1, 2, 0, 0] -= 20.0
    _, difference = chunk_differences(
        arm_contract,
        {"normalised_chunk": chunks, "features.laptop": found},
        {"chunk": chunks, "features.laptop": expected, "features.phone": expected},
    )
    (check,) = features_checks([difference], "rows", ComparisonLimits(rmse=0.0, cosine_min=0.9))
    check_wording(difference.output)
    assert difference.worst == (1, "channel 2")
    check_wording(check.what)
    assert not check


def test_limits_of_an_unknown_precision_must_be_stated(
    arm_contract: ChunkContract, tmp_path: Path
) -> None:
    stated = load_bundle(
        write_chunk_bundle(tmp_path / "arm", limits={"onnx": {"rmse": 0.2}}), kind=ChunkBundle
    ).contract
    assert chunk_limits(stated, "onnx", "int3") == ComparisonLimits(rmse=0.2)
    assert chunk_limits(stated, "onnx", "int8") == ComparisonLimits(rmse=0.2, cosine_min=0.99)
    with refusal(BundleError):
        chunk_limits(arm_contract, "onnx", "int3")


def test_few_values_of_a_joint_one_answer_to_all_and_nan_fail_their_check(
    arm_contract: ChunkContract, chunks: F64
) -> None:
    few, alike, unknown = chunks.copy(), chunks.copy(), chunks.copy()
    few[..., 2] = np.sign(few[..., 2])
    alike[:] = chunks.mean(axis=0)
    unknown[2, 3, 1] = np.nan
    assert places_of_failures(arm_contract, chunks, few) == [1]
    assert 2 in places_of_failures(arm_contract, chunks, alike)
    assert 0 in places_of_failures(arm_contract, chunks, unknown)


@pytest.mark.parametrize(
    ("as_is", "swapped", "holds", "change"),
    [(0.0, 0.4, True, 0.4), (0.4, 0.0, False, 0.4), (0.0, 1e-6, True, 1e-6)],
)
def test_cameras_are_swapped_where_that_fits_better(
    chunks: F64, as_is: float, swapped: float, holds: bool, change: float
) -> None:
    check = swapped_check("laptop", "phone", chunks, chunks + as_is, chunks + swapped, "rows")
    assert bool(check) == holds
    assert numbers_in(check.where) == [change]
    check_wording(check.where)


def test_denoising_is_compared_by_step(arm_contract: ChunkContract, chunks: F64) -> None:
    units = VectorNormaliser(arm_contract.action.normalisation, 3).undo(chunks)
    path = np.random.default_rng(1).normal(size=(6, 4, 8, 3))
    off = path.copy()
    off[:, 2] += 0.5
    _, denoising = chunk_differences(
        arm_contract,
        {"normalised_chunk": chunks, "denoising": off},
        {"chunk": units, "denoising": path},
    )
    assert denoising.names == ("step 1", "step 2", "step 3", "step 4")
    np.testing.assert_allclose(denoising.rmse_each, [0.0, 0.0, 0.5, 0.0])


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
