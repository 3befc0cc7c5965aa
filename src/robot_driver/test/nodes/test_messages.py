# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages filled in the form of the wire are what rclpy reads, and the other way round."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from hypothesis import given
from hypothesis import strategies as st
from policy_msgs.msg import ContactForces, JointCommand
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu, JointState

from policy_core.errors import RobotError
from robot_driver.interfaces import F64
from robot_driver.nodes.commands import CommandReader
from robot_driver.nodes.sensors import (
    ContactTemplate,
    ImuTemplate,
    JointStateTemplate,
    quat_from_rpy,
)
from testkit.any_messages import any_message
from testkit.wording import check_wording

pytestmark = pytest.mark.ros
STAMP_NS = 1_700_000_000_123_456_789
JOINT_NAMES = tuple(f"joint_{number:02}" for number in range(12))
FEET = ("left", "right")
FORCES = np.arange(6.0).reshape(2, 3) + 0.5


class State(NamedTuple):
    tick: int
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64


STATE = State(1, np.arange(12.0), np.arange(12.0) - 50.0, np.arange(12.0) * 1e3, np.zeros(12))


def joint_command_of(
    names: Sequence[str] = JOINT_NAMES, valid_for_s: float = 0.1, **changes: Any
) -> JointCommand:
    fields = {
        **{name: [0.0] * 12 for name in ("position", "velocity", "effort")},
        "stiffness": [30.0] * 12,
        "damping": [1.0] * 12,
        "effort_limit": [24.0] * 12,
        "mode": JointCommand.MODE_STAND,
        **changes,
    }
    valid_for = Duration(sec=0, nanosec=round(valid_for_s * 1e9))
    return JointCommand(names=list(names), valid_for=valid_for, **fields)


def read_message(kind: type[Any], data: bytes | None) -> Any:
    assert data is not None
    message = deserialize_message(data, kind)
    stamp = message.header.stamp
    assert stamp.sec * 1_000_000_000 + stamp.nanosec == STAMP_NS
    return message


@pytest.mark.fuzz
@given(
    message=any_message(
        JointCommand, names=st.permutations(JOINT_NAMES[:2]) | st.lists(st.text(max_size=3))
    )
)
def test_any_command_is_read_in_wire_order_or_refused(message: JointCommand) -> None:
    try:
        command = CommandReader(JOINT_NAMES[:2]).read(message, 0)
    except RobotError:
        return
    assert command.values.shape == (2, 5)
    assert command.effort_limit.shape == (2,)


def test_joint_state_holds_what_the_robot_tells_in_its_order() -> None:
    template = JointStateTemplate(JOINT_NAMES)
    first = template.fill(STATE, STAMP_NS)
    template.fill(STATE._replace(joint_pos=np.zeros(12)), STAMP_NS)  # which leaves the first alone
    message = read_message(JointState, first)
    assert message.name == list(JOINT_NAMES)
    assert list(message.position) == STATE.joint_pos.tolist()
    assert list(message.velocity) == STATE.joint_vel.tolist()
    assert list(message.effort) == STATE.joint_effort.tolist()


def test_imu_holds_the_attitude_as_a_rotation_from_body_to_world() -> None:
    about_z = quat_from_rpy(np.array([0.0, 0.0, np.pi / 2]))
    vectors = np.arange(1.0, 4.0), np.arange(4.0, 7.0)
    message = read_message(Imu, ImuTemplate().fill(about_z, *vectors, STAMP_NS))
    turned, rate = message.orientation, message.angular_velocity
    gravity = message.linear_acceleration
    assert message.header.frame_id == "imu_link"
    assert (turned.x, turned.y) == pytest.approx((0.0, 0.0))
    assert (turned.z, turned.w) == pytest.approx((0.5**0.5, 0.5**0.5))
    assert (rate.x, rate.y, rate.z) == (1.0, 2.0, 3.0)
    assert (gravity.x, gravity.y, gravity.z) == (4.0, 5.0, 6.0)


def test_contact_forces_belong_to_their_feet_and_are_numbers() -> None:
    template = ContactTemplate(FEET)
    message = read_message(ContactForces, template.fill(FORCES, STAMP_NS))
    assert message.names == list(FEET)
    assert [[force.x, force.y, force.z] for force in message.forces] == FORCES.tolist()
    force = FORCES.copy()
    force[1, 2] = np.nan
    assert template.fill(force, STAMP_NS) is None


@pytest.mark.parametrize("rpy", [(0.3, -0.4, 2.5), (-1.0, 1.2, -3.0), (0.0, 0.0, 0.0)])
def test_quaternion_turns_as_roll_then_pitch_then_yaw(rpy: tuple[float, float, float]) -> None:
    x, y, z, w = quat_from_rpy(np.array(rpy))
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    vector = np.array([x, y, z])
    for axis in np.eye(3):
        turned = axis + 2.0 * np.cross(vector, np.cross(vector, axis) + w * axis)
        np.testing.assert_allclose(turned, about_z @ about_y @ about_x @ axis, atol=1e-12)


def test_command_is_read_by_name_whatever_its_order() -> None:
    names = list(JOINT_NAMES[::-1])
    fields = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
    numbers = {
        field: [100.0 * row + joint for joint in range(12)] for row, field in enumerate(fields)
    }
    message = joint_command_of(names, sequence=7, valid_for_s=0.25, **numbers)
    reader = CommandReader(JOINT_NAMES)
    found = reader.read(message, 42)
    reader.read(joint_command_of(position=[2.0] * 12, effort_limit=[0.0] * 12), 0)  # of its own
    assert (found.sequence, found.mode, found.received_ns) == (7, 1, 42)
    assert found.valid_for_ns == 250_000_000
    for row, field in enumerate(fields[:-1]):
        assert found.values[:, row].tolist() == numbers[field][::-1]
    assert found.effort_limit.tolist() == numbers["effort_limit"][::-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"names": JOINT_NAMES[:11]},
        {"names": [*JOINT_NAMES[:11], JOINT_NAMES[0]]},
        {"names": [*JOINT_NAMES, "gripper"]},
        {"names": [*JOINT_NAMES, JOINT_NAMES[3]]},
        {"names": []},
        {"velocity": [0.0] * 11},
        {"effort_limit": []},
    ],
)
def test_command_that_does_not_fit_the_joints_is_refused(changes: Any) -> None:
    with pytest.raises(RobotError) as error:
        CommandReader(JOINT_NAMES).read(joint_command_of(**changes), 0)
    check_wording(str(error.value))
