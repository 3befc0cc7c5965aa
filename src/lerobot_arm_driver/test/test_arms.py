# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The table of arms, and the instruction that lets all servos of a bus go limp."""

import numpy as np
import pytest

from lerobot_arm_driver.arms import ARMS, DYNAMIXEL, FEETECH, ArmSettings, drive_figures
from robot_sim.servo_bus import ServoBus
from robot_sim.servos import STS3215, XL330, XL430, EmulatedServo, ServoModel


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_has_figures_of_all_its_joints(name: str) -> None:
    arm = ARMS[name]
    figures = drive_figures(arm)

    assert len(arm.joint_names) == len(set(arm.joint_names)) == (12 if "bi_" in name else 6)
    assert figures.joint_names == arm.joint_names
    for row in (figures.lowest_rad, figures.fastest_rad_s, figures.largest_torque_nm):
        assert row.shape == (len(arm.joint_names),)
    assert (figures.lowest_rad < figures.highest_rad).all()


def test_two_arms_are_the_left_one_and_then_the_right_one() -> None:
    one, two = ARMS["so101"].joint_names, ARMS["bi_so101"].joint_names

    assert two == tuple(f"{side}_{joint}" for side in ("left", "right") for joint in one)
    low = drive_figures(ARMS["bi_so101"]).lowest_rad
    assert np.array_equal(low[:6], low[6:])


def test_a_single_arm_has_one_port_and_two_arms_have_two() -> None:
    one, two = (
        ArmSettings(robot=robot, port="/dev/a", right_port="/dev/b")
        for robot in ("koch", "bi_koch")
    )

    assert one.ports == ("/dev/a",)
    assert two.ports == ("/dev/a", "/dev/b")


@pytest.mark.parametrize(
    ("packet", "models"), [(FEETECH.all_limp, [STS3215]), (DYNAMIXEL.all_limp, [XL430, XL330])]
)
def test_one_instruction_lets_all_servos_go_limp_and_none_answers(
    packet: bytes, models: list[ServoModel]
) -> None:
    servos = [EmulatedServo(model, i + 1, name=str(i)) for i, model in enumerate(models)]
    bus = ServoBus(servos)
    for servo in servos:
        servo.put("torque_on", 1)

    assert bus.exchange(packet, 1_000_000) == []
    assert [servo.get("torque_on") for servo in servos] == [0] * len(servos)
