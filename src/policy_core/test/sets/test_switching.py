# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Switches between members while the robot runs."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from testkit.kernel.contracts import DEFAULT, NOMINAL
from testkit.kernel.robots import BOTH, Targets, assert_safe, fail
from testkit.kernel.walkers import SetRobot
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

BLEND_TICKS = 5
SMALL_STEPS = {"nominal": {**NOMINAL, "target_step": 0.02}}


@pytest.fixture
def walking_set() -> SetRobot:
    """A robot that walks, whose members ask for different targets."""
    robot = SetRobot()
    robot.answers("walk", 0.2, 0.2, 0.2)
    robot.answers("crouch", -0.2, -0.2, -0.2)
    return robot.walking()


def test_a_switch_blends_targets_and_gains_over_its_time(walking_set: SetRobot) -> None:
    counters = walking_set.controller.snapshot().counters
    walking_set.requests.switch("crouch")
    for tick in range(1, BLEND_TICKS + 1):
        targets, share = walking_set.commanded(), tick / BLEND_TICKS
        np.testing.assert_allclose(targets.position, np.add(DEFAULT, 0.1 - 0.2 * share))
        np.testing.assert_allclose(targets.stiffness, 30.0 + 20.0 * share)
        np.testing.assert_allclose(targets.damping, 1.0 + share)
    report = walking_set.policy.report
    assert (report.state, report.is_blending) == ("crouch", False)
    # Of the healthy step of 0.2 rad.
    assert report.step_ratio == pytest.approx(0.2 / BLEND_TICKS / 0.2)
    assert walking_set.controller.snapshot().counters == counters


def test_the_member_that_is_left_runs_until_the_blend_has_ended(walking_set: SetRobot) -> None:
    walking_set.requests.switch("crouch")
    before = walking_set.backends["walk"].runs
    walking_set.ticks(BLEND_TICKS + 10)
    assert walking_set.backends["walk"].runs == before + BLEND_TICKS
    assert walking_set.backends["crouch"].runs == BLEND_TICKS + 10


def test_a_switch_without_blend_takes_no_step_beyond_the_larger_of_both_bounds() -> None:
    robot = SetRobot(
        {"states.walk.to.crouch": {"blend_s": 0.0}},
        {"walk": SMALL_STEPS, "crouch": {"name": "crouch"}},
    )
    robot.answers("crouch", -2.0, -2.0, -2.0)
    robot.walking().requests.switch("crouch")
    # That of crouch, 0.2 rad x 1.5, where walk alone had 0.02 rad x 1.5.
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.3))
    assert robot.count(Rule.TARGET_STEP) == 1


def test_a_clean_member_begins_as_a_run_does(walking_set: SetRobot) -> None:
    walking_set.requests.switch("crouch")
    walking_set.tick()
    last_action = walking_set.observed_by("crouch")[-3:]
    assert last_action.tolist() == [0.0] * 3


def test_a_followed_member_remembers_what_was_commanded_in_its_own_scale() -> None:
    robot = SetRobot(
        {"members.crouch.starts": "followed"},
        {"crouch": {"name": "crouch", "action.terms": [SCALED]}},
    )
    robot.answers("walk", 0.2, 0.1, 0.3)
    robot.walking().requests.switch("crouch")
    robot.tick()
    # 0.5 x 0.2 was commanded beyond the default position, which is 0.25 x 0.4.
    np.testing.assert_allclose(robot.observed_by("crouch")[-3:], [0.4, 0.2, 0.6], atol=1e-6)


SCALED = {
    "joints": ["hip", "knee", "ankle"],
    "kind": "position",
    "scale": 0.25,
    "offset": "default_position",
}
HISTORY = {
    "observations": {
        "obs": {"terms": [{"term": "joint_vel", "joints": ["hip"]}], "history": {"length": 3}}
    }
}


@pytest.mark.parametrize(("starts", "seen"), [("clean", [6, 6, 6]), ("followed", [4, 5, 6])])
def test_the_history_of_an_entering_member_is_repeated_or_followed(
    starts: str, seen: list[float]
) -> None:
    robot = SetRobot(
        {"members.crouch.starts": starts}, {"crouch": {"name": "crouch", **HISTORY}}
    ).walking()
    for velocity in (3.0, 4.0, 5.0):
        robot.tick(joint_vel=(velocity, 0.0, 0.0))
    robot.requests.switch("crouch")
    robot.tick(joint_vel=(6.0, 0.0, 0.0))
    assert robot.observed_by("crouch").tolist() == seen


