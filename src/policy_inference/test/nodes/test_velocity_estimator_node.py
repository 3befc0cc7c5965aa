# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Over topics: joints and IMU in, the velocity of the base out; nothing where it is not known."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Vector3
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Imu, JointState

from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError, RobotError
from policy_core.estimation.velocity_estimator import SUPPORTED
from policy_inference.kinds.opening import NATIVE, PYTHON
from policy_inference.nodes.velocity_estimator_node import VelocityEstimatorNode, VelocitySource
from testkit.wording import refusal

from .bundles import ESTIMATES, HEIGHT_M, JOINTS, write_bundle, write_sensing_bundle
from .harness import Stage

LOOPS = pytest.mark.parametrize("loop", [PYTHON, NATIVE])


def imu(**changes: object) -> Imu:
    made = Imu(orientation=Quaternion(w=1.0), linear_acceleration=Vector3(z=9.81))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def joints(rate: float = 0.0, ns: int = 0) -> JointState:
    made = JointState(name=list(JOINTS), position=[0.0, 0.0], velocity=[rate, rate])
    made.header.stamp.sec, made.header.stamp.nanosec = divmod(ns, 1_000_000_000)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_sensing_bundle(tmp_path / "bundle", ESTIMATES)


@pytest.fixture
def start(node_stage: Stage) -> Callable[[Path], VelocityEstimatorNode]:
    return lambda bundle: node_stage.beside(
        VelocityEstimatorNode([Parameter("bundle", value=str(bundle))])
    )


def test_the_odometry_has_the_velocity_that_the_legs_show(
    node_stage: Stage, start: Callable[[Path], VelocityEstimatorNode], bundle: Path
) -> None:
    robot, found, node = node_stage.robot, list[Odometry](), start(bundle)
    robot.node.create_subscription(Odometry, "odom", found.append, QoSProfile(depth=10))
    robot.until(lambda: node.count_subscribers("odom"), "a reader")
    to_imu = robot.node.create_publisher(Imu, "imu/data", 1)
    to_joints = robot.node.create_publisher(JointState, "joint_states", 1)

    def walks() -> bool:
        to_imu.publish(imu())
        to_joints.publish(joints(1.0, node.get_clock().now().nanoseconds))
        return len(found) > 20

    robot.until(walks, "the velocity")
    last = found[-1]
    assert last.child_frame_id == "base_link"
    assert last.twist.twist.linear.x == pytest.approx(HEIGHT_M, abs=0.01)
    assert 0.0 < last.twist.covariance[0] < 0.01 < last.twist.covariance[35]
    assert last.pose.pose.position.z == pytest.approx(HEIGHT_M, abs=0.01)


def test_a_bundle_without_an_estimated_velocity_is_refused(
    start: Callable[[Path], VelocityEstimatorNode], tmp_path: Path
) -> None:
    with refusal(PolicyError):
        start(write_bundle(tmp_path / "other"))


@LOOPS
def test_what_the_estimator_cannot_use_is_an_error(bundle: Path, loop: str) -> None:
    source = VelocitySource(load_bundle(bundle).contract, loop)
    with refusal(RobotError):
        source.take_joints(joints(), 1)
    with refusal(RobotError):
        source.take_imu(imu(linear_acceleration_covariance=[-1.0, *[0.0] * 8]), 1)
    with refusal(RobotError):
        source.take_imu(imu(angular_velocity=Vector3(x=float("nan"))), 1)
    source.take_imu(imu(), 1)
    with refusal(RobotError):
        source.take_joints(joints(), 100_000_001)


@LOOPS
def test_while_no_foot_stands_there_is_no_velocity(bundle: Path, loop: str) -> None:
    source = VelocitySource(load_bundle(bundle).contract, loop)
    for number in range(1, 100):
        source.take_imu(imu(), number)
        with suppress(RobotError):  # at first it has not proven itself
            source.take_joints(joints(0.0, 2_000_000 * number), number)
    source.take_joints(joints(0.0, 200_000_000), 100)
    message = JointState(name=list(JOINTS), position=[0.0, 0.0], velocity=[30.0, -30.0])
    with refusal(RobotError):
        for number in range(101, 400):
            message.header.stamp.nanosec = 2_000_000 * number
            source.take_imu(imu(), number)
            source.take_joints(message, number)


@LOOPS
def test_stamps_that_go_back_or_stand_still_are_no_evidence(bundle: Path, loop: str) -> None:
    """After a driver's restart, the robot may have any velocity."""
    source = VelocitySource(load_bundle(bundle).contract, loop)
    for number in range(1, 400):
        source.take_imu(imu(), number)
        with suppress(RobotError):
            source.take_joints(joints(0.0, 2_000_000_000 + 2_000_000 * number), number)
    assert source.estimator.support >= SUPPORTED
    with refusal(RobotError):
        source.take_joints(joints(0.0, 2_000_000_000 + 2_000_000 * 399), 400)
    with refusal(RobotError):
        source.take_joints(joints(0.0, 1_000_000_000), 401)
    assert source.estimator.support == 0.0


@LOOPS
@pytest.mark.parametrize("huge", [1e3, 1e300])
@pytest.mark.parametrize("sensor", ["accelerometer", "encoders"])
def test_huge_values_never_give_a_huge_velocity(
    bundle: Path, loop: str, sensor: str, huge: float
) -> None:
    source, shown = VelocitySource(load_bundle(bundle).contract, loop), []
    for number in range(1, 400):
        value = huge if 100 <= number < 103 else 0.0
        acceleration = Vector3(z=9.81 + value * (sensor == "accelerometer"))
        rate = value * (sensor == "encoders")
        with suppress(RobotError):
            source.take_imu(imu(linear_acceleration=acceleration), number)
            shown.append(source.take_joints(joints(rate, 2_000_000 * number), number))
    assert np.abs(shown).max() < 10.0
    assert np.abs(shown[-1]).max() < 0.05


@pytest.mark.parametrize(
    ("loop", "is_built", "runs"),
    [
        (NATIVE, True, "policy_core_native"),
        (NATIVE, False, "policy_core.estimation.velocity_estimator"),
        (PYTHON, True, "policy_core.estimation.velocity_estimator"),
    ],
)
def test_it_estimates_in_cpp_where_that_is_built(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, loop: str, is_built: bool, runs: str
) -> None:
    if is_built:
        pytest.importorskip("policy_core_native", reason="the native core is not built")
    else:
        monkeypatch.setitem(sys.modules, "policy_core_native", None)
    source = VelocitySource(load_bundle(bundle).contract, loop)
    assert type(source.estimator).__module__ == runs
