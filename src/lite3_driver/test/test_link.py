# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Taking control and giving it back, and what is sent meanwhile: in explicit time."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from lite3_driver import wire
from lite3_driver.wire import FOLD, GIVE_BACK, STATE_PORT, TAKE_CONTROL, Lite3State
from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording

from .lockstep import FOLD_S, HOST, LYING, OUTSIDE, PORT, STAND, STANDING, Lockstep, braking


def test_the_robot_is_given_its_time_to_fold_before_control_is_taken() -> None:
    robot = Lockstep(fold_s=7.0)
    robot.take()
    asked_ms = robot.now_ms
    robot.run(6.99)
    assert robot.requests == [(asked_ms, FOLD)]
    assert robot.command_times_ms() == []
    assert robot.phase() is DriverPhase.TAKING
    robot.run(0.02)
    taken_ms = asked_ms + 7000
    assert robot.requests == [(asked_ms, FOLD), (taken_ms, TAKE_CONTROL), (taken_ms, TAKE_CONTROL)]
    assert robot.command_times_ms()[0] == taken_ms
    assert braking(robot.newest)


def test_taking_control_is_answered_when_the_host_was_found_to_obey() -> None:
    robot = Lockstep()
    robot.take()
    robot.run(FOLD_S + 0.4)
    assert robot.answers == []
    robot.run(0.2)
    assert [(each.request, each.success) for each in robot.answers] == [("take_control", True)]


def test_too_few_states_are_named_with_their_port_and_a_remedy() -> None:
    robot = Lockstep()
    robot.run(1.0)
    robot.state = None
    for _ in range(20):
        robot.run(0.05)
        robot.tell(LYING)
    (obstacle,) = robot.link.obstacles(robot.now_ns)
    expected = rf"2[01] state frames .* expected 200..5000 at .*:{STATE_PORT} for {HOST}: .*busy"
    assert re.match(expected, obstacle)


def test_giving_back_brakes_for_two_seconds_first(robot: Lockstep) -> None:
    robot.link.release("asked", robot.now_ns)
    asked_ms = robot.now_ms
    robot.run(1.99)
    assert robot.phase() is DriverPhase.RELEASING
    assert robot.requests == []
    assert all(
        braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
        for at_ms, data in robot.sent
        if at_ms > asked_ms
    )
    robot.run(0.02)
    assert robot.requests == [(asked_ms + 2000, GIVE_BACK)]
    assert [(each.request, each.success) for each in robot.answers] == [("release_control", True)]
    count = len(robot.sent)
    robot.run(5.0)
    assert len(robot.sent) == count


@pytest.mark.parametrize(
    "state",
    [
        LYING._replace(joint_pos=OUTSIDE),
        LYING._replace(joint_pos=STANDING),
        LYING._replace(joint_vel=np.full(12, 0.4)),
        LYING._replace(ang_vel=np.array([0.0, 0.3, 0.0])),
        LYING._replace(rpy=np.array([0.5, 0.0, 0.0])),
        None,
    ],
)
def test_control_is_refused(state: Lite3State | None) -> None:
    robot = Lockstep()
    robot.state = state
    robot.take()
    robot.run(3.0)
    assert robot.sent == []
    assert not robot.answers[0].success
    check_wording(robot.answers[0].message)


def test_all_reasons_to_refuse_control_are_said_at_once() -> None:
    robot = Lockstep(angular_velocity_checked=False)
    robot.state = LYING._replace(joint_pos=STANDING, joint_vel=np.ones(12))
    robot.mode = STAND
    robot.run(1.0)
    robot.link.take(("another node publishes joint_command",), robot.now_ns)
    robot.step()
    check_wording(robot.answers[0].message)


def test_a_turn_that_is_heard_of_late_passes_all_the_same() -> None:
    robot = Lockstep(angular_velocity_checked=False)
    robot.run(1.0)
    for i in range(1000):
        # All within 20 ms, after a second in which this machine did something else.
        turning = LYING._replace(
            tick=robot.now_ms + i,
            imu_stamp_ms=i,
            ang_vel=np.eye(3)[2],
            rpy=np.array([0.0, 0.0, i / 1000]),
        )
        robot.link.receive(wire.write_state(turning), (HOST, PORT), robot.now_ns + i * 20_000)
    assert robot.link.report(robot.now_ns).details["yaw_rate_ratio"] == pytest.approx(1.0, abs=0.02)


def test_a_host_of_another_firmware_is_named_by_its_codes() -> None:
    robot = Lockstep()
    robot.state = None
    for code in (0x0901, 0x0907):
        frame = code.to_bytes(4, "little") + wire.write_state(LYING)[4:]
        robot.link.receive(frame, ("10.0.0.1", 1), robot.now_ns)
    robot.take()
    assert "0x0901, 0x0907" in robot.answers[0].message


def _asked_to_give_back(robot: Lockstep) -> None:
    robot.link.release("given back", robot.now_ns)


def _asked_to_damp(robot: Lockstep) -> None:
    robot.link.damp("e-stop", robot.now_ns)


def _host_falls_silent(robot: Lockstep) -> None:
    robot.state = None
    robot.run(1.1)


def _host_restarts(robot: Lockstep) -> None:
    robot.run(0.2)
    restarted = LYING._replace(tick=4, imu_stamp_ms=4)
    robot.state = None
    robot.run(0.2)
    robot.link.receive(wire.write_state(restarted), (HOST, PORT), robot.now_ns)


def _host_refuses(robot: Lockstep) -> None:
    robot.link.failed("nothing listens there", robot.now_ns)


def _robot_stands_up(robot: Lockstep) -> None:
    robot.state = LYING._replace(joint_pos=STANDING)
    robot.run(3.0)


@pytest.mark.parametrize(
    "event",
    [
        _asked_to_give_back,
        _asked_to_damp,
        _host_falls_silent,
        _host_restarts,
        _host_refuses,
        _robot_stands_up,
    ],
)
def test_whatever_ends_the_fold_brakes_the_legs_and_gives_control_back(
    event: Callable[[Lockstep], None],
) -> None:
    robot = Lockstep(fold_s=3.0)
    robot.take()
    robot.run(0.3)
    event(robot)
    robot.step()
    assert robot.phase() is DriverPhase.RELEASING
    assert [(each.request, each.success) for each in robot.answers] == [("take_control", False)]
    check_wording(robot.answers[0].message)
    robot.run(2.1)
    assert [code for _, code in robot.requests] == [FOLD, TAKE_CONTROL, TAKE_CONTROL, GIVE_BACK]
    assert len(robot.command_times_ms()) == 1000
    assert all(
        braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
        for _, data in robot.sent
        if wire.read_code(data) == wire.COMMAND
    )
    assert robot.phase() is DriverPhase.LISTENING
    check_wording(robot.link.reason)


def test_a_host_that_stutters_while_the_robot_folds_is_taken() -> None:
    robot = Lockstep(fold_s=7.0)
    robot.take()
    robot.state = None
    robot.run(0.5)
    robot.state = LYING
    robot.run(7.1)
    assert robot.answers[0].success


def test_torques_that_stay_show_that_another_controller_is_in_charge() -> None:
    robot = Lockstep()
    robot.state = LYING._replace(joint_effort=np.full(12, 4.0))
    robot.take()
    robot.run(FOLD_S + 0.6)
    assert robot.phase() is DriverPhase.RELEASING
    check_wording(robot.answers[0].message)
    robot.run(2.0)
    assert robot.requests[-1][1] == GIVE_BACK
