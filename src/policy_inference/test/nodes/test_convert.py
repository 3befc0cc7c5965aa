# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages become state by name, or an error that says what does not fit."""

import math
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Twist, TwistStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float32MultiArray

from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import load_bundle
from policy_inference.core.state import RobotState
from policy_inference.errors import RobotError
from policy_inference.nodes.convert import (
    ImuReader,
    JointStateReader,
    OdometryReader,
    VectorReader,
    stamp_ns,
    velocity_of,
)

from .bundles import JOINTS, MISSING, write_bundle, write_external_bundle
from .harness import NAN, stamp

pytestmark = pytest.mark.ros
NAMES = list(JOINTS)


def contract_of(tmp_path: Path, **changes: object) -> JointContract:
    return load_bundle(write_bundle(tmp_path / "bundle", changes)).contract


def with_terms(tmp_path: Path, *terms: str, size: int) -> JointContract:
    return contract_of(tmp_path, **{
        "observations": {"obs": {"terms": [{"term": term} for term in terms]}},
        "model.inputs": {"obs": {"shape": [1, size]}},
        "velocity_command": MISSING, "safety": {"on_fault": "damp"}})


@pytest.fixture
def state(tmp_path: Path) -> RobotState:
    return RobotState(contract_of(tmp_path), orientation=True)


def joint_state(
    names: Sequence[str], position: Sequence[float], velocity: Sequence[float]
) -> JointState:
    return JointState(name=list(names), position=array("d", position),
                      velocity=array("d", velocity))


def imu(quat_xyzw: Sequence[float] = (0.0, 0.0, 0.0, 1.0), ang_vel: float = 0.0) -> Imu:
    return Imu(orientation=Quaternion(**dict(zip("xyzw", quat_xyzw, strict=True))),
               angular_velocity=Vector3(x=ang_vel, y=2.0, z=3.0))


class TestJointState:
    def test_values_go_by_name_whatever_the_order(self, state: RobotState) -> None:
        JointStateReader(NAMES, state).read(
            joint_state(["right", "left"], [1.0, 2.0], [3.0, 4.0]))
        assert state["joint_pos"].tolist() == [2.0, 1.0]
        assert state["joint_vel"].tolist() == [4.0, 3.0]

    def test_order_may_change_from_one_message_to_the_next(self, state: RobotState) -> None:
        reader = JointStateReader(NAMES, state)
        reader.read(joint_state(["left", "right"], [1.0, 2.0], [0.0, 0.0]))
        reader.read(joint_state(["right", "left"], [1.0, 2.0], [0.0, 0.0]))
        assert state["joint_pos"].tolist() == [2.0, 1.0]

    def test_joints_that_the_policy_does_not_know_are_ignored(self, state: RobotState) -> None:
        JointStateReader(NAMES, state).read(
            joint_state(["arm", "right", "tail", "left"], [9.0, 1.0, 9.0, 2.0], [0.0] * 4))
        assert state["joint_pos"].tolist() == [2.0, 1.0]

    @pytest.mark.parametrize(
        ("names", "position", "velocity", "said"),
        [
            (["left"], [1.0], [1.0], "missing: right"),
            (["left", "right", "left"], [1.0] * 3, [1.0] * 3, "named twice: left"),
            ([], [], [1.0], "expected as many velocities as the 0 positions, found 1"),
            (["left", "right"], [1.0, 1.0], [], "expected velocities, found none"),
            (["left", "right"], [1.0, 1.0], [1.0], "as the 2 positions, found 1"),
            (["left", "right"], [1.0], [1.0], "expected 2 values, one per name, found 1"),
            (["left", "right"], [1.0] * 3, [1.0] * 3, "found 3"),
        ],
    )
    def test_message_that_does_not_fit_is_refused_and_writes_nothing(
        self, state: RobotState, names: list[str], position: list[float], velocity: list[float],
        said: str,
    ) -> None:  # fmt: skip
        reader = JointStateReader(NAMES, state)
        reader.read(joint_state(NAMES, [0.1, 0.2], [0.3, 0.4]))
        with pytest.raises(RobotError, match=said):
            reader.read(joint_state(names, position, velocity))
        assert state["joint_pos"].tolist() == [0.1, 0.2]
        assert state["joint_vel"].tolist() == [0.3, 0.4]

    def test_nan_goes_through_to_the_guard(self, state: RobotState) -> None:
        JointStateReader(NAMES, state).read(joint_state(NAMES, [1.0, NAN], [0.0, 0.0]))
        assert math.isnan(state["joint_pos"][1])


