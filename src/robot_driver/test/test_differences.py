# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite names the mistake behind wrong numbers."""

from collections.abc import Callable

import numpy as np
import pytest

from robot_driver.interfaces import F64
from robot_driver.testing.differences import differences
from testkit.wording import check_wording

NAMES = ("hip", "thigh", "calf")
EXPECTED = np.array([[0.1, -0.5, 1.5], [0.2, -0.3, 1.2], [-0.1, 0.4, 0.9]])
DAMPING = np.array([[1.0, 2.0, 3.0]] * 3)


def sentences_about(found: F64, unit: str = "rad/s") -> list[str]:
    return differences(
        "velocity", unit, NAMES, found, EXPECTED, tolerance=1e-3, others={"damping": DAMPING}
    )


def figures_with(column: int, change: Callable[[F64], F64]) -> F64:
    found = EXPECTED.copy()
    found[:, column] = change(found[:, column])
    return found


def test_nothing_is_said_of_right_numbers() -> None:
    assert sentences_about(EXPECTED + 5e-4) == []


def test_mistake_of_several_joints_is_named() -> None:
    check_wording(*sentences_about(EXPECTED[:, [1, 0, 2]]))
    (same_mistake,) = sentences_about(np.degrees(EXPECTED))
    (in_g,) = sentences_about(figures_with(0, lambda own: own / 9.81), "m/s^2")
    check_wording(same_mistake, in_g)


@pytest.mark.parametrize(
    "change",
    [
        np.negative,
        np.degrees,
        np.radians,
        np.zeros_like,
        lambda own: own + 0.25,
        lambda own: 0.5 * own,
        lambda own: DAMPING[:, 2],
        lambda own: own**2,
    ],
)
def test_mistake_of_one_joint_is_named(change: Callable[[F64], F64]) -> None:
    (sentence,) = sentences_about(figures_with(2, change))
    check_wording(sentence)
