# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A calibration's range becomes a mapping's as docs/lerobot.md says: LeRobot counts alike."""

from types import SimpleNamespace

import numpy as np
import pytest
from lerobot.motors.motors_bus import Motor, MotorCalibration, MotorNormMode, MotorsBus

from policy_core.bundle.chunk_contract import JointUnit
from policy_core.members.chunk.normalise import Units

LOW, HIGH, LAST_TICK = 820, 3100, 4095
HALF_RAD = (HIGH - LOW) / 2 * 2 * np.pi / LAST_TICK
"""The guide's h."""
TICKS = (LOW, 1500, (LOW + HIGH) // 2, HIGH)


def lerobots(ticks: int, mode: MotorNormMode, drive_mode: int) -> float:
    """Return what LeRobot's bus makes of a servo's ticks; the bus of these servos heeds drives."""
    bus = SimpleNamespace(
        apply_drive_mode=True,
        motors={"joint": Motor(1, "sts3215", mode)},
        calibration={
            "joint": MotorCalibration(
                id=1, drive_mode=drive_mode, homing_offset=0, range_min=LOW, range_max=HIGH
            )
        },
        model_resolution_table={"sts3215": LAST_TICK + 1},
        _id_to_name=lambda _: "joint",
        _id_to_model=lambda _: "sts3215",
    )
    # Not public, but the one place where it says what a value means; the rest needs a servo.
    return float(MotorsBus._normalize(bus, {1: ticks})[1])


@pytest.mark.parametrize("drive_mode", [0, 1])
@pytest.mark.parametrize("mode", list(MotorNormMode))
def test_a_mapping_with_half_the_calibrated_range_counts_as_lerobot(
    mode: MotorNormMode, drive_mode: int
) -> None:
    low, high = (-HALF_RAD, HALF_RAD) if drive_mode == 0 else (HALF_RAD, -HALF_RAD)
    units = Units(
        {
            "joint": {
                MotorNormMode.DEGREES: JointUnit(unit="degrees"),
                MotorNormMode.RANGE_M100_100: JointUnit(
                    unit="range_m100_100", low_rad=low, high_rad=high
                ),
                MotorNormMode.RANGE_0_100: JointUnit(
                    unit="range_0_100", low_rad=low, high_rad=high
                ),
            }[mode]
        },
        ["joint"],
    )

    for ticks in TICKS:
        rad = (ticks - (LOW + HIGH) / 2) * 2 * np.pi / LAST_TICK
        assert units.of_rad(np.array([rad]))[0] == pytest.approx(
            lerobots(ticks, mode, drive_mode), abs=1e-9
        )
