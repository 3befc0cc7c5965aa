# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own robots, buses and libraries of servos, with the emulated bus as serial port."""

from __future__ import annotations

import time
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

from .emulated_arm import DYNAMIXEL, FEETECH, JOINTS, EmulatedArm

# Alone: on a machine that is busy servos answer later than LeRobot waits.
pytestmark = pytest.mark.real_time
CONFIGS = {FEETECH: SO101FollowerConfig, DYNAMIXEL: KochFollowerConfig}
SOON_S = 10.0
BODY = slice(0, 5)
COUNT_DEG = 360.0 / 4096
T = TypeVar("T")


@pytest.fixture(params=[FEETECH, DYNAMIXEL])
def arm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmulatedArm]:
    with EmulatedArm(tmp_path, request.param) as arm:
        yield arm


@pytest.fixture
def robot(arm: EmulatedArm, tmp_path: Path) -> Iterator[Any]:
    robot = robot_of(arm, tmp_path)
    yield robot
    with suppress(Exception):
        robot.bus.disconnect(disable_torque=False)


def robot_of(arm: EmulatedArm, folder: Path) -> Any:
    config = CONFIGS[arm.family](
        id="follower", calibration_dir=folder, port=arm.port, use_degrees=True
    )
    return make_robot_from_config(config)


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end_s, "it has not come"
        time.sleep(0.01)


def patiently(call: Callable[[], T]) -> T:
    """Return what LeRobot returns: on a busy machine answers may come after its 34 or 50 ms."""
    end_s = time.monotonic() + SOON_S
    while True:
        try:
            return call()
        except (ConnectionError, RuntimeError):
            if time.monotonic() > end_s:
                raise


def connect(robot: Any) -> None:
    def connected() -> None:
        with suppress(Exception):
            robot.bus.disconnect(disable_torque=False)
        robot.connect(calibrate=False)

    patiently(connected)


def connect_bus(robot: Any) -> None:
    def connected() -> None:
        with suppress(Exception):
            robot.bus.disconnect(disable_torque=False)
        robot.bus.connect()

    patiently(connected)


def seen(robot: Any) -> np.ndarray[Any, Any]:
    observation = patiently(robot.get_observation)
    return np.array([observation[f"{joint}.pos"] for joint in JOINTS])


def test_a_robot_connects_is_calibrated_and_reads_where_the_arm_is(
    arm: EmulatedArm, robot: Any
) -> None:
    connect(robot)

    assert patiently(lambda: robot.is_calibrated)
    until(lambda: np.abs(seen(robot)[BODY] - np.degrees(arm.joint_pos)[BODY]).max() < 3 * COUNT_DEG)
    share = (arm.joint_pos[5] + 0.174533) / (1.745329 + 0.174533)
    assert seen(robot)[5] == pytest.approx(100.0 * share, abs=1.0)


def test_a_robot_moves_the_arm(arm: EmulatedArm, robot: Any) -> None:
    connect(robot)
    goal = seen(robot)
    goal[0], goal[5] = 30.0, 60.0

    robot.send_action({f"{joint}.pos": value for joint, value in zip(JOINTS, goal, strict=True)})

    until(lambda: abs(arm.joint_pos[0] - np.radians(30.0)) < 0.03)
    until(lambda: abs(seen(robot)[5] - 60.0) < 5.0)


def test_a_robot_that_is_disconnected_is_limp(arm: EmulatedArm, robot: Any) -> None:
    connect(robot)
    assert not arm.limp()

    robot.disconnect()

    assert arm.limp()


def test_all_servos_answer_a_broadcast_ping(arm: EmulatedArm, robot: Any) -> None:
    connect_bus(robot)

    found = patiently(lambda: robot.bus.broadcast_ping(raise_on_error=True))

    expected = {FEETECH: [777] * 6, DYNAMIXEL: [1060] * 2 + [1200] * 4}
    assert found == dict(enumerate(expected[arm.family], start=1))


def test_a_calibration_is_written_and_read_again(robot: Any) -> None:
    connect_bus(robot)
    calibration = patiently(robot.bus.read_calibration)
    calibration["elbow_flex"].homing_offset = -321
    calibration["elbow_flex"].range_min = 777
    patiently(robot.bus.disable_torque)

    patiently(lambda: robot.bus.write_calibration(calibration))

    assert patiently(robot.bus.read_calibration) == calibration


def test_a_servo_gets_its_number_and_its_rate(arm: EmulatedArm) -> None:
    bus_type, model, slow, rate, usual = {
        FEETECH: (FeetechMotorsBus, "sts3215", 4, 115_200, 1),
        DYNAMIXEL: (DynamixelMotorsBus, "xl330-m288", 1, 57_600, 0),
    }[arm.family]
    for joint in JOINTS:  # none but the last is connected
        arm.put(joint, "baud", usual)
    arm.put("gripper", "baud", slow)
    bus = bus_type(arm.port, {"gripper": Motor(9, model, MotorNormMode.DEGREES)})

    bus.setup_motor("gripper", initial_baudrate=rate, initial_id=6)

    assert arm.get("gripper", "id") == 9
    until(lambda: bus.ping("gripper") is not None)
    bus.disconnect(disable_torque=False)


def test_a_silent_servo_is_named_when_connecting_and_an_error_when_reading(
    arm: EmulatedArm, robot: Any
) -> None:
    arm.fails("silent:elbow_flex")
    with pytest.raises(RuntimeError, match=r"Missing motor IDs:\n.*- 3 "):
        robot.bus.connect()
    arm.fails()
    robot.bus.disconnect(disable_torque=False)
    connect(robot)

    arm.fails("silent:elbow_flex")

    with pytest.raises(ConnectionError, match="There is no status packet"):
        robot.get_observation()


def test_a_wrong_checksum_is_an_error(arm: EmulatedArm, robot: Any) -> None:
    connect(robot)
    arm.fails("checksum:all")

    with pytest.raises(ConnectionError, match="Incorrect status packet"):
        robot.get_observation()


def test_answers_that_are_late_are_an_error(arm: EmulatedArm, robot: Any) -> None:
    connect(robot)
    arm.fails("late:shoulder_pan=0.5")

    with pytest.raises(ConnectionError, match="There is no status packet"):
        robot.get_observation()


def test_servos_of_another_rate_are_missing(arm: EmulatedArm, robot: Any) -> None:
    arm.fails("baud:all=115200")

    with pytest.raises(RuntimeError, match="Missing motor IDs"):
        robot.bus.connect()


def test_swapped_servos_are_not_calibrated_as_the_file_says(arm: EmulatedArm, robot: Any) -> None:
    arm.fails("swap:wrist_roll=4")
    connect_bus(robot)

    assert not patiently(lambda: robot.is_calibrated)


def test_a_servo_in_overload_refuses_what_is_written(arm: EmulatedArm, robot: Any) -> None:
    connect(robot)
    arm.fails("overload:gripper")
    what = {FEETECH: "Overload error", DYNAMIXEL: "Hardware error occurred"}

    def refused() -> bool:
        try:
            robot.bus.write("Torque_Enable", "gripper", 1)
        except RuntimeError as error:
            return what[arm.family] in str(error)
        return False

    until(refused)
