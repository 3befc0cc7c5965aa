# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When the state machine of control sends, and what it reports of that; in explicit time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robot_driver.interfaces import (
    MODE_HOLD_MEASURED,
    NS_PER_S,
    RELEASE,
    TAKE,
    DriverAnswer,
    DriverPhase,
    DriverReport,
)
from robot_driver.link import Link
from testkit.wording import check_wording

from .holding_arm import FIGURES, ArmSettings, HoldingArm, goal, state_frame
from .test_holding_arm import MEASURED, MS, RUN, Bench, arm_wire_command

PERIOD_MS = 10


class MsBench(Bench):
    """The same, stepped at times that a test names."""

    def at(self, now_ms: int, *, sends: bool = True) -> int:
        self.now_ms = now_ms
        self.link.receive(state_frame(self.position, now_ms), ("bus", 0), now_ms * MS)
        frames = self.link.step(now_ms * MS)
        if sends:
            self.link.sent(now_ms * MS)
        return len(frames)

    def next_ms(self) -> float:
        return self.link.next_ns / MS

    def report(self) -> DriverReport:
        return self.link.report(self.now_ms * MS)


@pytest.fixture
def bench() -> MsBench:
    """Return a link that follows a command of this moment and has just sent it."""
    made = MsBench()
    made.take()
    made.link.answer_delivered()
    made.command(MODE_HOLD_MEASURED, MEASURED)
    made.command(RUN, MEASURED)
    assert made.phase() is DriverPhase.FOLLOWING
    return made


def test_a_frame_goes_out_each_period(bench: MsBench) -> None:
    begin_ms = bench.now_ms
    assert bench.next_ms() == begin_ms + PERIOD_MS
    assert [bench.at(begin_ms + each) for each in (5, 9, 10, 11, 20)] == [0, 0, 1, 0, 1]
    # A frame that is a little late does not move the next one.
    assert bench.at(begin_ms + 33) == 1
    assert bench.next_ms() == begin_ms + 40


@pytest.mark.parametrize(("late_ms", "next_ms"), [(9, 20), (10, 30), (25, 45)])
def test_after_a_stall_the_period_starts_again(bench: MsBench, late_ms: int, next_ms: int) -> None:
    begin_ms = bench.now_ms
    assert bench.at(begin_ms + PERIOD_MS + late_ms) == 1
    assert bench.next_ms() == begin_ms + next_ms


def test_a_new_command_goes_out_at_once_and_the_period_starts_again(bench: MsBench) -> None:
    begin_ms = bench.now_ms
    bench.now_ms += 4
    bench.command(RUN, MEASURED + 0.1)
    assert goal(bench.sent[-1]) == pytest.approx(MEASURED + 0.1)
    assert bench.next_ms() == begin_ms + 4 + PERIOD_MS
    # Even if it is sent late, by less than a period.
    bench.now_ms += 4
    bench.link.follow(arm_wire_command(9, RUN, MEASURED, bench.now_ms * MS, 50), bench.now_ms * MS)
    assert bench.at(bench.now_ms + 3) == 1
    assert bench.next_ms() == bench.now_ms + PERIOD_MS


def test_a_refused_command_does_not_change_the_period(bench: MsBench) -> None:
    due_ms = bench.next_ms()
    bench.now_ms += 4
    refused = arm_wire_command(9, RUN, MEASURED + 9.0, bench.now_ms * MS, 50)
    bench.link.follow(refused, bench.now_ms * MS)
    assert bench.next_ms() == due_ms
    assert bench.report().details["command_refused"] == 1
    assert "command_refusal" in bench.report().details


def test_latency_and_gap_are_of_frames_that_went_out(bench: MsBench) -> None:
    for _ in range(9):  # of ten commands with the first two, one is sent after 3 ms
        bench.now_ms += 2
        bench.command(RUN, MEASURED)
    begin_ms = bench.now_ms
    command = arm_wire_command(20, RUN, MEASURED, begin_ms * MS, 50)
    bench.link.follow(command, begin_ms * MS)
    bench.at(begin_ms + 3)
    for each in (13, 23, 58):  # repeated: no latency
        bench.at(begin_ms + each)
    report = bench.report()
    assert report.latency_p50_s == 0.0
    assert 0.002 < report.latency_p99_s < 0.003
    assert report.largest_gap_s == pytest.approx(0.035)
    bench.link.sent((begin_ms + 500) * MS)  # nothing was due
    assert bench.report().largest_gap_s == pytest.approx(0.035)


def test_the_first_frame_after_control_was_taken_has_no_gap_before_it(bench: MsBench) -> None:
    bench.at(bench.now_ms + 30)
    assert bench.report().largest_gap_s == pytest.approx(0.03)
    bench.link.release("asked", bench.now_ms * MS)
    bench.run(1.0)
    assert bench.phase() is DriverPhase.LISTENING
    bench.link.take((), bench.now_ms * MS)
    bench.step()
    bench.run(0.2)
    assert bench.report().largest_gap_s == pytest.approx(0.01)


def test_a_frame_that_failed_is_counted_and_no_time_of_it(bench: MsBench) -> None:
    begin_ms = bench.now_ms
    assert bench.at(begin_ms + PERIOD_MS, sends=False) == 1
    bench.link.failed("unplugged", bench.now_ms * MS)
    bench.link.sent(bench.now_ms * MS)
    bench.at(begin_ms + 2 * PERIOD_MS)
    report = bench.report()
    assert report.largest_gap_s == pytest.approx(0.02)
    assert (report.details["send_failed"], report.details["send_error"]) == (1, "unplugged")
    assert bench.phase() is DriverPhase.FOLLOWING


