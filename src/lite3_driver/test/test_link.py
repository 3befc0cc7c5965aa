# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Who is in control, what is sent, and when: in explicit time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lite3_driver import wire
from lite3_driver.interfaces import Phase
from lite3_driver.wire import COMMAND_FIELDS, FOLD, GIVE_BACK, TAKE_CONTROL, State

from .lockstep import (
    DAMP,
    FOLD_S,
    FOLDED,
    HOST,
    LYING,
    MS,
    PORT,
    RUN,
    STAND,
    TORQUE_OFF,
    Lockstep,
    braking,
    command,
)

STIFFNESS, EFFORT = COMMAND_FIELDS.index("stiffness"), COMMAND_FIELDS.index("effort")


def test_nothing_is_sent_before_control_is_asked_for() -> None:
    robot = Lockstep()
    robot.mode = RUN

    robot.run(3.0)

    assert robot.sent == []
    assert robot.phase() is Phase.LISTENING


def test_the_robot_is_given_its_time_to_fold_before_control_is_taken() -> None:
    robot = Lockstep(fold_s=7.0)

    robot.take()
    asked_ms = robot.now_ms
    robot.run(6.99)

    assert robot.requests == [(asked_ms, FOLD)]
    assert robot.command_times_ms() == []
    assert robot.phase() is Phase.TAKING
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


def test_frames_go_out_steadily_from_taking_control_to_giving_it_back() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.run(1.0)
    robot.mode = None
    robot.run(1.0)
    robot.link.release("asked", robot.now_ns)
    robot.run(2.1)

    times_ms = robot.command_times_ms()

    assert np.diff(times_ms).max() <= 2
    assert robot.requests == [(times_ms[-1] + 2, GIVE_BACK)]
    assert robot.link.report(robot.now_ns).largest_gap_s == pytest.approx(0.002)


def test_giving_back_brakes_for_two_seconds_first() -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    robot.link.release("asked", robot.now_ns)
    asked_ms = robot.now_ms
    robot.run(1.99)

    assert robot.phase() is Phase.RELEASING
    assert robot.requests == []
    assert all(braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
               for at_ms, data in robot.sent if at_ms > asked_ms)
    robot.run(0.02)
    assert robot.requests == [(asked_ms + 2000, GIVE_BACK)]
    assert [(each.request, each.success) for each in robot.answers] == [("release_control", True)]
    count = len(robot.sent)
    robot.run(5.0)
    assert len(robot.sent) == count


def test_giving_back_what_nobody_has_is_in_order_and_sends_nothing() -> None:
    robot = Lockstep()
    robot.run(1.0)

    robot.link.release("asked", robot.now_ns)
    robot.run(0.1)

    assert robot.answers[0].success
    assert robot.sent == []


OUTSIDE = FOLDED.copy()
OUTSIDE[5] = 3.0
STANDING = np.tile([0.0, -0.65, 1.3], 4)


@pytest.mark.parametrize(("state", "words"), [
    (LYING._replace(joint_pos=OUTSIDE), "FR_Knee_joint is at 3.00 rad"),
    (LYING._replace(joint_pos=STANDING), "does not lie folded"),
    (LYING._replace(joint_vel=np.full(12, 0.4)), "the robot moves"),
    (LYING._replace(ang_vel=np.array([0.0, 0.3, 0.0])), "the robot moves"),
    (LYING._replace(rpy=np.array([0.5, 0.0, 0.0])), "tilted by 0.50 rad"),
    (None, "network.toml"),
])  # fmt: skip
def test_control_is_refused(state: State | None, words: str) -> None:
    robot = Lockstep()
    robot.state = state

    robot.take()
    robot.run(3.0)

    assert robot.sent == []
    assert not robot.answers[0].success
    assert words in robot.answers[0].message


def test_all_that_speaks_against_control_is_said_at_once() -> None:
    robot = Lockstep(angular_velocity_checked=False)
    robot.state = LYING._replace(joint_pos=STANDING, joint_vel=np.ones(12))
    robot.mode = STAND
    robot.run(1.0)

    robot.link.take(("somebody else publishes joint_command",), robot.now_ns)
    robot.step()

    for words in ("FL_HipY_joint", "HR_Knee_joint", "the robot moves", "turn the robot by hand",
                  "not in MODE_DAMP", "somebody else publishes"):
        assert words in robot.answers[0].message


