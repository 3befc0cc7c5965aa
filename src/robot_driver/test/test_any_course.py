# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Any course of requests, commands, silence and errors: who is in control, and what is sent."""

from __future__ import annotations

import numpy as np
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from robot_driver.interfaces import MODE_HOLD_MEASURED, RELEASE, TAKE, DriverAnswer, DriverPhase

from .holding_arm import FIGURES, RELAX, goal
from .test_holding_arm import MEASURED, MS, RUN, Bench, arm_wire_command

TARGET = MEASURED + 0.125
"""No arm is measured there, so that only a command in RUN sends it there."""
IN_CONTROL = (DriverPhase.FOLLOWING, DriverPhase.DAMPING)


class AnyCourse(RuleBasedStateMachine):
    """A link of a holding arm, and the rules that hold whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.sequence = 0
        self.may_run = False
        """Whether a command in the mode of rest has come since nothing was followed."""
        self.asked = {TAKE: 0, RELEASE: 0}
        self.answers: list[DriverAnswer] = []
        self.held = False
        """Whether the arm got a goal after it was last left limp."""

    def step(self) -> None:
        """Let the link act, and check what it sends."""
        before, seen = self.bench.phase(), len(self.bench.sent)
        self.bench.step()
        for data in self.bench.sent[seen:]:
            if data == RELAX:
                self.held = False
                continue
            self.held = True
            assert np.abs(goal(data)).max() <= FIGURES.highest_rad.max()
            if np.allclose(goal(data), TARGET, atol=1e-3):
                assert self.may_run, "a policy drives the arm after a stop"
        if before is DriverPhase.FOLLOWING and self.bench.phase() is not DriverPhase.FOLLOWING:
            self.may_run = False
        while self.bench.link.answers_wait:
            answer = self.bench.link.report(self.bench.now_ms * MS).answer
            assert answer is not None
            self.answers.append(answer)
            self.bench.link.answer_delivered()

    def passes(self, periods: int, *, states: bool) -> None:
        for _ in range(periods):
            if states:
                self.bench.hear_state()
            else:
                self.bench.now_ms += 10
            self.step()

    @initialize(taken=strategies.booleans())
    def begins(self, taken: bool) -> None:
        self.passes(100, states=True)
        if taken:
            self.take(())
            self.passes(60, states=True)

    @rule(periods=strategies.sampled_from([1, 5, 20, 120]))
    def time_passes(self, periods: int) -> None:
        self.passes(periods, states=True)

    @rule(periods=strategies.sampled_from([1, 20, 120]))
    def the_arm_is_silent(self, periods: int) -> None:
        self.passes(periods, states=False)

    @rule(obstacles=strategies.sampled_from([(), ("pressed",)]))
    def take(self, obstacles: tuple[str, ...]) -> None:
        before = self.bench.phase()
        self.asked[TAKE] += 1
        self.bench.link.take(obstacles, self.bench.now_ms * MS)
        if obstacles or before is not DriverPhase.LISTENING:
            assert self.bench.phase() is before
        elif self.bench.phase() is not DriverPhase.LISTENING:
            self.may_run = False
        self.step()

    @rule()
    def release(self) -> None:
        if self.bench.phase() is not DriverPhase.RELEASING:
            self.asked[RELEASE] += 1
        self.bench.link.release("asked", self.bench.now_ms * MS)
        assert self.bench.phase() in (DriverPhase.LISTENING, DriverPhase.RELEASING)
        self.step()

    @rule()
    def damp(self) -> None:
        self.bench.link.damp("pressed", self.bench.now_ms * MS)
        self.may_run = False
        self.step()
        assert self.bench.phase() is not DriverPhase.FOLLOWING

    @rule()
    def sending_fails(self) -> None:
        self.bench.link.failed("unplugged", self.bench.now_ms * MS)
        self.step()

    @rule(
        mode=strategies.sampled_from([MODE_HOLD_MEASURED, RUN]),
        skipped=strategies.sampled_from([0, 0, 0, 1000, -5]),
        valid_ms=strategies.sampled_from([50, 50, 0, 2000]),
        beyond=strategies.sampled_from([0.0, 0.0, 9.0, np.nan]),
    )
    def command(self, mode: int, skipped: int, valid_ms: int, beyond: float) -> None:
        self.sequence += 1 + skipped
        at = TARGET if mode == RUN else MEASURED
        made = arm_wire_command(self.sequence, mode, at + beyond, self.bench.now_ms * MS, valid_ms)
        if mode == MODE_HOLD_MEASURED and self.bench.phase() in IN_CONTROL:
            self.may_run = True
        self.bench.link.follow(made, self.bench.now_ms * MS)
        self.step()

    @precondition(lambda self: self.bench.phase() in IN_CONTROL)
    @rule(moved_rad=strategies.sampled_from([0.0, 0.1, -0.3]))
    def the_arm_is_pushed(self, moved_rad: float) -> None:
        self.bench.position = MEASURED + moved_rad
        self.passes(1, states=True)

    @invariant()
    def only_an_arm_in_control_is_held(self) -> None:
        if self.bench.phase() in (DriverPhase.LISTENING, DriverPhase.TAKING):
            assert not self.held

    @invariant()
    def no_request_is_answered_twice(self) -> None:
        took = [each for each in self.answers if each.request == TAKE]
        assert len(took) <= self.asked[TAKE]

    def teardown(self) -> None:
        """In the end control is given back, and each request to take it has its answer."""
        if self.bench.phase() is not DriverPhase.RELEASING:
            self.asked[RELEASE] += 1
            self.bench.link.release("the end", self.bench.now_ms * MS)
        self.passes(round(FIGURES.rest_s * 100) + 2, states=True)
        assert self.bench.phase() is DriverPhase.LISTENING
        assert not self.held
        assert len([each for each in self.answers if each.request == TAKE]) == self.asked[TAKE]
        assert self.answers[-1] == DriverAnswer(
            request=RELEASE, success=True, message=self.answers[-1].message
        )


AnyCourse.TestCase.settings = settings(stateful_step_count=25, derandomize=True)
TestAnyCourse = AnyCourse.TestCase
