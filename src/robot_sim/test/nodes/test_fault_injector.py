# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are injected into a real robot's sensor messages."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, JointState

from robot_sim.errors import SimError
from robot_sim.nodes.fault_injector import FaultInjectorNode, InjectedFaults
from testkit.ros_time import stamp
from testkit.wording import refusal

from .harness import RunningNode

NAMES = ["hip", "knee"]
NS_PER_S = 1_000_000_000


def joint_state(position: float = 0.5, at_ns: int = 0, **more: Any) -> JointState:
    message = JointState(name=NAMES, position=[position, -position], velocity=[1.0, 2.0], **more)
    message.header.stamp = stamp(at_ns)
    return message


def imu(z: float = 1.0) -> Imu:
    message = Imu()
    message.orientation.w, message.angular_velocity.z = 1.0, z
    message.orientation_covariance[0] = 0.25
    return message


@pytest.fixture
def faults() -> InjectedFaults:
    found = InjectedFaults()
    for stream, message in (
        ("joint_states", joint_state()),
        ("imu", imu()),
        ("odom", Odometry()),
    ):
        found.changed(stream, message, 0)
    return found


def test_messages_pass_unchanged_until_faults_are_set_and_after_they_are_removed(
    faults: InjectedFaults,
) -> None:
    message = joint_state()
    assert faults.changed("joint_states", message, 1) is message
    faults.plan(["nan:joint_states.position"], 2)
    assert np.isnan(faults.changed("joint_states", message, 3).position[0])
    faults.plan([""], 4)
    assert faults.changed("joint_states", message, 5) is message
    assert message.position[0] == 0.5


def test_times_count_from_the_moment_when_faults_are_set(faults: InjectedFaults) -> None:
    set_ns = 100 * NS_PER_S
    faults.plan(["drop:imu@1+0.5"], set_ns)
    heard = [
        faults.changed("imu", imu(), set_ns + round(after_s * NS_PER_S)) is not None
        for after_s in (0.9, 1.1, 1.4, 1.6)
    ]
    assert heard == [True, False, False, True]


def test_a_frozen_stream_repeats_its_message_with_its_stamp(faults: InjectedFaults) -> None:
    faults.plan(["freeze:joint_states"], 0)
    first, second = (
        faults.changed("joint_states", joint_state(position, at_ns), at_ns)
        for position, at_ns in ((0.1, 10), (0.2, 20))
    )
    assert first == second == joint_state(0.1, 10)


@pytest.mark.parametrize(
    ("fault", "position", "velocity"),
    [
        ("swapped:hip.knee", [-0.5, 0.5], [2.0, 1.0]),
        ("bias:joint_states.velocity=3.0", [0.5, -0.5], [1.0, 5.0]),
        ("reverse:joint_states.position", [-0.5, 0.5], [1.0, 2.0]),
        ("zero:joint_states.effort", [0.5, -0.5], [1.0, 2.0]),
    ],
)
def test_a_fault_of_joints_changes_its_field_and_leaves_what_the_driver_left_empty(
    faults: InjectedFaults, fault: str, position: list[float], velocity: list[float]
) -> None:
    faults.plan([fault], 0)
    found = faults.changed("joint_states", joint_state(), 1)
    assert ([*found.position], [*found.velocity]) == (position, velocity)
    assert ([*found.effort], found.name) == ([], NAMES)


def test_a_fault_of_the_imu_or_odometry_keeps_the_rest_of_the_message(
    faults: InjectedFaults,
) -> None:
    faults.plan(["reverse:imu.angular_velocity", "bias:odom.velocity=0.5"], 0)
    turned = faults.changed("imu", imu(), 1)
    assert (turned.angular_velocity.z, turned.orientation.w) == (-1.0, 1.0)
    assert turned.orientation_covariance[0] == 0.25
    given = Odometry(child_frame_id="base_link")
    given.twist.twist.angular.z = 2.0
    moved = faults.changed("odom", given, 2)
    assert (moved.twist.twist.linear.z, moved.twist.twist.angular.z) == (0.5, 2.0)
    assert moved.child_frame_id == "base_link"


@pytest.mark.parametrize(
    "fault",
    [
        "motor_off:hip",
        "push:left=10",
        "latency:command=0.02",
        "late:imu=11",
        "drop:contact",
        "stuck:wheel",
    ],
)
def test_a_fault_that_messages_cannot_have_is_refused_and_changes_nothing(
    faults: InjectedFaults, fault: str
) -> None:
    with refusal(SimError):
        faults.plan(["drop:imu", fault], 0)
    assert faults.changed("imu", imu(), 1) is not None


def test_faults_are_refused_before_their_stream_is_heard() -> None:
    faults = InjectedFaults()
    faults.changed("joint_states", joint_state(), 0)
    with refusal(SimError):
        faults.plan(["drop:imu"], 0)


def test_a_message_without_the_values_to_change_passes_unchanged(faults: InjectedFaults) -> None:
    faults.plan(["nan:joint_states.position", "stuck:knee"], 0)
    message = JointState()
    assert faults.changed("joint_states", message, 1) is message


class InjectorStage(RunningNode):
    """A running fault injector."""

    new_node = FaultInjectorNode


@pytest.fixture
def injector_stage() -> Iterator[InjectorStage]:
    stage = InjectorStage()
    yield stage
    stage.close()


@pytest.mark.ros
def test_the_node_drops_a_stream_while_its_parameter_says_so(injector_stage: InjectorStage) -> None:
    node = injector_stage.make()
    injector_stage.start()
    heard: dict[str, list[Any]] = {"joint_states": [], "imu/data": []}
    senders = {}
    for topic, kind in (("joint_states", JointState), ("imu/data", Imu)):
        injector_stage.listener.create_subscription(kind, f"faulty/{topic}", heard[topic].append, 1)
        senders[topic] = injector_stage.listener.create_publisher(kind, topic, 1)

    def arrives(topic: str, z: float = 1.0) -> bool:
        senders["joint_states"].publish(joint_state())
        senders["imu/data"].publish(imu(z))
        return len(heard[topic]) > 0

    injector_stage.spin_until(lambda: arrives("joint_states"), "joint states")
    injector_stage.spin_until(lambda: arrives("imu/data"), "an IMU message")
    (refused,) = node.set_parameters([Parameter("faults", value=["motor_off:hip"])])
    (granted,) = node.set_parameters([Parameter("faults", value=["drop:imu"])])
    assert (refused.successful, granted.successful) == (False, True)
    for _ in range(20):
        heard["joint_states"].clear()
        injector_stage.spin_until(lambda: arrives("joint_states", z=7.0), "joint states")
    assert 7.0 not in {message.angular_velocity.z for message in heard["imu/data"]}


@pytest.mark.ros
def test_the_node_refuses_faults_at_its_start(injector_stage: InjectorStage) -> None:
    with refusal(SimError):
        injector_stage.make(faults=["drop:imu"])