def test_a_turn_that_is_heard_of_late_passes_all_the_same() -> None:
    robot = Lockstep(angular_velocity_checked=False)
    robot.run(1.0)
    for i in range(1000):
        # All within 20 ms, after a second in which this machine did something else.
        turning = LYING._replace(tick=robot.now_ms + i, imu_stamp_ms=i, ang_vel=np.eye(3)[2],
                                 rpy=np.array([0.0, 0.0, i / 1000]))
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


@pytest.mark.parametrize(("event", "words"), [
    (_asked_to_give_back, "given back"),
    (_asked_to_damp, "e-stop"),
    (_host_falls_silent, "no state has come"),
    (_host_restarts, "restarted"),
    (_host_refuses, "nothing listens there"),
    (_robot_stands_up, "does not lie folded"),
])  # fmt: skip
def test_whatever_ends_the_fold_brakes_the_legs_and_gives_control_back(
        event: Callable[[Lockstep], None], words: str) -> None:
    robot = Lockstep(fold_s=3.0)
    robot.take()
    robot.run(0.3)

    event(robot)
    robot.step()
    assert robot.phase() is Phase.RELEASING
    assert [(each.request, each.success) for each in robot.answers] == [("take_control", False)]
    assert words in robot.answers[0].message
    robot.run(2.1)

    assert [code for _, code in robot.requests] == [FOLD, TAKE_CONTROL, TAKE_CONTROL, GIVE_BACK]
    assert len(robot.command_times_ms()) == 1000
    assert all(braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
               for _, data in robot.sent if wire.code_of(data) == wire.COMMAND)
    assert robot.phase() is Phase.LISTENING
    assert words in robot.link.reason


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

    assert robot.phase() is Phase.RELEASING
    assert "another controller is in charge" in robot.answers[0].message
    robot.run(2.0)
    assert robot.requests[-1][1] == GIVE_BACK


def test_following_waits_for_a_command_in_damp() -> None:
    robot = Lockstep()
    robot.in_control()

    robot.mode = RUN
    robot.run(0.5)
    assert robot.phase() is Phase.DAMPING
    assert braking(robot.newest)
    robot.mode = DAMP
    robot.run(0.04)
    assert robot.phase() is Phase.FOLLOWING
    assert "which damps" in robot.link.reason
    robot.mode = RUN
    robot.run(0.04)

    assert robot.newest[0, STIFFNESS] == 30.0


def test_a_command_is_sent_at_once_and_then_repeated() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None
    robot.run(0.001 * 2)
    robot.sent.clear()

    robot.command(RUN, position=FOLDED + 0.1)
    assert len(robot.sent) == 1
    robot.run(0.05)

    assert robot.newest[:, 0] == pytest.approx(FOLDED + 0.1)
    assert len(robot.sent) == 26


def test_an_expired_command_is_never_sent_again() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    last_ms = robot.now_ms
    robot.mode = None

    robot.run(1.0)

    stiff_ms = [at_ms for at_ms, data in robot.sent
                if not braking(wire.read_command(data).astype(float))]  # type: ignore[union-attr]
    assert max(stiff_ms) < last_ms + 100
    assert robot.phase() is Phase.DAMPING
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


@pytest.mark.parametrize("event", [_estop, _policy_stalls, _state_lost, _policy_restarts,
                                   _another_policy_ahead])
def test_after_a_stop_a_running_policy_is_not_followed_until_it_has_damped(
        event: Callable[[Lockstep], None]) -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    event(robot)
    robot.run(0.3)
    assert robot.phase() is Phase.DAMPING
    assert braking(robot.newest)

    robot.mode = DAMP
    robot.run(0.1)
    robot.mode = RUN
    robot.run(0.1)
    assert robot.phase() is Phase.FOLLOWING


def test_a_sender_in_damp_does_not_let_another_one_through() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
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

    assert all(braking(wire.read_command(data).astype(float))  # type: ignore[union-attr]
               for at_ms, data in robot.sent if at_ms > robot.now_ms - 900)
    assert "another sender" in robot.link.reason


def test_a_few_lost_commands_are_no_other_sender() -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    robot.sequence += 90
    robot.run(0.1)

    assert robot.phase() is Phase.FOLLOWING


def test_an_estop_brakes_at_once() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.sent.clear()

    robot.link.damp("e-stop", robot.now_ns)
    robot.step()

    assert braking(robot.newest)
    assert "e-stop" in robot.link.reason


