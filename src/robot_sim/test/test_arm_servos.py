# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101 through its servos: calibration, torque, goals, faults."""

import json
import os
import select
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_sim.arm_figures import SO101
from robot_sim.arm_servos import FAMILIES, ArmServos
from robot_sim.arm_world import ArmWorld
from robot_sim.errors import SimError
from robot_sim.servo_bus import ServoFault, ServoPort
from robot_sim.servo_wire import PING, FeetechWire
from testkit.wording import refusal

PAN = 0


@pytest.fixture(params=list(FAMILIES))
def arm_servos(request: pytest.FixtureRequest) -> ArmServos:
    return ArmServos(request.param, seed=3)


def simulate(servos: ArmServos, world: ArmWorld, seconds: float) -> None:
    for _ in range(round(seconds * world.steps_per_s / 4)):
        servos.drive(world)
        world.advance(4)


def calibration(servos: ArmServos, folder: Path) -> dict[str, Any]:
    servos.save_calibration(folder / "arm.json")
    read: dict[str, Any] = json.loads((folder / "arm.json").read_text())
    return read


def test_servos_report_the_joints_as_the_calibration_file_counts_them(
    arm_servos: ArmServos, tmp_path: Path
) -> None:
    world, arm = ArmWorld(), calibration(arm_servos, tmp_path)
    arm_servos.drive(world)

    for servo, at_rad in zip(arm_servos.bus.servos, world.sense().joint_pos, strict=True):
        row = arm[servo.name]
        assert row["homing_offset"] == servo.get("homing")
        assert (row["range_min"], row["range_max"]) == (servo.get("lowest"), servo.get("highest"))
        rad = (servo.get("position") - (row["range_min"] + row["range_max"]) / 2) * np.pi / 2048
        middle = 0.785398 if servo.name == "gripper" else 0.0
        assert rad + middle == pytest.approx(at_rad, abs=0.002)


def test_another_arm_has_another_calibration(tmp_path: Path) -> None:
    one, other = (calibration(ArmServos(seed=seed), tmp_path) for seed in (1, 2))

    assert all(one[name]["homing_offset"] != other[name]["homing_offset"] for name in one)
    assert all(one[name]["range_min"] == other[name]["range_min"] for name in one)


def test_servos_hold_the_arm_and_without_torque_it_sinks(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    simulate(arm_servos, world, 1.0)
    assert world.sense().joint_pos == pytest.approx(SO101.home_rad, abs=0.06)

    for servo in arm_servos.bus.servos:
        servo.put("torque_on", 0)
    simulate(arm_servos, world, 1.0)

    assert np.abs(world.sense().joint_pos - SO101.home_rad).max() > 0.3


def test_a_goal_moves_its_joint_and_the_servo_reports_speed_and_load(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    arm_servos.drive(world)
    pan = arm_servos.bus.servos[PAN]
    pan.put("goal", pan.get("position") + 400)

    simulate(arm_servos, world, 0.1)
    assert pan.get("velocity") > 100
    assert pan.get("load") > 20
    simulate(arm_servos, world, 1.5)

    assert world.sense().joint_pos[PAN] == pytest.approx(400 * 2 * np.pi / 4096, abs=0.02)


def test_a_servo_without_power_lets_its_joint_go(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    arm_servos.bus.plan([ServoFault.parse("restart:shoulder_lift@0.1+0.2")])

    simulate(arm_servos, world, 5.0)

    assert arm_servos.bus.servos[1].get("torque_on") == 0
    assert abs(world.sense().joint_pos[1] - SO101.home_rad[1]) > 0.2


def test_servos_that_do_not_exist_are_refused() -> None:
    with refusal(SimError):
        ArmServos("mg996r")


@pytest.fixture
def servo_port(tmp_path: Path) -> Iterator[ServoPort]:
    port = ServoPort(ArmServos().bus, tmp_path / "port")
    yield port
    port.close()


def open_serial(name: Path, rate: int) -> int:
    line = os.open(name, os.O_RDWR | os.O_NOCTTY)
    settings = termios.tcgetattr(line)
    settings[4] = settings[5] = rate
    termios.tcsetattr(line, termios.TCSANOW, settings)
    return line


def test_a_port_answers_at_its_rate_and_is_deaf_at_others(
    servo_port: ServoPort, tmp_path: Path
) -> None:
    line = open_serial(tmp_path / "port", termios.B115200)
    ping = FeetechWire().instruction(2, PING)
    os.write(line, ping)
    assert select.select([line], [], [], 0.2)[0] == []
    os.close(line)

    line = open_serial(tmp_path / "port", termios.B1000000)
    os.write(line, ping)
    answer = b""
    while len(answer) < 6:
        answer += os.read(line, 6)
    os.close(line)

    assert answer == FeetechWire().status(2, 0)
