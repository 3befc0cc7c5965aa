# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node's end of the bus: which ports it takes, and what it sends if the link process dies."""

from __future__ import annotations

import os
import select
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lerobot_arm_driver import transport
from lerobot_arm_driver.arms import FEETECH, HOLD, TORQUE_OFF, ArmSettings
from lerobot_arm_driver.robot import ServoArm
from robot_driver.interfaces import DriverError
from testkit.wording import refusal


@pytest.fixture
def serial_line() -> Iterator[tuple[int, str]]:
    """Return the far end of a serial port, and its name."""
    far, near = os.openpty()
    tty.setraw(near)
    yield far, os.ttyname(near)
    os.close(far)
    os.close(near)


def test_a_port_that_is_not_there_or_is_none_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_APPEARS_S", 0.2)
    with refusal(DriverError):
        ServoArm(ArmSettings(port=str(tmp_path / "nowhere"))).open()
    file = tmp_path / "file"
    file.touch()
    with refusal(DriverError):
        ServoArm(ArmSettings(port=str(file))).open()


def test_a_port_belongs_to_one_driver(serial_line: tuple[int, str]) -> None:
    settings = ArmSettings(port=serial_line[1])
    first = ServoArm(settings).open()

    with refusal(DriverError):
        ServoArm(settings).open()
    first.close()
    ServoArm(settings).open().close()


@pytest.mark.parametrize(("way_out", "sent"), [(HOLD, b""), (TORQUE_OFF, FEETECH.all_limp * 3)])
def test_without_the_link_process_the_arm_holds_or_is_let_go(
    serial_line: tuple[int, str], way_out: str, sent: bytes
) -> None:
    far, port = serial_line
    robot = ServoArm(ArmSettings(port=port, way_out=way_out))
    transport = robot.open()
    transport.keep_sending_half()

    for frame in [robot.encode(np.zeros((6, 5))), *robot.give_back()]:
        transport.send(frame)

    heard = b""
    while select.select([far], [], [], 0.2)[0]:
        heard += os.read(far, 1000)
    assert heard == sent
    transport.close()