def test_a_first_command_far_from_the_pose_is_not_followed() -> None:
    robot = Lockstep()
    robot.in_control(DAMP)

    robot.mode, robot.position = RUN, FOLDED + np.eye(12)[2] * -0.4
    robot.run(0.1)

    assert robot.phase() is Phase.DAMPING
    assert "FL_Knee_joint 0.40 rad" in robot.link.reason


def test_each_joint_begins_near_its_pose() -> None:
    robot = Lockstep()
    robot.in_control(DAMP)
    robot.mode = None

    robot.command(STAND, stiffness=np.eye(12)[0] * 1e-6)
    assert robot.phase() is Phase.FOLLOWING
    robot.command(STAND, position=STANDING)
    robot.run(0.002)

    assert robot.phase() is Phase.DAMPING
    assert braking(robot.newest)
    assert "the first command with stiffness" in robot.link.reason


@pytest.mark.parametrize("numbers", [
    {"velocity": 20.0, "damping": 5.0}, {"effort": 6.0}, {"stiffness": 0.0, "effort": -6.0}])
def test_a_joint_does_not_begin_with_velocity_or_effort(numbers: dict[str, float]) -> None:
    robot = Lockstep()
    robot.in_control(DAMP)

    robot.command(RUN, **numbers)
    robot.run(0.01)

    assert robot.phase() is Phase.DAMPING
    assert "by velocity and effort" in robot.link.reason


@pytest.mark.parametrize(("numbers", "words"), [
    ({"position": np.full(12, np.nan)}, "not finite"),
    ({"position": np.full(12, 1e39), "stiffness": 0.0}, "not finite"),
    ({"velocity": -1e39}, "not finite"),
    ({"damping": np.inf}, "not finite"),
    ({"stiffness": 1e39}, "not finite"),
    ({"effort": 73.0}, "effort of 73 N m"),
    ({"mode": DAMP, "stiffness": 1.0}, "MODE_DAMP"),
    ({"mode": DAMP, "stiffness": 0.0, "effort": 1.0}, "MODE_DAMP"),
    ({"mode": DAMP, "stiffness": 0.0, "velocity": 1.0}, "MODE_DAMP"),
    ({"position": OUTSIDE}, "FR_Knee_joint is sent to 3.00 rad"),
    ({"damping": -1.0}, "negative"),
    ({"effort_limit": -1.0}, "negative"),
    ({"effort_limit": np.inf}, "not finite"),
    ({"valid_for_ns": 0}, "valid_for"),
    ({"valid_for_ns": 1001 * MS}, "valid_for"),
])  # fmt: skip
def test_a_command_that_is_wrong_is_refused_and_the_one_before_stays(
        numbers: dict[str, object], words: str) -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None

    robot.command(**{"mode": RUN, **numbers})  # type: ignore[arg-type]
    robot.run(0.05)

    report = robot.link.report(robot.now_ns)
    assert report.details["command_refused"] == 1
    assert words in str(report.details["command_refusal"])
    assert robot.phase() is Phase.FOLLOWING
    assert robot.newest[:, 0] == pytest.approx(FOLDED)


@pytest.mark.parametrize("numbers", [
    {"stiffness": 0.0, "damping": 0.0}, {"stiffness": 0.0, "damping": 1e-9},
    {"effort_limit": 0.0, "position": FOLDED - 0.1}])
def test_what_would_leave_the_robot_limp_is_sent_as_braking(numbers: dict[str, object]) -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None

    robot.command(TORQUE_OFF, **numbers)
    robot.run(0.01)

    assert braking(robot.newest)


@pytest.mark.parametrize("effort", [0.0, 8.0])
def test_the_effort_limit_is_kept_and_nothing_is_added(effort: float) -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None
    velocity = np.linspace(-3.0, 3.0, 12)
    assert robot.state is not None
    robot.state = robot.state._replace(joint_vel=velocity)
    robot.run(0.01)

    robot.command(RUN, position=FOLDED - 0.5, effort_limit=10.0, effort=effort)
    sent = robot.newest

    law = (sent[:, STIFFNESS] * (sent[:, 0] - FOLDED) + sent[:, 4] * (sent[:, 1] - velocity)
           + sent[:, EFFORT])
    wanted = 30.0 * -0.5 - 1.0 * velocity + effort
    assert law == pytest.approx(np.clip(wanted, -10.0, 10.0), abs=1e-4)
    assert (np.abs(sent[:, STIFFNESS:]) <= [30.0, 1.0]).all()
    assert (np.abs(sent[:, EFFORT]) <= effort).all()
    assert effort or (np.abs(wanted) > 10.0).any()