def test_a_slower_member_holds_its_targets_between_its_ticks() -> None:
    robot = SetRobot(
        {"states.walk.to.crouch": {"blend_s": 0.0}}, {"crouch": {"name": "crouch", "rate_hz": 25}}
    ).walking()
    robot.answers("crouch", 0.1, 0.1, 0.1)
    robot.requests.switch("crouch")
    robot.ticks(1)
    robot.answers("crouch", 0.2, 0.2, 0.2)
    assert robot.commanded().position[0] == pytest.approx(0.05)
    assert robot.commanded().position[0] == pytest.approx(0.1)
    assert robot.backends["crouch"].runs == 2


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_slower_member_that_is_followed_enters_in_one_of_its_own_ticks(after: int) -> None:
    robot = SetRobot(
        {"members.crouch.starts": "followed"},
        {"crouch": {"name": "crouch", "rate_hz": 12.5, **HISTORY}},
    )
    # The run has 20 ticks, then these: those of the crouch are at multiples of 4.
    robot.walking().ticks(after)
    robot.requests.switch("crouch")
    waited = 0
    while robot.state == "walk":
        robot.tick(joint_vel=(1.0 + waited, 0.0, 0.0))
        waited += 1
    assert waited == (4 - after) % 4 + 1
    assert robot.observed_by("crouch").tolist() == [0.0, 0.0, waited]


@pytest.mark.parametrize("failing", ["raises", "is not finite"])
def test_where_an_entering_member_fails_the_robot_goes_on_as_it_was(
    walking_set: SetRobot, failing: str
) -> None:
    fail_member(walking_set, "crouch", failing)
    walking_set.requests.switch("crouch")
    walking_set.ticks(3)
    assert (walking_set.state, walking_set.is_in(Mode.RUN)) == ("walk", True)
    assert "crouch: " in walking_set.policy.refusals[-1]
    np.testing.assert_allclose(walking_set.commanded().position, np.add(DEFAULT, 0.1))


@pytest.mark.parametrize("after", [1, 3, 20])
@pytest.mark.parametrize("failing", ["raises", "is not finite", "is late"])
def test_a_member_that_fails_after_a_switch_leads_to_the_fallback(failing: str, after: int) -> None:
    robot = SetRobot({"states.crouch.fallback": "walk"})
    robot.answers("walk", 0.2, 0.2, 0.2)
    robot.walking().requests.switch("crouch")
    robot.ticks(after)
    fail_member(robot, "crouch", failing)
    robot.ticks(2)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("walk", True)
    assert (robot.policy.report.fallbacks, robot.policy.report.last[:2]) == (1, ("crouch", "walk"))
    robot.ticks(20)
    np.testing.assert_allclose(robot.commanded().position, np.add(DEFAULT, 0.1))


@pytest.mark.parametrize("failing", ["raises", "is not finite", "is late"])
@pytest.mark.parametrize("runs_before", [0, 1])
def test_the_first_tick_that_fails_blends_its_fallback_in_from_the_stand_pose(
    failing: str, runs_before: int
) -> None:
    robot = SetRobot(
        {"states.walk.fallback": "crouch", "states.walk.to": {"crouch": {"blend_s": 1.0}}}
    )
    for member in ("walk", "crouch"):
        robot.answers(member, 0.0, 0.0, 0.0)
    if runs_before:
        robot.answers("walk", 0.8, 0.8, 0.8)
        robot.walking().controller.damp()
        robot.tick()
        robot.answers("walk", 0.0, 0.0, 0.0)
    robot.stand().controller.run()
    fail_member(robot, "walk", failing)
    for _ in range(20):
        np.testing.assert_allclose(robot.commanded().position, DEFAULT, atol=1e-9)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("crouch", True)


@pytest.mark.parametrize(
    ("failing", "mode"),
    [("raises", Mode.HOLD), ("is not finite", Mode.DAMP), ("is late", Mode.HOLD)],
)
def test_without_a_fallback_the_guard_acts_as_for_one_policy(
    walking_set: SetRobot, failing: str, mode: Mode
) -> None:
    walking_set.requests.switch("crouch")
    walking_set.ticks(20)
    fail_member(walking_set, "crouch", failing)
    walking_set.tick()
    assert walking_set.is_in(mode)


@pytest.mark.parametrize("fallback", [None, "walk"])
@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("failing", ["raises", "is late"])
def test_a_leaving_member_that_fails_does_not_stop_the_switch(
    failing: str, after: int, fallback: str | None
) -> None:
    robot = SetRobot({"states.crouch.fallback": fallback} if fallback else {}).walking()
    robot.answers("crouch", -0.2, -0.2, -0.2)
    robot.requests.switch("crouch")
    robot.ticks(after)
    fail_member(robot, "walk", failing)
    robot.ticks(2)
    assert robot.is_in(Mode.RUN)
    robot.ticks(20)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("crouch", True)
    assert robot.policy.report.fallbacks == 0
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.1))


def test_members_that_fail_in_turn_end_in_the_rules_of_the_guard() -> None:
    robot = SetRobot({"states.crouch.fallback": "walk", "states.walk.fallback": "crouch"})
    fail_member(robot.walking(), "walk", "raises")
    fail_member(robot, "crouch", "raises")
    robot.tick()
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.INFERENCE_ERROR) == 1


def test_of_two_requests_in_one_tick_the_later_one_counts_and_the_other_is_named() -> None:
    third = {"members.third": {"bundle": "../third", "sha256": "0" * 64}}
    state = {"members": ["third"], "way_back": "walk", "to": {"walk": {}}}
    robot = SetRobot(
        {**third, "states.third": state, "states.walk.to.third": {}}, {"third": {"name": "third"}}
    ).walking()
    robot.requests.switch("crouch")
    robot.requests.switch("third")
    robot.ticks(1)
    assert robot.state == "third"
    check_wording(*robot.policy.refusals)


