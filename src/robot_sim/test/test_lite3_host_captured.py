# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The motion host obeys what the vendor's own client sends; in lockstep."""

from pathlib import Path

import numpy as np
import pytest

from lite3_driver import wire
from robot_sim.figures import LITE3

from .host_robot import Robot

pytestmark = pytest.mark.real_data


@pytest.fixture
def packets(shared_data: Path) -> Path:
    """Datagrams captured from the vendor's client, and frames that it understood."""
    return shared_data / "legged" / "lite3" / "udp"


@pytest.fixture
def captured_host() -> Robot:
    """A robot of which the driver has control."""
    robot = Robot()
    robot.send(wire.request(wire.TAKE_CONTROL))
    return robot


def test_control_sequence_of_the_vendors_client(packets: Path) -> None:
    robot = Robot()

    def send(name: str) -> None:
        robot.send((packets / f"{name}.bin").read_bytes())

    send("cmd_31010c05_zero")
    robot.run(7.0)
    send("cmd_0114_control_sdk")
    send("cmd_0114_control_sdk")
    send("cmd_0111_standing")
    state = robot.run(0.05)
    assert robot.host.target == pytest.approx(LITE3.standing_rad, abs=1e-6)
    assert np.abs(state.joint_effort).max() > 10.0
    send("cmd_0111_damping")
    robot.run(0.9)
    send("cmd_0113_control_robot")
    assert robot.happened == [
        "folding",
        "control_taken",
        "following",
        "damped",
        "control_given_back",
    ]


@pytest.mark.parametrize(
    "name",
    ["cmd_21010c0e_set0", "state_0906_ramp", "state_0906_truncated_100", "state_0901_wrong_code"],
)
def test_other_datagrams_change_nothing(captured_host: Robot, packets: Path, name: str) -> None:
    captured_host.send((packets / f"{name}.bin").read_bytes())
    assert captured_host.happened == ["control_taken"]


def test_numbers_without_sense_go_no_further_than_the_torque_limit(
    captured_host: Robot, packets: Path
) -> None:
    captured_host.send((packets / "cmd_0111_ramp.bin").read_bytes())
    assert np.abs(captured_host.run(0.002).joint_effort).max() <= 36.0