def test_the_rates_are_of_the_last_second(bench: MsBench) -> None:
    for _ in range(200):
        bench.at(bench.now_ms + 5)
        bench.link.follow(
            arm_wire_command(2, RUN, MEASURED, bench.now_ms * MS, 50), bench.now_ms * MS
        )
    report = bench.report()
    assert report.state_rate_hz == pytest.approx(200.0, abs=1.0)
    assert report.command_rate_hz == pytest.approx(100.0, abs=1.0)


def test_a_robot_that_listens_is_looked_at_every_50_ms() -> None:
    bench = MsBench()
    assert bench.at(7) == 0
    assert bench.next_ms() == 57
    assert bench.report().command_rate_hz == 0.0
    assert bench.report().latency_p99_s == bench.report().largest_gap_s == 0.0


@pytest.mark.parametrize(("age_s", "is_kept"), [(1.0, True), (1.01, False)])
def test_a_robot_that_is_silent_for_more_than_a_second_is_given_back(
    bench: MsBench, age_s: float, is_kept: bool
) -> None:
    heard_ns = bench.now_ms * MS
    bench.link.step(heard_ns + round(age_s * NS_PER_S))
    assert (bench.phase() is not DriverPhase.RELEASING) is is_kept
    # What was valid has expired meanwhile.
    assert bench.phase() is not DriverPhase.FOLLOWING


@pytest.mark.parametrize(("gap_s", "is_kept"), [(0.99, True), (1.0, False)])
def test_a_robot_that_took_control_back_is_given_back(gap_s: float, is_kept: bool) -> None:
    class Watching(HoldingArm):
        figures = replace(FIGURES, watchdog_s=1.0)

    bench = MsBench()
    bench.link = Link(Watching(ArmSettings(command_rate_hz=100.0)), 0)
    bench.take()
    bench.at(bench.now_ms + round(1000 * gap_s), sends=False)
    assert (bench.phase() is DriverPhase.DAMPING) is is_kept
    assert (bench.phase() is DriverPhase.RELEASING) is not is_kept


def test_what_is_followed_and_what_the_robot_warns_of_is_reported(bench: MsBench) -> None:
    assert "warning" not in bench.report().details

    class Warm(HoldingArm):
        def warning(self) -> str:
            return "a servo is warm"

    bench.link = Link(Warm(ArmSettings(command_rate_hz=100.0)), bench.now_ms * MS)
    bench.take()
    bench.command(MODE_HOLD_MEASURED, MEASURED)
    rests = bench.report()
    bench.command(RUN, MEASURED)
    runs = bench.report()
    assert (rests.phase, runs.phase) == (DriverPhase.FOLLOWING,) * 2
    assert rests.details["warning"] == "a servo is warm"
    check_wording(rests.reason, runs.reason)


def test_each_request_is_answered_in_its_turn() -> None:
    bench = MsBench()
    bench.link.take((), 0)  # no state
    bench.link.release("asked", 0)
    assert bench.link.answers_wait
    answers = []
    while bench.link.answers_wait:
        answer = bench.report().answer
        assert answer is not None
        answers.append(answer)
        bench.link.answer_delivered()
    assert bench.report().answer is None
    assert [(each.request, each.success) for each in answers] == [(TAKE, False), (RELEASE, True)]


def test_a_request_to_take_what_is_taken_is_refused_and_changes_nothing(bench: MsBench) -> None:
    due_ms = bench.next_ms()
    bench.link.take((), bench.now_ms * MS)
    answer = bench.report().answer
    assert isinstance(answer, DriverAnswer)
    assert (answer.request, answer.success) == (TAKE, False)
    assert (bench.phase(), bench.next_ms()) == (DriverPhase.FOLLOWING, due_ms)


@pytest.mark.parametrize("each_ms", [50, 54])
def test_control_is_refused_below_the_lowest_rate_of_states(each_ms: int) -> None:
    bench = MsBench()
    for now_ms in range(0, 2000, each_ms):
        bench.at(now_ms)
    bench.link.take((), bench.now_ms * MS)
    assert (bench.report().answer is None) is (each_ms == 50)


def test_control_is_refused_while_the_sender_does_not_rest() -> None:
    bench = MsBench()
    bench.run(1.0)
    bench.command(RUN, MEASURED)
    assert len(bench.link.obstacles(bench.now_ms * MS)) == 1
    bench.run(0.05)  # it has expired
    assert bench.link.obstacles(bench.now_ms * MS) == []
    bench.command(MODE_HOLD_MEASURED, MEASURED)
    assert bench.link.obstacles(bench.now_ms * MS) == []


def test_the_arm_rests_where_it_was_when_following_ended(bench: MsBench) -> None:
    bench.link.damp("pressed", bench.now_ms * MS)
    assert bench.next_ms() == bench.now_ms
    assert bench.at(bench.now_ms) == 1
    bench.position = MEASURED + np.array([0.0, 0.1, 0.0])
    bench.run(0.05)
    assert goal(bench.sent[-1]) == pytest.approx(MEASURED)
    assert bench.phase() is DriverPhase.DAMPING


def test_the_arm_rests_where_it_is_when_control_is_taken_again(bench: MsBench) -> None:
    bench.link.damp("pressed", bench.now_ms * MS)
    bench.run(0.05)
    bench.link.release("asked", bench.now_ms * MS)
    bench.run(1.0)
    bench.position = MEASURED + np.array([0.0, 0.1, 0.0])
    bench.take()
    assert goal(bench.sent[-1]) == pytest.approx(bench.position)