class TestImu:
    def test_orientation_and_rate_are_taken_as_the_names_say(self, state: RobotState) -> None:
        ImuReader(state).read(imu((0.1, 0.2, 0.3, math.sqrt(0.86)), 1.0))
        np.testing.assert_allclose(state["quat_xyzw"], (0.1, 0.2, 0.3, math.sqrt(0.86)))
        assert state["ang_vel_body"].tolist() == [1.0, 2.0, 3.0]

    @pytest.mark.parametrize("quat", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 2.0)])
    def test_orientation_that_is_not_given_is_refused_and_writes_nothing(
        self, state: RobotState, quat: Sequence[float]
    ) -> None:
        reader = ImuReader(state)
        reader.read(imu(ang_vel=1.0))
        with pytest.raises(RobotError, match="expected an orientation"):
            reader.read(imu(quat, ang_vel=5.0))
        assert state["ang_vel_body"][0] == 1.0

    def test_orientation_that_is_said_to_be_unknown_is_refused(self, state: RobotState) -> None:
        message = imu()
        message.orientation_covariance[0] = -1.0
        with pytest.raises(RobotError, match="must fuse one"):
            ImuReader(state).read(message)

    @pytest.mark.parametrize("value", [NAN, math.inf])
    def test_what_is_not_finite_goes_through_to_the_guard(
        self, state: RobotState, value: float
    ) -> None:
        ImuReader(state).read(imu((value, 0.0, 0.0, 1.0)))
        assert not math.isfinite(state["quat_xyzw"][0])

    def test_policy_without_orientation_takes_an_imu_without_one(self, tmp_path: Path) -> None:
        state = RobotState(with_terms(tmp_path, "base_ang_vel", size=3))
        ImuReader(state).read(imu((0.0, 0.0, 0.0, 0.0), ang_vel=1.0))
        assert state["ang_vel_body"][0] == 1.0


def test_odometry_gives_the_velocity_in_the_body_frame(tmp_path: Path) -> None:
    state = RobotState(with_terms(tmp_path, "base_lin_vel", size=3))
    message = Odometry()
    message.twist.twist.linear = Vector3(x=1.0, y=2.0, z=3.0)
    OdometryReader(state).read(message)
    assert state["lin_vel_body"].tolist() == [1.0, 2.0, 3.0]


def test_external_vector_is_taken_whole(tmp_path: Path) -> None:
    state = RobotState(load_bundle(write_external_bundle(tmp_path / "b")).contract)
    VectorReader("scan", state).read(Float32MultiArray(data=[1.0, 2.0, 3.0]))
    assert state["external:scan"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 4])
def test_external_vector_of_another_size_is_refused(tmp_path: Path, values: list[float]) -> None:
    state = RobotState(load_bundle(write_external_bundle(tmp_path / "b")).contract)
    reader = VectorReader("scan", state)
    reader.read(Float32MultiArray(data=[1.0, 2.0, 3.0]))
    with pytest.raises(RobotError, match=f"expected 3 values, found {len(values)}"):
        reader.read(Float32MultiArray(data=values))
    assert state["external:scan"].tolist() == [1.0, 2.0, 3.0]


def test_velocity_comes_from_twist_and_from_stamped_twist() -> None:
    twist = Twist(linear=Vector3(x=1.0, y=2.0, z=9.0), angular=Vector3(x=9.0, z=3.0))
    assert velocity_of(twist) == (1.0, 2.0, 3.0)
    assert velocity_of(TwistStamped(twist=twist)) == (1.0, 2.0, 3.0)


def test_stamp_counts_from_the_clocks_zero() -> None:
    message = JointState()
    message.header.stamp = stamp(12_345_678_901)
    assert stamp_ns(message) == 12_345_678_901


def test_message_without_header_or_stamp_has_none() -> None:
    assert stamp_ns(Float32MultiArray()) is None
    assert stamp_ns(JointState()) is None
