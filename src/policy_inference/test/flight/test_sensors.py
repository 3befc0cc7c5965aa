# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages made from a simulation's values are those that a robot's readers understand."""

from typing import Any

import numpy as np
import pytest

from policy_core.bundle.state_fields import read_velocity, require_orientation
from policy_core.observation.state import RobotState
from policy_inference.flight.description import Topic
from policy_inference.flight.sensors import (
    CONTACT_FORCES,
    IMU,
    JOINT_STATES,
    ODOMETRY,
    TWIST,
    SensorMessages,
)
from policy_inference.messages.readers import stamp_ns, state_reader
from testkit.kernel.contracts import observed
from testkit.kernel.robots import UPRIGHT

from .flying import TYPES

STAMP_NS = 12_000_000_034
NAMES = ("ankle", "hip", "knee")
MESSAGES = SensorMessages(TYPES)


def decoded_as(topic: Topic, data: bytes) -> Any:
    return TYPES.deserialize_cdr(data, topic.type)


ZERO, ONE, TWO = np.zeros(3), np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
TURN, LISTED = np.array(UPRIGHT), [1.0, 2.0, 3.0]
JOINTS = {"joint_pos": [2.0, 3.0, 1.0], "joint_vel": [5.0, 6.0, 4.0]}
TURNED = {"quat_xyzw": UPRIGHT, "ang_vel_body": LISTED}


@pytest.mark.parametrize(
    ("topic", "data", "fields"),
    [
        (JOINT_STATES, MESSAGES.joint_states(STAMP_NS, NAMES, ONE, TWO, ZERO), JOINTS),
        (IMU, MESSAGES.imu(STAMP_NS, TURN, ONE, ZERO), TURNED),
        (ODOMETRY, MESSAGES.odometry(STAMP_NS, ZERO, TURN, ONE, ZERO), {"lin_vel_body": LISTED}),
    ],
)
def test_reader_of_a_robots_messages_reads_these(
    topic: Topic, data: bytes, fields: dict[str, list[float]]
) -> None:
    terms = ("base_lin_vel", "base_ang_vel", "projected_gravity", "joint_pos", "joint_vel")
    state = RobotState(observed([{"term": term} for term in terms]))
    message = decoded_as(topic, data)
    assert stamp_ns(message) == STAMP_NS
    reader = state_reader(topic.name, ("hip", "knee", "ankle"), state)
    assert reader.message == topic.type
    reader.read(message)
    for field, values in fields.items():
        np.testing.assert_array_equal(state[field], np.array(values))


def test_values_that_no_policy_reads_are_there_too() -> None:
    joints = decoded_as(
        JOINT_STATES,
        MESSAGES.joint_states(STAMP_NS, NAMES, np.zeros(3), np.zeros(3), np.array([7.0, 8.0, 9.0])),
    )
    assert joints.effort.tolist() == [7.0, 8.0, 9.0]
    imu = decoded_as(
        IMU, MESSAGES.imu(STAMP_NS, np.array(UPRIGHT), np.zeros(3), np.array([0.0, 0.5, 9.81]))
    )
    require_orientation(imu)
    assert (imu.linear_acceleration.y, imu.linear_acceleration.z) == (0.5, 9.81)
    feet = decoded_as(
        CONTACT_FORCES,
        MESSAGES.contact_forces(
            STAMP_NS, ["left", "right"], np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        ),
    )
    assert feet.names == ["left", "right"]
    assert [force.z for force in feet.forces] == [3.0, 6.0]
    assert feet.header.frame_id == "world"
    assert read_velocity(decoded_as(TWIST, MESSAGES.twist((0.5, -0.1, 0.2)))) == (0.5, -0.1, 0.2)
