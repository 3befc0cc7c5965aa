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


def test_giving_back_while_the_robot_folds_ends_the_taking() -> None:
    robot = Lockstep()
    robot.take()
    robot.run(0.3)

    robot.link.release("asked", robot.now_ns)
    robot.run(3.0)

    assert [code for _, code in robot.requests] == [FOLD]
    assert [(each.request, each.success) for each in robot.answers] == [
        ("take_control", False), ("release_control", True)]


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


def test_a_host_of_another_firmware_is_named_by_its_codes() -> None:
    robot = Lockstep()
    robot.state = None
    for code in (0x0901, 0x0907):
        frame = code.to_bytes(4, "little") + wire.write_state(LYING)[4:]
        robot.link.receive(frame, ("10.0.0.1", 1), robot.now_ns)

    robot.take()

    assert "0x0901, 0x0907" in robot.answers[0].message


def test_a_robot_that_has_moved_while_it_folded_is_not_taken() -> None:
    robot = Lockstep()
    robot.take()
    robot.run(0.5)
    robot.state = LYING._replace(joint_pos=STANDING)
    robot.run(1.0)

    assert [code for _, code in robot.requests] == [FOLD]
    assert "does not lie folded" in robot.answers[0].message
    assert robot.phase() is Phase.LISTENING


@pytest.mark.parametrize("fold_s", [FOLD_S, 7.0])
def test_a_host_that_falls_silent_while_the_robot_folds_is_not_taken(fold_s: float) -> None:
    robot = Lockstep(fold_s=fold_s)
    robot.take()
    robot.run(0.3)
    robot.state = None
    robot.run(1.1)

    assert robot.phase() is Phase.LISTENING
    assert not robot.answers[0].success


def test_a_host_that_stutters_while_the_robot_folds_is_taken() -> None:
    robot = Lockstep(fold_s=7.0)
    robot.take()
    robot.state = None
    robot.run(0.5)
    robot.state = LYING
    robot.run(7.1)

    assert robot.answers[0].success


def test_a_host_that_refuses_the_first_datagram_is_not_taken() -> None:
    robot = Lockstep()
    robot.take()

    robot.link.failed("nothing listens there", robot.now_ns)
    robot.run(3.0)

    assert "nothing listens there" in robot.answers[0].message
    assert [code for _, code in robot.requests] == [FOLD]


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


@pytest.mark.parametrize("event", [_estop, _policy_stalls, _state_lost, _policy_restarts])
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


@pytest.mark.parametrize(("numbers", "words"), [
    ({"position": np.full(12, np.nan)}, "not finite"),
    ({"position": OUTSIDE}, "FR_Knee_joint is sent to 3.00 rad"),
    ({"damping": -1.0}, "negative"),
    ({"effort_limit": -1.0}, "negative"),
    ({"effort_limit": np.inf}, "not finite"),
    ({"valid_for_ns": 0}, "valid_for"),
])  # fmt: skip
def test_a_command_that_is_wrong_is_refused_and_the_one_before_stays(
        numbers: dict[str, object], words: str) -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None

    robot.command(RUN, **numbers)
    robot.run(0.05)

    report = robot.link.report(robot.now_ns)
    assert report.details["command_refused"] == 1
    assert words in str(report.details["command_refusal"])
    assert robot.phase() is Phase.FOLLOWING
    assert robot.newest[:, 0] == pytest.approx(FOLDED)


def test_torque_off_is_sent_as_braking() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None

    robot.command(TORQUE_OFF, stiffness=0.0, damping=0.0)
    robot.run(0.01)

    assert braking(robot.newest)


def test_the_effort_limit_is_kept_with_the_feed_forward_torque() -> None:
    robot = Lockstep()
    robot.in_control(RUN)
    robot.mode = None
    velocity = np.linspace(-3.0, 3.0, 12)
    assert robot.state is not None
    robot.state = robot.state._replace(joint_vel=velocity)
    robot.run(0.01)

    robot.command(RUN, position=FOLDED - 0.5, effort_limit=10.0)
    sent = robot.newest

    law = (sent[:, STIFFNESS] * (sent[:, 0] - FOLDED) + sent[:, 4] * (sent[:, 1] - velocity)
           + sent[:, EFFORT])
    wanted = 30.0 * -0.5 - 1.0 * velocity
    assert law == pytest.approx(np.clip(wanted, -10.0, 10.0), abs=1e-4)
    assert (np.abs(wanted) > 10.0).any()


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
