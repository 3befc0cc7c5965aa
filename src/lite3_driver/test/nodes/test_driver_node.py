# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver as a process, beside a motion host on loopback."""

import signal
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_msgs.msg import ContactForces, JointCommand, RobotStatus
from sensor_msgs.msg import Imu, JointState

from lite3_driver import wire

from .harness import Stage
from .host import FOLDED_RAD

pytestmark = pytest.mark.ros


def test_state_is_published_and_nothing_is_sent(stage: Stage) -> None:
    heard: dict[str, list[Any]] = {"joint_states": [], "imu/data": [], "contact_forces": []}
    for message, (topic, into) in zip((JointState, Imu, ContactForces), heard.items(), strict=True):
        stage.listen(message, f"/robot/{topic}", into)
    driver = stage.driver()
    driver.until(lambda: all(heard.values()), "messages")
    status = driver.may_be_taken()
    assert list(heard["joint_states"][-1].position) == pytest.approx(FOLDED_RAD, abs=1e-6)
    assert heard["imu/data"][-1].angular_velocity.z == pytest.approx(0.03)
    assert [force.z for force in heard["contact_forces"][-1].forces] == [2.0, 5.0, 8.0, 11.0]
    assert status.state == RobotStatus.LISTENING
    assert list(status.joint_names) == list(wire.JOINT_NAMES)
    assert list(status.temperature_c) == [30.0 + joint for joint in range(12)]
    assert driver.host.received == []


def test_control_is_taken_followed_damped_and_given_back(stage: Stage) -> None:
    driver = stage.driver()
    host = driver.host
    driver.takes_control()
    driver.is_in(RobotStatus.DAMPING)
    driver.follows()
    driver.reports(lambda status: status.state == RobotStatus.DAMPING, "the end of the commands")
    response = driver.ask("release_control")
    assert response.success, response.message
    driver.is_in(RobotStatus.LISTENING)
    assert host.codes() == [wire.FOLD, wire.TAKE_CONTROL, wire.COMMAND, wire.GIVE_BACK]
    assert host.controller is None
