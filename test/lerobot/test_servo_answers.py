# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of servos that come late or are wrong, on the emulated bus, without a link process."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_arm_driver.arms import ArmSettings
from lerobot_arm_driver.frames import ArmState
from lerobot_arm_driver.servos import Servos
from robot_driver.interfaces import DriverError

from .emulated_arm import DYNAMIXEL, FEETECH, SOON_S, EmulatedArm, patiently

# Alone: on a machine that is busy servos answer later than LeRobot waits.
pytestmark = pytest.mark.real_time
ROBOTS = {FEETECH: "so101", DYNAMIXEL: "koch"}


def connected(stack: ExitStack, arm: EmulatedArm, folder: Path, **changes: Any) -> Servos:
    settings: dict[str, Any] = {
        "robot": ROBOTS[arm.family],
        "port": arm.port,
        "calibration_dir": str(folder),
    }
    servos = Servos(ArmSettings(**settings, **changes))
    stack.callback(servos.close)

    def connect() -> None:
        servos.close()
        servos.connect()

    patiently(connect)
    return servos


@pytest.mark.parametrize("late_s", [0.02, 0.07, 0.2])
@pytest.mark.parametrize("family", [FEETECH, DYNAMIXEL])
def test_answers_that_come_late_are_not_taken_for_later_ones(
    family: str, late_s: float, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        arm = stack.enter_context(EmulatedArm(tmp_path, family))
        servos = connected(stack, arm, tmp_path)
        true, states, failed = arm.joint_pos, list[ArmState](), 0
        arm.fails(f"late:all+1={late_s}")

        end_s = time.monotonic() + SOON_S
        while len(states) < 40:
            assert time.monotonic() < end_s
            try:
                states.append(servos.read())
            except DriverError:
                failed += 1

        assert failed
        for state in states:
            assert state.joint_pos == pytest.approx(true, abs=0.02)
            assert set(state.temperature_c) == {30.0}
            assert state.holds.all()
            assert not state.status.any()


@pytest.mark.parametrize("family", [FEETECH, DYNAMIXEL])
def test_a_joint_that_is_misread_by_a_radian_stays_where_it_is(family: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        arm = stack.enter_context(EmulatedArm(tmp_path, family))
        servos = connected(stack, arm, tmp_path, max_relative_target_rad=0.05)
        patiently(servos.prepare)
        patiently(servos.read)
        before = arm.joint_pos
        patiently(lambda: servos.go(before))
        arm.fails("misread:elbow_flex=1.0")

        furthest_rad, refused, end_s = 0.0, 0, time.monotonic() + SOON_S
        while refused < 30:
            assert time.monotonic() < end_s
            try:
                servos.read()
            except DriverError as error:
                refused += "jumps by" in str(error)
            servos.go(before)  # no goal is sent
            furthest_rad = max(furthest_rad, np.abs(arm.joint_pos - before)[2])
        assert furthest_rad < 0.05
