# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of an arm in explicit time: prepared, held, faults of servos, given back."""

from dataclasses import replace

import numpy as np
import pytest

from lerobot_arm_driver.arms import ARMS, ArmSettings
from lerobot_arm_driver.frames import (
    GIVE_BACK,
    PREPARE,
    ArmState,
    pack_state,
    read_goal,
    read_state,
)
from lerobot_arm_driver.robot import ServoArm
from robot_driver.interfaces import (
    F64,
    MODE_DAMP,
    MODE_HOLD_MEASURED,
    POSITION,
    STIFFNESS,
    DriverPhase,
    WireCommand,
)
from robot_driver.link import Link
from testkit.wording import check_wording

MS = 1_000_000
RUN = 3
OVERLOAD = 1 << 5
JOINTS = ARMS["so101"].joint_names
ELBOW, GRIPPER = JOINTS.index("elbow_flex"), JOINTS.index("gripper")
MEASURED = np.array([0.1, -1.0, 0.6, 1.4, -1.5, 0.2])
CALM = ArmState(
    tick=0,
    configured=False,
    joint_pos=MEASURED,
    joint_vel=np.zeros(6),
    joint_effort=np.zeros(6),
    temperature_c=np.full(6, 31.0),
    voltage_v=np.array([7.4, 7.4, 7.4, 7.3, 7.4, 7.4]),
    status=np.zeros(6, np.int64),
    holds=np.zeros(6, bool),
)


class Bench:
    """A link with servos that do what they are asked at once."""

    def __init__(self) -> None:
        self.link = Link(ServoArm(ArmSettings()), 0)
        self.state = CALM
        self.now_ms = 0
        self.sent: list[bytes] = []
        self._sequence = 0
        self.prepares = True

    @property
    def goal(self) -> F64:
        """The newest goals [6], rad; NaN: hold."""
        return next(goal for frame in reversed(self.sent) if (goal := read_goal(frame)) is not None)

    def phase(self) -> DriverPhase:
        return self.link.phase

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 60)):
            self.now_ms += 16
            state = self.state._replace(tick=self.now_ms)
            self.link.receive(pack_state(state), ("servos", 0), self.now_ms * MS)
            self.step()

    def step(self) -> None:
        frames = self.link.step(self.now_ms * MS)
        self.link.sent(self.now_ms * MS)
        self.sent += frames
        if PREPARE in frames and self.prepares:
            self.state = self.state._replace(configured=True, holds=np.ones(6, bool))
        if GIVE_BACK in frames:
            self.state = self.state._replace(configured=False)

    def ask(self) -> str:
        """Ask for control; return why it was refused."""
        self.link.take((), self.now_ms * MS)
        self.step()
        answer = self.link.report(self.now_ms * MS).answer
        return "" if answer is None or answer.success else answer.message

    def take(self) -> None:
        self.run(1.5)
        assert self.ask() == ""
        self.run(0.5)

    def command(self, mode: int, position: F64, stiffness: float = 17.8, **more: object) -> None:
        self._sequence += 1
        values = np.zeros((6, 5))
        values[:, POSITION], values[:, STIFFNESS] = position, stiffness
        made = WireCommand(
            sequence=self._sequence,
            mode=mode,
            valid_for_ns=100 * MS,
            values=values,
            effort_limit=np.full(6, 1.91),
            received_ns=self.now_ms * MS,
        )
        self.link.follow(replace(made, **more), self.now_ms * MS)  # type: ignore[arg-type]
        self.step()

    def follow(self) -> None:
        self.take()
        self.command(MODE_HOLD_MEASURED, MEASURED)
        self.command(RUN, MEASURED + 0.1)
        assert self.phase() is DriverPhase.FOLLOWING


@pytest.fixture
def following_arm() -> Bench:
    """An arm that follows."""
    made = Bench()
    made.follow()
    return made


