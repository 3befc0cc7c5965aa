# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own robots, buses and libraries of servos, with the emulated bus as serial port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from lerobot.robots import make_robot_from_config
from lerobot.robots.koch_follower import KochFollowerConfig
from lerobot.robots.so_follower import SO101FollowerConfig

from lerobot_arm_driver.arms import ArmSettings
from lerobot_arm_driver.frames import ArmState
from lerobot_arm_driver.servos import Servos
from robot_driver.interfaces import DriverError
from testkit.waiting import until

from .emulated_arm import DYNAMIXEL, FEETECH, JOINTS, SOON_S, EmulatedArm, patiently

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


def test_a_robot_moves_the_arm(each_arm: EmulatedArm, its_robot: Any) -> None:
    connect(its_robot)
    goal = seen(its_robot)
    goal[0], goal[5] = 30.0, 60.0

    its_robot.send_action(
        {f"{joint}.pos": value for joint, value in zip(JOINTS, goal, strict=True)}
    )

    until(lambda: abs(each_arm.joint_pos[0] - np.radians(30.0)) < 0.03)
    until(lambda: abs(seen(its_robot)[5] - 60.0) < 5.0)


def test_a_robot_that_is_disconnected_is_limp(each_arm: EmulatedArm, its_robot: Any) -> None:
    connect(its_robot)
    assert not each_arm.limp()

    its_robot.disconnect()

    assert each_arm.limp()


# Alone: on a machine that is busy servos answer later than LeRobot waits.
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
