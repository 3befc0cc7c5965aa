# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from policy_inference.core.chunks.oscillation import Oscillation
from policy_inference.interfaces import F64

from .arms import Arm

NAMES = ("pan", "lift")
PERIOD_NS = 33_333_333
TIME_S = np.arange(120) * PERIOD_NS * 1e-9


def seen(measured: F64, command: F64) -> list[str]:
    """Return what is said of a joint that did this, beside one that stands still."""
    watch = Oscillation(NAMES, PERIOD_NS)
    for position, target in zip(measured, command, strict=True):
        watch.add(np.array([0.2, position]), np.array([0.2, target]))
    return watch.problems


def swing(amplitude_rad: float, frequency_hz: float, centre_rad: float = 0.5) -> F64:
    found: F64 = centre_rad + amplitude_rad * np.sin(2 * np.pi * frequency_hz * TIME_S)
    return found


STILL = np.full(120, 0.52)


def test_a_drive_that_swings_about_a_still_target_is_named() -> None:
    (text,) = seen(swing(0.03, 4.0), STILL)
    assert text.startswith("lift swings about 0.50 rad by 0.030 rad at 4.0 Hz; its target stands")
    assert "P 16, I 0, D 0" in text


def test_a_policy_whose_targets_swing_is_named() -> None:
    (text,) = seen(swing(0.03, 2.0), swing(0.05, 2.0))
    assert "at 2.0 Hz; its targets swing, so the policy asks for it" in text


@pytest.mark.parametrize(
    ("measured", "command"),
    [
        (STILL, STILL),
        (swing(0.004, 4.0), STILL),
        (swing(0.03, 0.6), STILL),
        (swing(0.5, 1.5), swing(0.5, 1.5)),
        (0.1 * TIME_S + swing(0.002, 4.0), 0.1 * TIME_S),
        (0.5 - 0.3 * np.exp(-3 * TIME_S) * np.cos(6 * TIME_S), STILL),
    ],
    ids=["still", "play", "slow", "large motion", "steady motion", "settling"],
)
def test_what_is_healthy_is_not_reported(measured: F64, command: F64) -> None:
    assert seen(measured, command) == []


def test_nothing_is_said_before_a_window_is_full_or_after_a_restart() -> None:
    watch = Oscillation(NAMES, PERIOD_NS)
    for position in swing(0.03, 4.0)[:89]:
        watch.add(np.array([0.0, position]), np.array([0.0, 0.5]))
    assert watch.problems == []
    watch.add(np.array([0.0, 0.5]), np.array([0.0, 0.5]))
    assert len(watch.problems) == 1
    watch.restart()
    assert watch.problems == []


def test_an_arm_in_run_is_watched_and_a_new_run_begins_again() -> None:
    arm = Arm(mode="asynchronous").run()
    for tick in range(60):
        arm.joint_pos = (0.0, 0.04 * (-1) ** (tick // 2), 0.0)
        arm.tick()
    (text,) = arm.runtime.policy.oscillation.problems
    assert text.startswith("lift swings about ")
    arm.joint_pos = (0.0,) * 3
    arm.controller.damp()
    arm.tick()
    arm.controller.stand()
    arm.follow(3)
    arm.controller.run()
    assert arm.runtime.policy.oscillation.problems == []
