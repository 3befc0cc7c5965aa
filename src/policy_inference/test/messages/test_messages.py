# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages become state by name, or an error that says what does not fit."""

import math
from array import array
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from policy_core.errors import RobotError
from policy_core.observation.state import RobotState
from policy_inference.messages.readers import (
    JointOrder,
    JointStateReader,
    MessageReader,
    VectorReader,
    stamp_ns,
    state_reader,
)
from testkit.kernel.contracts import JOINTS, contract_of, observed
from testkit.wording import refusal

NAMES = ["left", "right"]
TWO_JOINTS = {
    "joints.names": NAMES,
    "joints.default_position": 0.0,
    "stand.position": 0.0,
    "action.terms": [{"joints": NAMES, "kind": "position"}],
}


@pytest.fixture
def legs_state() -> RobotState:
    return RobotState(contract_of(TWO_JOINTS))


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, z=z)


def stamp_header(sec: int = 0, nanosec: int = 0) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))


def joint_message(
    names: Sequence[str], position: Sequence[float], velocity: Sequence[float]
) -> SimpleNamespace:
    return SimpleNamespace(
        name=list(names), position=array("d", position), velocity=array("d", velocity)
    )


def imu(quat_xyzw: Sequence[float] = (0.0, 0.0, 0.0, 1.0), ang_vel: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        orientation=SimpleNamespace(**dict(zip("xyzw", quat_xyzw, strict=True))),
        orientation_covariance=[0.0] * 9,
        angular_velocity=vector(ang_vel, 2.0, 3.0),
    )


def imu_reader(state: RobotState) -> MessageReader:
    return state_reader("imu/data", NAMES, state)


def scan_message(values: Sequence[float]) -> SimpleNamespace:
    return SimpleNamespace(data=array("f", values))


class TestJointState:
    @pytest.mark.parametrize(
        ("names", "position", "velocity"),
        [
            (["left"], [1.0], [1.0]),
            (["left", "right"], [1.0, 1.0], []),
            (["left", "right"], [1.0, 1.0], [1.0]),
            (["left", "right"], [1.0], [1.0]),
        ],
    )
    def test_message_that_does_not_fit_is_refused_and_writes_nothing(
        self, legs_state: RobotState, names: list[str], position: list[float], velocity: list[float]
    ) -> None:
        reader = JointStateReader(NAMES, legs_state)
        reader.read(joint_message(NAMES, [0.1, 0.2], [0.3, 0.4]))
        with refusal(RobotError):
            reader.read(joint_message(names, position, velocity))
        assert legs_state["joint_pos"].tolist() == [0.1, 0.2]
        assert legs_state["joint_vel"].tolist() == [0.3, 0.4]


class TestImu:
    def test_orientation_and_rate_are_taken_as_the_names_say(self, legs_state: RobotState) -> None:
        imu_reader(legs_state).read(imu((0.1, 0.2, 0.3, math.sqrt(0.86)), 1.0))
        np.testing.assert_allclose(legs_state["quat_xyzw"], (0.1, 0.2, 0.3, math.sqrt(0.86)))
        assert legs_state["ang_vel_body"].tolist() == [1.0, 2.0, 3.0]

    @pytest.mark.parametrize(
        ("quat", "covariance"),
        [((0.0, 0.0, 0.0, 0.0), 0.0), ((0.0, 0.0, 0.0, 2.0), 0.0), ((0.0, 0.0, 0.0, 1.0), -1.0)],
    )
    def test_orientation_that_is_not_given_is_refused_and_writes_nothing(
        self, legs_state: RobotState, quat: Sequence[float], covariance: float
    ) -> None:
        reader = imu_reader(legs_state)
        reader.read(imu(ang_vel=1.0))
        message = imu(quat, ang_vel=5.0)
        message.orientation_covariance[0] = covariance
        with refusal(RobotError):
            reader.read(message)
        assert legs_state["ang_vel_body"][0] == 1.0

    def test_what_is_not_finite_goes_through_to_the_guard(self, legs_state: RobotState) -> None:
        imu_reader(legs_state).read(imu((math.nan, 0.0, 0.0, 1.0)))
        assert not math.isfinite(legs_state["quat_xyzw"][0])

    def test_policy_without_orientation_takes_an_imu_without_one(self) -> None:
        state = RobotState(observed([{"term": "base_ang_vel"}]))
        imu_reader(state).read(imu((0.0, 0.0, 0.0, 0.0), ang_vel=1.0))
        assert state["ang_vel_body"][0] == 1.0


def test_external_vector_of_another_size_is_refused() -> None:
    state = RobotState(observed([{"term": "external", "topic": "scan", "size": 3}]))
    reader = VectorReader("scan", state)
    reader.read(scan_message([1.0, 2.0, 3.0]))
    with refusal(RobotError):
        reader.read(scan_message([1.0] * 4))
    assert state["external:scan"].tolist() == [1.0, 2.0, 3.0]


LIVE = {
    "observations": {
        "obs": {"terms": [{"term": "motion_joint_pos"}, {"term": "motion_joint_vel"}]}
    },
    "motion": {"live": {"timeout_s": 0.1}},
}


def motion_frame(names: Sequence[str], position: object, velocity: object = (0.0,) * 3) -> object:
    return SimpleNamespace(name=list(names), position=position, velocity=velocity)


def test_a_live_motion_is_matched_by_name_and_may_have_more_joints() -> None:
    state = RobotState(contract_of(LIVE))
    names = ["tail", *reversed(JOINTS)]
    reader = state_reader("motion/joints", JOINTS, state)
    reader.read(motion_frame(names, [9.0, 0.3, 0.2, 0.1], [9.0, 3.0, 2.0, 1.0]))
    assert state["live_joint_pos"].tolist() == [0.1, 0.2, 0.3]
    assert state["live_joint_vel"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "frame",
    [
        motion_frame(["tail", *JOINTS[1:]], [0.5] * 3),
        motion_frame(JOINTS, [0.5, math.nan, 0.5]),
        motion_frame(JOINTS, [0.5] * 3, []),
        motion_frame(JOINTS, [0.5] * 2),
    ],
    ids=["other joints", "NaN", "no velocities", "too few"],
)
def test_a_frame_of_a_live_motion_that_does_not_fit_changes_nothing(frame: object) -> None:
    state = RobotState(contract_of(LIVE))
    reader = state_reader("motion/joints", JOINTS, state)
    reader.read(motion_frame(JOINTS, [0.1, 0.2, 0.3]))
    with refusal(RobotError):
        reader.read(frame)
    assert state["live_joint_pos"].tolist() == [0.1, 0.2, 0.3]


def test_stamp_counts_from_the_clocks_zero_and_none_is_none() -> None:
    assert stamp_ns(SimpleNamespace(header=stamp_header(12, 345_678_901))) == 12_345_678_901
    assert stamp_ns(scan_message([])) is None
    assert stamp_ns(SimpleNamespace(header=stamp_header())) is None


@pytest.mark.parametrize("names", [("hip", "gripper", "hip"), (), ("hip", "knee")], ids=",".join)
def test_missing_and_doubled_joints_are_named_each_time_and_nothing_is_written(
    names: tuple[str, ...],
) -> None:
    order, out = JointOrder(JOINTS), np.full(3, 7.0)
    for _ in range(2):
        with refusal(RobotError):
            order.take(list(names), np.zeros(len(names)), out)
    assert out.tolist() == [7.0, 7.0, 7.0]
    order.take(["knee", "hip", "ankle"], np.array([2.0, 1.0, 3.0]), out)
    assert out.tolist() == [1.0, 2.0, 3.0]