def test_what_is_asked_for_ends_with_the_run() -> None:
    robot = SetRobot({"states.walk.to.crouch": {"otherwise": "wait", "when": {"joint_speed": 1.0}}})
    robot.walking().sensed["joint_vel"] = (3.0, 0.0, 0.0)
    robot.requests.switch("crouch")
    robot.ticks(1)
    assert robot.policy.report.asked == "crouch"
    robot.controller.damp()
    robot.ticks(1)
    assert robot.policy.report.asked == ""


def fail_member(robot: SetRobot, member: str, how: str) -> None:
    backend = robot.backends[member]
    if how == "is not finite":
        robot.answers(member, np.nan, 0.0, 0.0)
    elif how == "raises":
        backend.during_run = fail
    else:
        take_time(robot, member, 21_000_000)


def take_time(robot: SetRobot, member: str, took_ns: int) -> None:

    def pass_time() -> None:
        robot.now_ns += took_ns

    robot.backends[member].during_run = pass_time


def test_a_switch_is_refused_where_no_transition_leads_and_during_a_blend(
    walking_set: SetRobot,
) -> None:
    with refusal(RefusedError):
        walking_set.requests.switch("trot")
    with refusal(RefusedError):
        walking_set.requests.switch("walk")
    walking_set.requests.switch("crouch")
    walking_set.tick()
    with refusal(RefusedError):
        walking_set.requests.switch("walk")
    walking_set.controller.damp()
    with refusal(RefusedError):
        walking_set.requests.switch("crouch")


def test_a_state_with_a_name_that_fills_a_log_is_refused_in_a_short_line(
    walking_set: SetRobot,
) -> None:
    for mode in (Mode.RUN, Mode.DAMP):
        if mode is Mode.DAMP:
            walking_set.controller.damp()
        with pytest.raises(RefusedError) as caught:
            walking_set.requests.switch("trot\n" * 100_000)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)


ANSWERS = {"walk": 0.5, "crouch": -0.5}
GAINS = {"walk": 30.0, "crouch": 50.0}


class Switched(RuleBasedStateMachine):
    """A set that switches, and whatever else happens; each command is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.robot = SetRobot({"states.crouch.fallback": "walk"})
        self.last: Targets | None = None
        self.run()

    def heal(self) -> None:
        for member, value in ANSWERS.items():
            self.robot.answers(member, *[value] * 3)
            self.robot.backends[member].during_run = lambda: None

    @rule(answer=st.sampled_from([1.0, 1.0, -1.0, 4.0]), silent=st.booleans())
    def tick(self, answer: float, silent: bool) -> None:
        robot = self.robot
        for member, value in ANSWERS.items():
            robot.answers(member, *[answer * value] * 3)
        targets = robot.commanded(silent=BOTH if silent else ())
        robot.requests.tick(robot.now_ns)
        if robot.controller.mode is Mode.DAMP:
            assert_safe(targets)
            assert not robot.policy.report.is_blending
            self.last = None
            return
        assert (np.abs(targets.position) <= 1.5).all()
        # One step of 0.2 rad x 1.5 at most, whether it blends, holds or falls back.
        if self.last is not None:
            assert (np.abs(targets.position - self.last.position) <= 0.3 + 1e-9).all()
        self.last = targets

    @rule(member=st.sampled_from([*ANSWERS]), how=st.sampled_from(["raises", "is late", "works"]))
    def fail_or_heal(self, member: str, how: str) -> None:
        if how == "works":
            self.robot.backends[member].during_run = lambda: None
        else:
            fail_member(self.robot, member, how)

    @rule(state=st.sampled_from([*ANSWERS]))
    def switch(self, state: str) -> None:
        report = self.robot.policy.report
        before = (report.state, report.asked)
        try:
            self.robot.requests.switch(state)
        except RefusedError:
            assert (report.state, report.asked) == before

    @rule()
    def press(self) -> None:
        self.robot.controller.estop("pressed")

    @rule()
    def run(self) -> None:
        """Go to a run from wherever the robot is: it begins in the initial state."""
        robot = self.robot
        self.heal()
        robot.tick()
        robot.controller.damp()
        robot.controller.reset()
        robot.walking()
        assert (robot.state, robot.policy.report.asked) == ("walk", "")
        self.last = None

    @rule()
    def settle(self) -> None:
        """Let every member work: the command is that of one state, whole."""
        self.heal()
        for _ in range(20):
            self.tick(1.0, silent=False)
        if self.robot.is_in(Mode.RUN):
            state = self.robot.state
            targets = self.robot.commanded()
            np.testing.assert_allclose(targets.position, np.add(DEFAULT, 0.5 * ANSWERS[state]))
            assert targets.stiffness.tolist() == [GAINS[state]] * 3
            self.last = targets


def test_whatever_happens_to_a_set_its_steps_are_bounded_and_it_settles_in_one_state() -> None:
    run_state_machine_as_test(
        Switched,
        settings=settings(max_examples=50, stateful_step_count=25, deadline=None, derandomize=True),
    )
