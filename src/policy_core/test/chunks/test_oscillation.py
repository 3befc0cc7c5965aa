# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from policy_core.interfaces import F64
from policy_core.members.chunk.oscillation import Oscillation
from testkit.kernel.arms import Arm
from testkit.numbers import numbers_in
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores

NAMES = ("pan", "lift")
PERIOD_NS = 33_333_333
TIME_S = np.arange(120) * PERIOD_NS * 1e-9


def problems_seen(measured: F64, command: F64) -> list[str]:
    """Return what is said of a joint that did this, beside one that stands still."""
    watch = Oscillation(NAMES, PERIOD_NS)
    for position, target in zip(measured, command, strict=True):
        watch.add(np.array([0.2, position]), np.array([0.2, target]))
    return watch.problems


def sine_swing(amplitude_rad: float, frequency_hz: float, centre_rad: float = 0.5) -> F64:
    found: F64 = centre_rad + amplitude_rad * np.sin(2 * np.pi * frequency_hz * TIME_S)
    return found


STILL = np.full(120, 0.52)


def test_a_drive_that_swings_about_a_still_target_is_named() -> None:
    (text,) = problems_seen(sine_swing(0.03, 4.0), STILL)
    check_wording(text)
    assert numbers_in(text)[:3] == [0.5, 0.03, 4.0]


def test_a_policy_whose_targets_swing_is_named() -> None:
    (text,) = problems_seen(sine_swing(0.03, 2.0), sine_swing(0.05, 2.0))
    check_wording(text)


@pytest.mark.parametrize(
    ("measured", "command"),
    [
        (STILL, STILL),
        (sine_swing(0.004, 4.0), STILL),
        (sine_swing(0.03, 0.6), STILL),
        (sine_swing(0.5, 1.5), sine_swing(0.5, 1.5)),
        (0.1 * TIME_S + sine_swing(0.002, 4.0), 0.1 * TIME_S),
        (0.5 - 0.3 * np.exp(-3 * TIME_S) * np.cos(6 * TIME_S), STILL),
    ],
    ids=["still", "play", "slow", "large motion", "steady motion", "settling"],
)
def test_what_is_healthy_is_not_reported(measured: F64, command: F64) -> None:
    assert problems_seen(measured, command) == []


def test_an_arm_in_run_is_watched_and_a_new_run_begins_again() -> None:
    arm = Arm(mode="asynchronous").run()
    for tick in range(60):
        arm.joint_pos = (0.0, 0.04 * (-1) ** (tick // 2), 0.0)
        arm.tick()
    (text,) = arm.runtime.policy.oscillation.problems
    check_wording(text)
    arm.joint_pos = (0.0,) * 3
    arm.controller.damp()
    arm.tick()
    arm.controller.stand()
    arm.follow(3)
    arm.controller.run()
    assert arm.runtime.policy.oscillation.problems == []
