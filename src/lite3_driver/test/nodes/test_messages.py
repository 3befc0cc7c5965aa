# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages filled in the form of the wire are what rclpy reads, and the other way round."""

from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import ContactForces
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu, JointState

from lite3_driver.nodes.commands import CommandReader
from lite3_driver.nodes.messages import (
    ContactTemplate,
    ImuTemplate,
    JointStateTemplate,
    quat_from_rpy,
)
from lite3_driver.wire import FOOT_NAMES, JOINT_NAMES, State
from policy_inference.errors import RobotError

from .harness import command

pytestmark = pytest.mark.ros
STAMP_NS = 1_700_000_000_123_456_789
STATE = State(
    tick=1, imu_stamp_ms=2, rpy=np.array([0.0, 0.0, np.pi / 2]), ang_vel=np.array([1.0, 2.0, 3.0]),
    lin_acc=np.array([4.0, 5.0, 6.0]), joint_pos=np.arange(12.0), joint_vel=np.arange(12.0) - 50.0,
    joint_effort=np.arange(12.0) * 1e3, temperature_c=np.zeros(12),
    contact_force=np.arange(12.0).reshape(4, 3) + 0.5)


def read(kind: type[Any], data: bytes | None) -> Any:
    assert data is not None
    message = deserialize_message(data, kind)
    stamp = message.header.stamp
    assert stamp.sec * 1_000_000_000 + stamp.nanosec == STAMP_NS
    return message


def test_joint_state_holds_what_the_host_tells_in_its_order() -> None:
    message = read(JointState, JointStateTemplate().fill(STATE, STAMP_NS))
    assert message.name == list(JOINT_NAMES)
    assert list(message.position) == STATE.joint_pos.tolist()
    assert list(message.velocity) == STATE.joint_vel.tolist()
    assert list(message.effort) == STATE.joint_effort.tolist()


def test_imu_holds_the_attitude_as_a_rotation_from_body_to_world() -> None:
    message = read(Imu, ImuTemplate().fill(STATE, STAMP_NS))
    turned, rate, gravity = (message.orientation, message.angular_velocity,
                             message.linear_acceleration)
    assert message.header.frame_id == "imu_link"
    assert (turned.x, turned.y) == pytest.approx((0.0, 0.0))
    assert (turned.z, turned.w) == pytest.approx((0.5**0.5, 0.5**0.5))
    assert (rate.x, rate.y, rate.z) == (1.0, 2.0, 3.0)
    assert (gravity.x, gravity.y, gravity.z) == (4.0, 5.0, 6.0)


def test_contact_forces_belong_to_their_feet() -> None:
    message = read(ContactForces, ContactTemplate().fill(STATE, STAMP_NS))
    assert message.names == list(FOOT_NAMES)
    assert [(force.x, force.y, force.z) for force in message.forces] == [
        tuple(force) for force in STATE.contact_force.tolist()]


def test_contact_forces_that_are_no_numbers_are_no_message() -> None:
    force = STATE.contact_force.copy()
    force[2, 2] = np.nan
    assert ContactTemplate().fill(STATE._replace(contact_force=force), STAMP_NS) is None


def test_the_next_message_leaves_the_one_before_as_it_was() -> None:
    template = JointStateTemplate()
    first = template.fill(STATE, STAMP_NS)
    template.fill(STATE._replace(joint_pos=np.zeros(12)), STAMP_NS)
    assert list(read(JointState, first).position) == STATE.joint_pos.tolist()


@pytest.mark.parametrize("rpy", [(0.3, -0.4, 2.5), (-1.0, 1.2, -3.0), (0.0, 0.0, 0.0)])
def test_quaternion_turns_as_roll_then_pitch_then_yaw(rpy: tuple[float, float, float]) -> None:
    x, y, z, w = quat_from_rpy(np.array(rpy))
    roll, pitch, yaw = rpy
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    about_y = np.array(
        [[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    vector = np.array([x, y, z])
    for axis in np.eye(3):
        turned = axis + 2.0 * np.cross(vector, np.cross(vector, axis) + w * axis)
        np.testing.assert_allclose(turned, about_z @ about_y @ about_x @ axis, atol=1e-12)


def test_command_is_read_by_name_whatever_its_order() -> None:
    names = list(JOINT_NAMES[::-1])
    fields = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
    numbers = {field: [100.0 * row + joint for joint in range(12)]
               for row, field in enumerate(fields)}
    message = command(names, sequence=7, valid_for_s=0.25, **numbers)
    found = CommandReader().read(message, 42)
    assert (found.sequence, found.mode, found.received_ns) == (7, 1, 42)
    assert found.valid_for_ns == 250_000_000
    for row, field in enumerate(fields[:-1]):
        assert found.values[:, row].tolist() == numbers[field][::-1]
    assert found.effort_limit.tolist() == numbers["effort_limit"][::-1]


def test_commands_read_one_after_another_do_not_share_their_numbers() -> None:
    reader = CommandReader()
    first = reader.read(command(position=[1.0] * 12), 0)
    reader.read(command(position=[2.0] * 12, effort_limit=[0.0] * 12), 0)
    assert first.values[:, 0].tolist() == [1.0] * 12
    assert first.effort_limit.tolist() == [24.0] * 12


@pytest.mark.parametrize(("changes", "told"), [
    ({"names": JOINT_NAMES[:11]}, "missing: HR_Knee_joint"),
    ({"names": [*JOINT_NAMES[:11], JOINT_NAMES[0]]}, "named twice: FL_HipX_joint"),
    ({"names": [*JOINT_NAMES, "gripper"]}, "found also gripper"),
    ({"names": [*JOINT_NAMES, JOINT_NAMES[3]]}, "named twice: FR_HipX_joint"),
    ({"names": []}, "the message has none"),
    ({"velocity": [0.0] * 11}, "joint_command.velocity: expected 12 values"),
    ({"effort_limit": []}, "joint_command.effort_limit: expected 12 values"),
])  # fmt: skip
def test_command_that_does_not_fit_the_joints_is_refused(changes: Any, told: str) -> None:
    with pytest.raises(RobotError) as error:
        CommandReader().read(command(**changes), 0)
    assert told in str(error.value)
