# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values in the units and the normalisation of a policy."""

import numpy as np
import pytest

from policy_core.bundle.chunk_contract import JointUnit, Scaling
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import ImageNormaliser, Units, VectorNormaliser
from policy_core.observation.images import Image
from testkit.kernel.chunk_contracts import camera_of
from testkit.kernel.messages import coloured, plain

TICKS_MIN, TICKS_MAX = 1000, 3100


def rad_of_ticks(ticks: float) -> float:
    """Return the angle of a servo with 4096 ticks per turn, 0 at tick 2048."""
    return (ticks - 2048) * 2 * np.pi / 4096


@pytest.mark.parametrize("ticks", [1000, 1500, 2050, 3000, 3100])
def test_values_are_those_of_lerobots_formulas(ticks: int) -> None:
    """Range: 200 (t - min) / (max - min) - 100, gripper 100 (t - min) / (max - min)."""
    low, high = rad_of_ticks(TICKS_MIN), rad_of_ticks(TICKS_MAX)
    middle = rad_of_ticks((TICKS_MIN + TICKS_MAX) / 2)
    units = {
        "range": JointUnit(unit="range_m100_100", low_rad=low, high_rad=high),
        "gripper": JointUnit(unit="range_0_100", low_rad=low, high_rad=high),
        "degrees": JointUnit(unit="degrees", zero_rad=middle),
        "radians": JointUnit(unit="radians"),
    }
    share = (ticks - TICKS_MIN) / (TICKS_MAX - TICKS_MIN)
    expected = [
        200 * share - 100,
        100 * share,
        (ticks - (TICKS_MIN + TICKS_MAX) / 2) * 360 / 4096,
        rad_of_ticks(ticks),
    ]
    found = Units(units, list(units))
    np.testing.assert_allclose(found.of_rad(np.full(4, rad_of_ticks(ticks))), expected, atol=1e-9)
    np.testing.assert_allclose(found.to_rad(np.array(expected)), rad_of_ticks(ticks), atol=1e-12)


def test_sign_and_zero_count_the_other_way() -> None:
    units = Units(
        {
            "a": JointUnit(unit="degrees", sign=-1, zero_rad=0.5),
            "b": JointUnit(unit="radians", sign=-1, zero_rad=0.5),
        },
        ["a", "b"],
    )
    np.testing.assert_allclose(units.of_rad(np.array([0.5 + np.pi / 2] * 2)), [-90, -np.pi / 2])
    np.testing.assert_allclose(units.to_rad(np.array([90.0, 1.0])), [0.5 - np.pi / 2, -0.5])


def test_a_reversed_range_exchanges_its_ends() -> None:
    units = Units({"jaw": JointUnit(unit="range_0_100", low_rad=1.0, high_rad=-0.5)}, ["jaw"])
    np.testing.assert_allclose(units.of_rad(np.array([[1.0], [-0.5], [0.25]])), [[0], [100], [50]])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_STD = Scaling(mode="mean_std", mean=MEAN, std=STD)
MIN_MAX = Scaling(mode="min_max", min=(0.1, 0.2, 0.3), max=(0.9, 0.8, 0.3))
IDENTITY = Scaling(mode="identity")


def formula(scaling: Scaling, x: F64) -> F64:
    """Return what the contract says, written out [..., 3]."""
    found = x
    if scaling.mode == "mean_std":
        found = (x - np.array(scaling.mean)) / (np.array(scaling.std) + scaling.eps)
    if scaling.mode == "min_max":
        difference = np.array(scaling.max) - np.array(scaling.min)
        difference[difference == 0] = scaling.eps
        found = 2 * (x - np.array(scaling.min)) / difference - 1
    return found


def normalised_image(scaling: Scaling, image: Image, dtype: str = "float32") -> F64:
    """Return what reaches a backend of a camera of 48 rows and 64 columns, [3, 48, 64]."""
    out = np.full((1, 3, 48, 64), np.nan, dtype)
    ImageNormaliser(camera_of(48, 64, scaling=scaling), out).apply(image)
    found: F64 = out[0].astype(np.float64)
    return found


@pytest.mark.parametrize("scaling", [MEAN_STD, MIN_MAX, IDENTITY], ids=lambda scaling: scaling.mode)
def test_images_are_normalised_to_a_millionth(scaling: Scaling) -> None:
    image = coloured()
    expected = formula(scaling, image / 255.0).transpose(2, 0, 1)
    np.testing.assert_allclose(normalised_image(scaling, image), expected, rtol=1e-6, atol=1e-6)


def test_half_floats_get_the_same_rounded() -> None:
    found = normalised_image(MEAN_STD, coloured(), "float16")
    np.testing.assert_array_equal(found, normalised_image(MEAN_STD, coloured()).astype(np.float16))


def test_images_in_uint8_stay_as_they_are() -> None:
    image = coloured()
    out = np.zeros((1, 3, 48, 64), np.uint8)
    ImageNormaliser(camera_of(48, 64, scaling=IDENTITY), out).apply(image)
    np.testing.assert_array_equal(out[0], image.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(24, 32), (96, 128)], ids=["larger", "smaller"])
def test_an_image_of_another_size_is_stretched(size: tuple[int, int]) -> None:
    halves = plain(0, 0, 255, *size)
    halves[:, : size[1] // 2] = (255, 0, 0)
    found = normalised_image(IDENTITY, halves)
    assert found[0, :, :31].min() == found[2, :, 33:].min() == 1.0
    assert found[0, :, 33:].max() == found[2, :, :31].max() == 0.0


@pytest.mark.parametrize("scaling", [MEAN_STD, MIN_MAX, IDENTITY], ids=lambda scaling: scaling.mode)
def test_vectors_follow_the_formula_and_come_back(scaling: Scaling) -> None:
    values = np.array([[0.2, -0.7, 0.3], [30.0, 2.0, 0.3 + 1e-9]])
    vectors = VectorNormaliser(scaling, 3)
    np.testing.assert_allclose(vectors.apply(values), formula(scaling, values), rtol=1e-7)
    np.testing.assert_allclose(vectors.undo(vectors.apply(values)), values, rtol=1e-6)


def test_the_way_back_from_mean_and_deviation_has_no_eps() -> None:
    still = VectorNormaliser(Scaling(mode="mean_std", mean=(5.0,), std=(0.0,)), 1)
    assert still.undo(np.array([1e6])) == [5.0]
    assert still.apply(np.array([5.0])) == [0.0]
