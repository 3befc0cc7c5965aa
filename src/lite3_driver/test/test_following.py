# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which commands are followed, for how long, and what is sent for them: in explicit time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lite3_driver import wire
from lite3_driver.wire import COMMAND_FIELDS
from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording

from .lockstep import (
    DAMP,
    FOLDED,
    LYING,
    MS,
    OUTSIDE,
    RUN,
    STAND,
    STANDING,
    TORQUE_OFF,
    Lockstep,
    braking,
    lite3_command,
)

STIFFNESS, EFFORT = COMMAND_FIELDS.index("stiffness"), COMMAND_FIELDS.index("effort")


def test_a_command_is_sent_at_once_and_then_repeated(robot: Lockstep) -> None:
    robot.mode = None
    robot.run(0.001 * 2)
    robot.sent.clear()
    robot.command(RUN, position=FOLDED + 0.1)
    assert len(robot.sent) == 1
    robot.run(0.05)
    assert robot.newest[:, 0] == pytest.approx(FOLDED + 0.1)
    assert len(robot.sent) == 26


def test_an_expired_command_is_never_sent_again(robot: Lockstep) -> None:
    last_ms = robot.now_ms
    robot.mode = None
    robot.run(1.0)
    stiff_ms = [
        at_ms
        for at_ms, data in robot.sent
        if not braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
    ]
    assert max(stiff_ms) < last_ms + 100
    assert robot.phase() is DriverPhase.DAMPING
    assert "expired" in robot.link.reason
    assert np.diff(robot.command_times_ms()).max() <= 2


def _estop(robot: Lockstep) -> None:
    robot.link.damp("e-stop", robot.now_ns)


def _policy_stalls(robot: Lockstep) -> None:
    robot.mode = None
    robot.run(0.2)
    robot.mode = RUN


def _state_lost(robot: Lockstep) -> None:
    robot.state = None
    robot.run(0.2)
    robot.state = LYING


def _policy_restarts(robot: Lockstep) -> None:
    robot.sequence = 0


def _another_policy_ahead(robot: Lockstep) -> None:
    robot.sequence += 200


@pytest.mark.parametrize(
    "event", [_estop, _policy_stalls, _state_lost, _policy_restarts, _another_policy_ahead]
)
def test_after_a_stop_a_running_policy_is_not_followed_until_it_has_damped(
    robot: Lockstep, event: Callable[[Lockstep], None]
) -> None:
    event(robot)
    robot.run(0.3)
    assert robot.phase() is DriverPhase.DAMPING
    assert braking(robot.newest)
    robot.mode = DAMP
    robot.run(0.1)
    robot.mode = RUN
    robot.run(0.1)
    assert robot.phase() is DriverPhase.FOLLOWING


def test_a_sender_in_damp_does_not_let_another_one_through(robot: Lockstep) -> None:
    robot.mode = None
    robot.run(0.3)
    running, damping = robot.sequence, 5_000
    for _ in range(50):
        robot.sequence = damping
        robot.command(DAMP)
        damping = robot.sequence
        robot.run(0.01)
        robot.sequence = running
        robot.command(RUN)
        running = robot.sequence
        robot.run(0.01)
    assert all(
        braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
        for at_ms, data in robot.sent
        if at_ms > robot.now_ms - 900
    )
    assert "another sender" in robot.link.reason


def test_a_few_lost_commands_are_no_other_sender(robot: Lockstep) -> None:
    robot.sequence += 90
    robot.run(0.1)
    assert robot.phase() is DriverPhase.FOLLOWING


def test_a_sender_that_counted_on_while_the_estop_was_pressed_is_no_other_sender(
    robot: Lockstep,
) -> None:
    robot.mode = None
    robot.link.damp("the e-stop was pressed", robot.now_ns)
    robot.run(7.0)
    robot.sequence += 353
    robot.link.damp("the e-stop was released", robot.now_ns)
    robot.command(DAMP)
    assert robot.phase() is DriverPhase.FOLLOWING


def test_after_a_silence_a_sequence_that_no_sender_can_have_counted_is_another_sender(
    robot: Lockstep,
) -> None:
    robot.mode = None
    robot.run(1.0)
    robot.sequence += 2000
    robot.command(DAMP)
    assert robot.phase() is DriverPhase.DAMPING
    assert "another sender" in robot.link.reason


def test_each_joint_begins_near_its_pose() -> None:
    robot = Lockstep()
    robot.in_control(DAMP)
    robot.mode = None
    robot.command(STAND, stiffness=np.eye(12)[0] * 1e-6)
    assert robot.phase() is DriverPhase.FOLLOWING
    robot.command(STAND, position=STANDING)
    robot.run(0.002)
    assert robot.phase() is DriverPhase.DAMPING
    assert braking(robot.newest)
    check_wording(robot.link.reason)


@pytest.mark.parametrize("stiffness", [1e-6, 20.0])
def test_stiffness_that_grows_begins_near_the_pose(stiffness: float) -> None:
    robot = Lockstep()
    robot.in_control(DAMP)
    robot.mode = None
    robot.command(STAND, stiffness=stiffness)
    assert robot.phase() is DriverPhase.FOLLOWING
    robot.command(STAND, position=STANDING, stiffness=100.0)
    robot.run(0.002)
    assert braking(robot.newest)
    check_wording(robot.link.reason)


