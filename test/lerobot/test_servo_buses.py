# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own robots, buses and libraries of servos, with the emulated bus as serial port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.dynamixel import DynamixelMotorsBus
from lerobot.motors.feetech import FeetechMotorsBus
from lerobot.robots import make_robot_from_config
from lerobot.robots.koch_follower import KochFollowerConfig
from lerobot.robots.so_follower import SO101FollowerConfig

from testkit.waiting import until

from .emulated_arm import DYNAMIXEL, FEETECH, JOINTS, EmulatedArm, patiently

# Alone: on a machine that is busy servos answer later than LeRobot waits.
pytestmark = pytest.mark.real_time
CONFIGS = {FEETECH: SO101FollowerConfig, DYNAMIXEL: KochFollowerConfig}
BODY = slice(0, 5)
COUNT_DEG = 360.0 / 4096
T = TypeVar("T")


@pytest.fixture(params=[FEETECH, DYNAMIXEL])
def each_arm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmulatedArm]:
    with EmulatedArm(tmp_path, request.param) as arm:
        yield arm


@pytest.fixture
def its_robot(each_arm: EmulatedArm, tmp_path: Path) -> Iterator[Any]:
    robot = robot_of(each_arm, tmp_path)
    yield robot
    with suppress(Exception):
        robot.bus.disconnect(disable_torque=False)


def robot_of(arm: EmulatedArm, folder: Path) -> Any:
    config = CONFIGS[arm.family](
        id="follower", calibration_dir=folder, port=arm.port, use_degrees=True
    )
    return make_robot_from_config(config)


def its_answer(call: Callable[[], T]) -> T:
    return patiently(call, (ConnectionError, RuntimeError))


def connect(robot: Any) -> None:
    def connected() -> None:
        with suppress(Exception):
            robot.bus.disconnect(disable_torque=False)
        robot.connect(calibrate=False)

    its_answer(connected)


def seen(robot: Any) -> np.ndarray[Any, Any]:
    observation = its_answer(robot.get_observation)
    return np.array([observation[f"{joint}.pos"] for joint in JOINTS])


def test_a_robot_connects_is_calibrated_and_reads_where_the_arm_is(
    each_arm: EmulatedArm, its_robot: Any
) -> None:
    connect(its_robot)

    assert its_answer(lambda: its_robot.is_calibrated)
    until(
        lambda: (
            np.abs(seen(its_robot)[BODY] - np.degrees(each_arm.joint_pos)[BODY]).max()
            < 3 * COUNT_DEG
        )
    )
    share = (each_arm.joint_pos[5] + 0.174533) / (1.745329 + 0.174533)
    assert seen(its_robot)[5] == pytest.approx(100.0 * share, abs=1.0)


def test_a_robot_that_is_disconnected_is_limp(each_arm: EmulatedArm, its_robot: Any) -> None:
    connect(its_robot)
    assert not each_arm.limp()

    its_robot.disconnect()

    assert each_arm.limp()


def test_a_servo_gets_its_number_and_its_rate(each_arm: EmulatedArm) -> None:
    bus_type, model, slow, rate, usual = {
        FEETECH: (FeetechMotorsBus, "sts3215", 4, 115_200, 1),
        DYNAMIXEL: (DynamixelMotorsBus, "xl330-m288", 1, 57_600, 0),
    }[each_arm.family]
    for joint in JOINTS:  # none but the last is connected
        each_arm.put(joint, "baud", usual)
    each_arm.put("gripper", "baud", slow)
    bus = bus_type(each_arm.port, {"gripper": Motor(9, model, MotorNormMode.DEGREES)})

    bus.setup_motor("gripper", initial_baudrate=rate, initial_id=6)

    assert each_arm.get("gripper", "id") == 9
    until(lambda: bus.ping("gripper") is not None)
    bus.disconnect(disable_torque=False)