def test_a_state_is_the_same_after_its_way_between_processes() -> None:
    state = CALM._replace(tick=7, configured=True, status=np.array([0, 0, OVERLOAD, 0, 1, 0]))

    for sent, got in zip(state, read_state(pack_state(state)), strict=True):
        assert np.array_equal(np.asarray(sent), np.asarray(got))


def test_nothing_is_sent_before_control_is_asked_for_and_then_servos_are_prepared_first() -> None:
    bench = Bench()
    bench.prepares = False
    bench.run(1.5)
    assert bench.sent == []

    assert bench.ask() == ""
    bench.run(1.0)
    assert (bench.phase(), bench.sent) == (DriverPhase.TAKING, [PREPARE])
    bench.state = bench.state._replace(configured=True, holds=np.ones(6, bool))
    bench.run(0.1)

    assert bench.phase() is DriverPhase.DAMPING
    assert np.isnan(bench.goal).all()


def test_servos_that_do_not_hold_in_time_are_given_back() -> None:
    bench = Bench()
    bench.prepares = False
    bench.run(1.5)
    bench.ask()

    bench.run(6.0)

    assert bench.phase() is DriverPhase.LISTENING
    assert bench.sent[-1] == GIVE_BACK
    answer = bench.link.report(bench.now_ms * MS).answer
    assert answer is not None
    check_wording(answer.message)


def test_targets_are_followed_from_holding_on_and_the_arm_holds_after_their_time(
    following_arm: Bench,
) -> None:
    assert following_arm.goal == pytest.approx(MEASURED + 0.1)

    following_arm.run(0.2)

    assert following_arm.phase() is DriverPhase.DAMPING
    assert np.isnan(following_arm.goal).all()


def test_a_joint_without_stiffness_is_asked_to_hold_where_it_is(following_arm: Bench) -> None:
    following_arm.command(MODE_DAMP, MEASURED, stiffness=0.0)

    assert np.isnan(following_arm.goal).all()


@pytest.mark.parametrize(
    ("status", "holds"),
    [(OVERLOAD, True), (1, True), (0, False)],
    ids=["overload", "voltage", "no torque"],
)
def test_a_servo_that_fails_ends_following_until_it_is_well_and_the_arm_was_held(
    following_arm: Bench, status: int, holds: bool
) -> None:
    well = following_arm.state
    bad, torque = well.status.copy(), well.holds.copy()
    bad[ELBOW], torque[ELBOW] = status, holds
    following_arm.state = well._replace(status=bad, holds=torque)
    following_arm.run(0.05)

    assert following_arm.phase() is DriverPhase.DAMPING
    check_wording(following_arm.link.reason)
    following_arm.command(RUN, MEASURED)
    assert following_arm.phase() is DriverPhase.DAMPING


def test_a_gripper_that_presses_is_no_fault_since_its_servo_protects_itself(
    following_arm: Bench,
) -> None:
    status = following_arm.state.status.copy()
    status[GRIPPER] = OVERLOAD
    following_arm.state = following_arm.state._replace(status=status)
    following_arm.command(RUN, MEASURED)
    following_arm.run(0.05)

    assert following_arm.phase() is DriverPhase.FOLLOWING
    assert (
        following_arm.link.report(following_arm.now_ms * MS).details["gripper_overload"]
        == "gripper"
    )


def test_a_servo_that_reports_a_fault_is_a_reason_to_refuse_control() -> None:
    bench = Bench()
    status = CALM.status.copy()
    status[ELBOW] = OVERLOAD
    bench.state = CALM._replace(status=status)
    bench.run(1.5)

    check_wording(bench.ask())


def test_a_pose_that_no_arm_has_is_no_state() -> None:
    bench = Bench()
    bench.state = CALM._replace(joint_pos=MEASURED + np.array([0, 0, 4.0, 0, 0, 0]))
    bench.run(1.5)

    check_wording(bench.ask())


def test_the_lowest_voltage_is_reported() -> None:
    bench = Bench()
    bench.run(0.1)

    assert bench.link.report(bench.now_ms * MS).details["lowest_voltage_v"] == pytest.approx(7.3)