def test_a_state_that_cannot_be_pushes_nobody() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    assert robot.state is not None
    robot.state = robot.state._replace(joint_pos=FOLDED + np.eye(12)[2] * 5.0)

    robot.run(0.05)

    assert robot.newest[2] == pytest.approx([FOLDED[2], 0.0, 0.0, 30.0, 1.0])
    assert robot.link.report(robot.now_ns).details["implausible"] == 12
    robot.run(0.1)
    assert robot.phase() is Phase.DAMPING


def test_a_host_that_is_gone_for_a_second_ends_control() -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    robot.state = None
    robot.run(0.9)
    assert robot.phase() is Phase.DAMPING
    robot.run(0.2)
    assert robot.phase() is Phase.RELEASING
    robot.run(2.0)

    assert robot.phase() is Phase.LISTENING
    assert robot.requests[-1][1] == GIVE_BACK
    robot.state = LYING
    robot.mode = DAMP
    count = len(robot.sent)
    robot.run(2.0)
    assert len(robot.sent) == count


def test_a_host_that_was_restarted_has_to_be_asked_for_control_again() -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    robot.state = None
    robot.run(0.2)
    restarted = LYING._replace(tick=4, imu_stamp_ms=4)
    robot.link.receive(wire.write_state(restarted), (HOST, PORT), robot.now_ns)
    robot.run(0.1)

    assert robot.phase() is Phase.RELEASING
    assert "restarted" in robot.link.reason
    robot.run(2.0)
    assert robot.requests[-1][1] == GIVE_BACK


@pytest.mark.parametrize("mode", [DAMP, RUN])
def test_a_link_that_was_held_up_for_a_second_has_lost_control(mode: int) -> None:
    robot = Lockstep()
    robot.in_control(mode)

    robot.now_ms += 1000
    robot.run(0.05)

    assert robot.phase() is Phase.RELEASING
    assert "no command has gone out for 1.0 s" in robot.link.reason
    robot.run(2.0)
    assert robot.requests[-1][1] == GIVE_BACK


def test_a_host_that_does_not_obey_is_left() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    ignored = FOLDED + np.tile([0.0, 0.0, -0.5], 4)

    robot.position = ignored
    robot.state = LYING._replace(joint_effort=np.tile([0.0, 0.0, 6.0], 4))
    robot.run(0.28)
    assert robot.phase() is Phase.FOLLOWING
    robot.run(0.06)

    assert robot.phase() is Phase.RELEASING
    assert "does not obey" in robot.link.reason


@pytest.mark.parametrize(("asked", "given", "settings"), [
    ([0.0, 0.0, -0.3], [0.0, 0.0, 0.0], {}),
    ([0.0, 0.0, -0.5], [0.0, 0.0, -8.0], {}),
    ([0.0, 0.0, -0.5], [0.0, 0.0, 0.0], {"obeyed_torque_nm": 0.0}),
])  # fmt: skip
def test_a_host_that_may_obey_is_kept(
        asked: list[float], given: list[float], settings: dict[str, float]) -> None:
    robot = Lockstep(**settings)
    robot.in_control(RUN)
    assert robot.state is not None
    robot.state = robot.state._replace(joint_effort=np.tile(given, 4))

    robot.position = FOLDED + np.tile(asked, 4)
    robot.run(1.0)

    assert robot.phase() is Phase.FOLLOWING


def test_one_drive_that_has_failed_is_no_host_that_does_not_obey() -> None:
    robot = Lockstep()
    robot.in_control(RUN)

    robot.position = FOLDED + np.eye(12)[2] * -0.5
    robot.run(1.0)

    assert robot.phase() is Phase.FOLLOWING


def test_a_state_that_is_lost_is_not_taken_for_disobedience() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.position = FOLDED + np.tile([0.0, 0.0, -0.5], 4)
    robot.run(0.1)

    robot.state = None
    robot.run(0.9)

    assert robot.phase() is Phase.DAMPING


def test_latency_is_from_receipt_to_the_first_frame() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None
    robot.run(0.002)
    for _ in range(200):
        robot.sequence += 1
        made = command(robot.sequence, RUN, robot.now_ns - 3 * MS)
        robot.link.follow(made, robot.now_ns)
        robot.step()
        robot.run(0.01)

    assert robot.link.report(robot.now_ns).latency_p50_s == pytest.approx(0.003)
