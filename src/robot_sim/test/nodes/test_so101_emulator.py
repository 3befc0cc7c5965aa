# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101 behind its servo bus, in real time."""

import json
import os
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import Image, JointState

from robot_sim.errors import SimError
from robot_sim.nodes.so101_emulator import So101Emulator
from robot_sim.servo_wire import READ, FeetechWire
from testkit.wording import check_wording, refusal

from .harness import Stage

pytestmark = pytest.mark.ros
POSITION = bytes([56, 2])


class EmulatorStage(Stage):
    """A running emulator."""

    node: Any
    new_node = So101Emulator


@pytest.fixture
def so101_stage(capfd: pytest.CaptureFixture[str]) -> Iterator[EmulatorStage]:
    stage = EmulatorStage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()


def read_servo_position(port: Path, servo_id: int) -> int:
    line = os.open(port, os.O_RDWR | os.O_NOCTTY)
    settings = termios.tcgetattr(line)
    settings[4] = settings[5] = termios.B1000000
    termios.tcsetattr(line, termios.TCSANOW, settings)
    os.write(line, FeetechWire().instruction(servo_id, READ, POSITION))
    answer = b""
    while len(answer) < 8:
        answer += os.read(line, 8)
    os.close(line)
    assert answer[:5] == bytes([255, 255, servo_id, 4, 0])
    return int.from_bytes(answer[5:7], "little")


def test_a_bus_a_calibration_images_and_the_truth_come_from_one_arm(
    so101_stage: EmulatorStage, tmp_path: Path
) -> None:
    so101_stage.make(folder=str(tmp_path / "arm"))
    images: list[Image] = []
    truth: list[JointState] = []
    so101_stage.listener.create_subscription(Image, "front/image_raw", images.append, 10)
    so101_stage.listener.create_subscription(
        JointState, "so101_emulator/joint_states", truth.append, 10
    )
    so101_stage.begin()
    so101_stage.until(lambda: images and truth, "images and joints")
    arm = json.loads((tmp_path / "arm" / "follower.json").read_text())
    pan, at_rad = arm["shoulder_pan"], truth[-1].position[0]
    ticks = read_servo_position(tmp_path / "arm" / "port", pan["id"])
    middle = (pan["range_min"] + pan["range_max"]) / 2
    assert (ticks - middle) * 3.14159 / 2048 == pytest.approx(at_rad, abs=0.01)
    assert so101_stage.joint_states == []  # only the driver publishes them


def test_faults_are_switched_while_it_runs(so101_stage: EmulatorStage, tmp_path: Path) -> None:
    so101_stage.run(folder=str(tmp_path))
    assert so101_stage.set("faults", ["silent:gripper"]) == ""
    check_wording(so101_stage.set("faults", ["silent:toe"]))
    check_wording(so101_stage.set("servos", "dynamixel"))


@pytest.mark.parametrize(
    "parameters",
    [{"lockstep": True}, {"servos": "mg996r"}, {"faults": ["melts:all"]}],
    ids=["lockstep false", "servos feetech dynamixel", "unknown kind melts"],
)
def test_a_parameter_that_does_not_fit_is_refused(
    so101_stage: EmulatorStage, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    with refusal(SimError):
        so101_stage.make(folder=str(tmp_path), **parameters)
