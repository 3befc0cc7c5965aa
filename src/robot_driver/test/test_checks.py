# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The angular velocity held against the attitude, and a robot that lies still."""

from __future__ import annotations

import numpy as np
import pytest

from robot_driver.checks import Stillness, YawRateCheck
from testkit.wording import check_wording

MS = 1_000_000
NO_TURN, STILL = np.zeros(3), np.zeros(12)


def turned_by_hand(
    *,
    factor: float,
    degrees: float = 90.0,
    roll: float = 0.0,
    start: float = 0.0,
    seconds: float = 2.0,
    first_tick: int = 0,
) -> YawRateCheck:
    """Return the test after a turn about the vertical by hand, its rates falsified by a factor."""
    test, steps = YawRateCheck(), round(seconds * 1000)
    for i in range(steps):
        # Smooth from rest to rest; the derivative of yaw is the rate about the vertical.
        share = i / steps
        yaw = start + np.radians(degrees) * (1 - np.cos(np.pi * share)) / 2
        rate = np.radians(degrees) / seconds * np.pi / 2 * np.sin(np.pi * share)
        body = rate * np.array([0.0, np.sin(roll), np.cos(roll)])
        wrapped = (yaw + np.pi) % (2 * np.pi) - np.pi
        test.see(first_tick + i, np.array([roll, 0.0, wrapped]), factor * body)
    return test


@pytest.mark.parametrize(
    ("roll", "start", "first_tick"),
    [(0.0, 0.0, 0), (0.3, 0.0, 0), (0.0, 2.5, 0), (0.3, 2.5, 2**32 - 700)],
)
def test_rates_that_fit_the_turn_pass(roll: float, start: float, first_tick: int) -> None:
    test = turned_by_hand(factor=1.0, roll=roll, start=start, first_tick=first_tick)
    assert test.ratio == pytest.approx(1.0, abs=0.05)
    assert test.problems(unit="rad/s", waived=False) == []


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("rad/s", 180.0 / np.pi),
        ("deg/s", np.pi / 180.0),
        ("rad/s", 2.0),
        ("rad/s", -1.0),
        ("rad/s", 0.0),
    ],
)
def test_a_wrong_unit_is_found_and_named_even_where_the_test_was_waived(
    unit: str, factor: float
) -> None:
    problems = turned_by_hand(factor=factor).problems(unit=unit, waived=True)
    assert len(problems) == 1
    check_wording(problems[0])


def test_without_a_turn_nothing_is_known() -> None:
    test = turned_by_hand(factor=1.0, degrees=3.0)
    check_wording(test.problems(unit="rad/s", waived=False)[0])
    assert test.problems(unit="rad/s", waived=True) == []


def test_a_turn_that_was_not_seen_whole_proves_nothing() -> None:
    test = YawRateCheck()
    for i, yaw in enumerate([0.0, 1.5]):
        test.see(500 * i, np.array([0.0, 0.0, yaw]), NO_TURN)
    assert test.ratio is None


def test_a_robot_is_still_once_it_has_been_so_for_a_while() -> None:
    stillness = Stillness()
    for at_ms in range(0, 1000, 100):
        stillness.see(STILL, NO_TURN, at_ms * MS)
    assert stillness.problems(1000 * MS) == []
    stillness.see(STILL + 0.5, NO_TURN, 1000 * MS)
    stillness.see(STILL, NO_TURN, 1001 * MS)
    assert stillness.problems(1400 * MS) != []
    assert stillness.problems(1501 * MS) == []
