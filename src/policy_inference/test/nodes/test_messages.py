# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as rclpy makes them have what the core's readers use."""

from array import array
from pathlib import Path

import pytest
from geometry_msgs.msg import Quaternion, Twist, TwistStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float32MultiArray

from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.state_fields import STATE_FIELDS, StateField, velocity_of
from policy_inference.core.messages import stamp_ns, state_reader
from policy_inference.core.state import RobotState
from policy_inference.nodes.sampling import message_class
from testkit.ros_time import stamp

from .bundles import JOINTS, MISSING, write_bundle

pytestmark = pytest.mark.ros


def test_every_sensor_message_is_read(tmp_path: Path) -> None:
    terms = [
        {"term": "base_ang_vel"},
        {"term": "base_lin_vel"},
        {"term": "base_quat_xyzw"},
        {"term": "external", "topic": "scan", "size": 2},
    ]
    state = RobotState(
        load_bundle(
            write_bundle(
                tmp_path / "bundle",
                {
                    "observations": {"obs": {"terms": terms}},
                    "model.inputs": {"obs": {"shape": [1, 12]}},
                    "velocity_command": MISSING,
                    "safety": {"on_fault": "damp"},
                },
            ),
            kind=JointBundle,
        ).contract
    )
    odometry = Odometry()
    odometry.twist.twist.linear = Vector3(x=1.0, y=2.0, z=3.0)
    messages = {
        "joint_states": JointState(
            name=list(JOINTS), position=array("d", [1.0, 2.0]), velocity=array("d", [3.0, 4.0])
        ),
        "imu/data": Imu(orientation=Quaternion(w=1.0), angular_velocity=Vector3(z=5.0)),
        "odom": odometry,
        "scan": Float32MultiArray(data=[6.0, 7.0]),
    }
    for name in state.inputs:
        state_reader(name, JOINTS, state).read(messages[name])
    assert state["joint_pos"].tolist() == [1.0, 2.0]
    assert state["joint_vel"].tolist() == [3.0, 4.0]
    assert state["quat_xyzw"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert state["ang_vel_body"].tolist() == [0.0, 0.0, 5.0]
    assert state["lin_vel_body"].tolist() == [1.0, 2.0, 3.0]
    assert state["external:scan"].tolist() == [6.0, 7.0]


@pytest.mark.parametrize("field", STATE_FIELDS.values(), ids=STATE_FIELDS.keys())
def test_every_field_of_the_state_is_in_each_message_of_its_topic(field: StateField) -> None:
    for kind in field.topic.types:
        message = message_class(kind)()
        if field.read is not None:
            assert len(field.read(message)) == (0 if field.size == "joints" else field.size)


def test_velocity_comes_from_twist_and_from_stamped_twist() -> None:
    twist = Twist(linear=Vector3(x=1.0, y=2.0, z=9.0), angular=Vector3(x=9.0, z=3.0))
    assert velocity_of(twist) == (1.0, 2.0, 3.0)
    assert velocity_of(TwistStamped(twist=twist)) == (1.0, 2.0, 3.0)


def test_stamps_are_read_where_there_are_any() -> None:
    message = JointState()
    assert stamp_ns(message) is None
    message.header.stamp = stamp(12_345_678_901)
    assert stamp_ns(message) == 12_345_678_901
    assert stamp_ns(Float32MultiArray()) is None
