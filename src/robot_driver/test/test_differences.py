# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite names the mistake behind wrong numbers."""

from collections.abc import Callable

import numpy as np
import pytest

from robot_driver.interfaces import F64
from robot_driver.testing.differences import differences

NAMES = ("hip", "thigh", "calf")
EXPECTED = np.array([[0.1, -0.5, 1.5], [0.2, -0.3, 1.2], [-0.1, 0.4, 0.9]])
DAMPING = np.array([[1.0, 2.0, 3.0]] * 3)


def said_of(found: F64, unit: str = "rad/s") -> list[str]:
    return differences(
        "velocity", unit, NAMES, found, EXPECTED, tolerance=1e-3, others={"damping": DAMPING}
    )


def changed(column: int, change: Callable[[F64], F64]) -> F64:
    found = EXPECTED.copy()
    found[:, column] = change(found[:, column])
    return found


def test_nothing_is_said_of_right_numbers() -> None:
    assert said_of(EXPECTED + 5e-4) == []


def test_swapped_joints_are_named() -> None:
    first, second = said_of(EXPECTED[:, [1, 0, 2]])
    assert first.startswith("velocity of hip is that of thigh;")
    assert second.startswith("velocity of thigh is that of hip;")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (np.negative, "has the opposite sign"),
        (np.degrees, "is 57.3 times too large"),
        (np.radians, "is 57.3 times too small"),
        (np.zeros_like, "is always 0"),
        (lambda own: own + 0.25, "has an offset of +0.25"),
        (lambda own: 0.5 * own, "is 0.5 times as large"),
        (lambda own: DAMPING[:, 2], "is its damping"),
        (lambda own: own**2, "is wrong"),
    ],
)
def test_mistake_of_one_joint_is_named(change: Callable[[F64], F64], text: str) -> None:
    (sentence,) = said_of(changed(2, change))
    assert sentence.startswith(f"velocity of calf {text}")
    assert "; of calf: expected " in sentence


def test_joints_with_the_same_mistake_are_in_one_sentence() -> None:
    (sentence,) = said_of(np.degrees(EXPECTED))
    assert sentence.startswith("velocity of hip, thigh, calf is 57.3 times too large")


def test_acceleration_in_g_is_named() -> None:
    (sentence,) = said_of(changed(0, lambda own: own / 9.81), "m/s^2")
    assert "g taken for m/s^2" in sentence