@pytest.mark.parametrize(
    "numbers",
    [
        {"velocity": 20.0, "damping": 5.0},
        {"effort": 6.0},
        {"stiffness": 0.0, "effort": -6.0},
        {"stiffness": 0.9, "effort": 6.0},
    ],
)
def test_a_joint_does_not_begin_with_velocity_or_effort(numbers: dict[str, float]) -> None:
    robot = Lockstep()
    robot.in_control(DAMP)
    robot.mode = None
    robot.command(STAND, stiffness=1e-6)
    robot.command(RUN, **numbers)
    robot.run(0.01)
    assert robot.phase() is DriverPhase.DAMPING
    check_wording(robot.link.reason)


@pytest.mark.parametrize(
    "numbers",
    [
        {"position": np.full(12, np.nan)},
        {"position": np.full(12, 1e39), "stiffness": 0.0},
        {"velocity": -1e39},
        {"damping": np.inf},
        {"stiffness": 1e39},
        {"stiffness": 301.0},
        {"damping": 20.5},
        {"effort": 73.0},
        {"position": OUTSIDE},
        {"damping": -1.0},
        {"effort_limit": -1.0},
        {"effort_limit": np.inf},
        {"valid_for_ns": 0},
        {"valid_for_ns": 1001 * MS},
    ],
)
def test_a_command_that_is_wrong_is_refused_and_the_one_before_stays(
    robot: Lockstep, numbers: dict[str, object]
) -> None:
    robot.mode = None
    robot.command(**{"mode": RUN, **numbers})  # type: ignore[arg-type]
    robot.run(0.05)
    report = robot.link.report(robot.now_ns)
    assert report.details["command_refused"] == 1
    check_wording(str(report.details["command_refusal"]))
    assert robot.phase() is DriverPhase.FOLLOWING
    assert robot.newest[:, 0] == pytest.approx(FOLDED)


@pytest.mark.parametrize(
    "numbers", [{"stiffness": 1.0}, {"effort": 1.0}, {"velocity": 1.0}, {"damping": 1e38}]
)
def test_a_command_in_damp_that_is_wrong_brakes(robot: Lockstep, numbers: dict[str, float]) -> None:
    robot.mode = None
    robot.command(DAMP, **numbers)
    robot.run(0.002)
    assert braking(robot.newest)
    check_wording(robot.link.reason)
    robot.mode = RUN
    robot.run(0.1)
    assert robot.phase() is DriverPhase.DAMPING


@pytest.mark.parametrize(
    "numbers",
    [
        {"stiffness": 0.0, "damping": 0.0},
        {"stiffness": 0.0, "damping": 1e-9},
        {"effort_limit": 0.0, "position": FOLDED - 0.1},
    ],
)
def test_what_would_leave_the_robot_limp_is_sent_as_braking(
    robot: Lockstep, numbers: dict[str, object]
) -> None:
    robot.mode = None
    robot.command(TORQUE_OFF, **numbers)
    robot.run(0.01)
    assert braking(robot.newest)


@pytest.mark.parametrize("effort", [0.0, 8.0])
def test_the_effort_limit_is_kept_and_nothing_is_added(robot: Lockstep, effort: float) -> None:
    robot.mode = None
    velocity = np.linspace(-3.0, 3.0, 12)
    assert robot.state is not None
    robot.state = robot.state._replace(joint_vel=velocity)
    robot.run(0.01)
    robot.command(RUN, position=FOLDED - 0.5, effort_limit=10.0, effort=effort)
    sent = robot.newest
    law = (
        sent[:, STIFFNESS] * (sent[:, 0] - FOLDED)
        + sent[:, 4] * (sent[:, 1] - velocity)
        + sent[:, EFFORT]
    )
    wanted = 30.0 * -0.5 - 1.0 * velocity + effort
    assert law == pytest.approx(np.clip(wanted, -10.0, 10.0), abs=1e-4)
    assert (np.abs(sent[:, STIFFNESS:]) <= [30.0, 1.0]).all()
    assert (np.abs(sent[:, EFFORT]) <= effort).all()
    assert effort or (np.abs(wanted) > 10.0).any()


def test_a_state_that_cannot_be_has_no_effect(robot: Lockstep) -> None:
    assert robot.state is not None
    robot.state = robot.state._replace(joint_pos=FOLDED + np.eye(12)[2] * 5.0)
    robot.run(0.05)
    assert robot.newest[2] == pytest.approx([FOLDED[2], 0.0, 0.0, 30.0, 1.0])
    assert robot.link.report(robot.now_ns).details["implausible"] == 12
    robot.run(0.1)
    assert robot.phase() is DriverPhase.DAMPING


def test_latency_is_from_receipt_to_the_first_frame(robot: Lockstep) -> None:
    robot.mode = None
    robot.run(0.002)
    for _ in range(200):
        robot.sequence += 1
        made = lite3_command(robot.sequence, RUN, robot.now_ns - 3 * MS)
        robot.link.follow(made, robot.now_ns)
        robot.step()
        robot.run(0.01)
    assert robot.link.report(robot.now_ns).latency_p50_s == pytest.approx(0.003)
