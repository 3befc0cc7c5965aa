# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from policy_inference.bundle.chunk_contract import JointUnit
from policy_inference.core.chunks.normalise import Units

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


def test_joints_are_taken_by_name_and_whole_chunks_at_once() -> None:
    units = {"a": JointUnit(unit="radians"), "b": JointUnit(unit="degrees")}
    chunk = np.arange(12.0).reshape(6, 2)
    found = Units(units, ["b", "a"]).to_rad(chunk)
    np.testing.assert_allclose(found[:, 0], np.deg2rad(chunk[:, 0]))
    np.testing.assert_array_equal(found[:, 1], chunk[:, 1])
