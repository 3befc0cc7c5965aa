# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Switches between members while the robot runs."""

import numpy as np
import pytest

from policy_inference.core.guard import Rule
from policy_inference.errors import RefusedError
from policy_inference.interfaces import Mode
from testkit.wording import check_wording, refusal

from ..contracts import DEFAULT, NOMINAL
from ..robots import fail
from .walkers import SetRobot

BLEND_TICKS = 5
SMALL_STEPS = {"nominal": {**NOMINAL, "target_step": 0.02}}


@pytest.fixture
def set_robot() -> SetRobot:
    """A robot that walks, whose members ask for different targets."""
    robot = SetRobot()
    robot.answers("walk", 0.2, 0.2, 0.2)
    robot.answers("crouch", -0.2, -0.2, -0.2)
    return robot.walking()


def test_a_set_runs_its_initial_state_with_the_gains_of_its_member(set_robot: SetRobot) -> None:
    targets = set_robot.commanded()
    np.testing.assert_allclose(targets.position, np.add(DEFAULT, 0.1))
    assert targets.stiffness.tolist() == [30.0] * 3
    assert set_robot.state == "walk"
    assert set_robot.backends["crouch"].runs == 0


def test_a_switch_blends_targets_and_gains_over_its_time(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    for tick in range(1, BLEND_TICKS + 1):
        targets, share = set_robot.commanded(), tick / BLEND_TICKS
        np.testing.assert_allclose(targets.position, np.add(DEFAULT, 0.1 - 0.2 * share))
        np.testing.assert_allclose(targets.stiffness, 30.0 + 20.0 * share)
        np.testing.assert_allclose(targets.damping, 1.0 + share)
    assert set_robot.state == "crouch"
    assert not set_robot.policy.report.is_blending


def test_the_member_that_is_left_runs_until_the_blend_has_ended(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    before = set_robot.backends["walk"].runs
    set_robot.ticks(BLEND_TICKS + 10)
    assert set_robot.backends["walk"].runs == before + BLEND_TICKS
    assert set_robot.backends["crouch"].runs == BLEND_TICKS + 10


def test_a_switch_changes_nothing_in_the_mode_and_no_rule_acts(set_robot: SetRobot) -> None:
    counters = set_robot.controller.snapshot().counters
    set_robot.requests.switch("crouch")
    set_robot.ticks(20)
    assert set_robot.is_in(Mode.RUN)
    assert set_robot.controller.snapshot().counters == counters


def test_a_switch_is_the_reason_of_the_mode_from_its_first_tick(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    set_robot.ticks(3)
    check_wording(set_robot.reason)
    assert set_robot.controller.edges[-1][1] == set_robot.reason


def test_the_step_of_a_switch_is_reported_as_a_share_of_the_healthy_one(
    set_robot: SetRobot,
) -> None:
    set_robot.requests.switch("crouch")
    set_robot.ticks(BLEND_TICKS)
    assert set_robot.policy.report.step_ratio == pytest.approx(0.2 / BLEND_TICKS / 0.2)


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


def test_after_the_blend_the_bounds_are_those_of_the_new_state() -> None:
    robot = SetRobot(members={"crouch": {"name": "crouch", **SMALL_STEPS}})
    robot.walking().requests.switch("crouch")
    robot.ticks(BLEND_TICKS + 1)
    robot.answers("crouch", 1.0, 1.0, 1.0)
    np.testing.assert_allclose(robot.commanded().position, np.add(DEFAULT, 0.03))


def test_a_clean_member_begins_as_a_run_does(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    set_robot.tick()
    last_action = set_robot.observed_by("crouch")[-3:]
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


def test_a_velocity_command_is_clipped_to_the_range_of_each_member() -> None:
    slow = {"velocity_command": {"min": [-0.2, -0.2, -0.2], "max": [0.2, 0.2, 0.2]}}
    robot = SetRobot(members={"crouch": {"name": "crouch", **slow}}).walking()
    robot.controller.command.set((0.9, 0.0, -0.9), robot.now_ns)
    robot.requests.switch("crouch")
    robot.tick()
    assert robot.observed_by("walk")[6:9].round(6).tolist() == [0.9, 0.0, -0.9]
    assert robot.observed_by("crouch")[6:9].round(6).tolist() == [0.2, 0.0, -0.2]


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


def test_a_slower_fallback_that_is_followed_knows_the_last_command_in_any_tick() -> None:
    robot = SetRobot(
        {
            "members.crouch.starts": "followed",
            "states.walk.fallback": "crouch",
        },
        {"crouch": {"name": "crouch", "rate_hz": 12.5}},
    )
    robot.answers("walk", 0.1, 0.1, 0.1)
    robot.walking().ticks(2)
    robot.answers("walk", 0.2, 0.2, 0.2)
    robot.tick()
    fail_member(robot, "walk", "raises")
    robot.tick()
    np.testing.assert_allclose(robot.observed_by("crouch")[-3:], [0.2] * 3, atol=1e-6)


@pytest.mark.parametrize("failing", ["raises", "is not finite"])
def test_where_an_entering_member_fails_the_robot_goes_on_as_it_was(
    set_robot: SetRobot, failing: str
) -> None:
    fail_member(set_robot, "crouch", failing)
    set_robot.requests.switch("crouch")
    set_robot.ticks(3)
    assert (set_robot.state, set_robot.is_in(Mode.RUN)) == ("walk", True)
    assert "crouch: " in set_robot.policy.refusals[-1]
    np.testing.assert_allclose(set_robot.commanded().position, np.add(DEFAULT, 0.1))


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
    set_robot: SetRobot, failing: str, mode: Mode
) -> None:
    set_robot.requests.switch("crouch")
    set_robot.ticks(20)
    fail_member(set_robot, "crouch", failing)
    set_robot.tick()
    assert set_robot.is_in(mode)


def test_a_leaving_member_that_fails_does_not_stop_the_switch(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    set_robot.tick()
    fail_member(set_robot, "walk", "raises")
    set_robot.ticks(20)
    assert (set_robot.state, set_robot.is_in(Mode.RUN)) == ("crouch", True)
    np.testing.assert_allclose(set_robot.commanded().position, np.subtract(DEFAULT, 0.1))


@pytest.mark.parametrize("fallback", [None, "walk"])
@pytest.mark.parametrize("after", [1, 3])
def test_a_leaving_member_that_is_late_does_not_stop_the_switch(
    after: int, fallback: str | None
) -> None:
    robot = SetRobot({"states.crouch.fallback": fallback} if fallback else {}).walking()
    robot.answers("crouch", -0.2, -0.2, -0.2)
    robot.requests.switch("crouch")
    robot.ticks(after)
    fail_member(robot, "walk", "is late")
    robot.ticks(2)
    assert robot.is_in(Mode.RUN)
    robot.ticks(20)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("crouch", True)
    assert robot.policy.report.fallbacks == 0
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.1))


def test_both_members_of_a_blend_that_are_late_together_do_not_stop_it() -> None:
    robot = SetRobot({"states.crouch.fallback": "walk"}).walking()
    robot.requests.switch("crouch")
    robot.tick()
    for member, took_ns in (("walk", 13_000_000), ("crouch", 8_000_000)):
        take_time(robot, member, took_ns)
    robot.ticks(20)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("crouch", True)


def test_an_answer_that_a_failing_state_did_not_use_is_not_used_later() -> None:
    members = {name: {"bundle": f"../{name}", "sha256": "0" * 64} for name in ("walk", "foot")}
    robot = SetRobot(
        {
            "members.walk": {**members["walk"], "joints": ["hip", "knee"], "starts": "followed"},
            "members.foot": {**members["foot"], "joints": ["ankle"]},
            "states.walk.members": ["walk", "foot"],
            "states.walk.fallback": "crouch",
            "states.crouch.fallback": "walk",
        },
        {"foot": {"name": "foot"}},
    ).walking()
    fail_member(robot, "foot", "raises")
    robot.tick()
    assert robot.state == "crouch"
    robot.backends["foot"].during_run = lambda: None
    fail_member(robot, "crouch", "raises")
    robot.tick(joint_vel=(3.0, 0.0, 0.0))
    assert robot.state == "walk"
    assert robot.observed_by("walk")[12] == pytest.approx(0.05 * 3.0)


def test_members_that_fail_in_turn_end_in_the_rules_of_the_guard() -> None:
    robot = SetRobot({"states.crouch.fallback": "walk", "states.walk.fallback": "crouch"})
    fail_member(robot.walking(), "walk", "raises")
    fail_member(robot, "crouch", "raises")
    robot.tick()
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.INFERENCE_ERROR) == 1


def test_a_run_begins_in_the_initial_state_again(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    set_robot.ticks(20)
    set_robot.controller.damp()
    set_robot.walking()
    assert set_robot.state == "walk"
    assert set_robot.commanded().stiffness.tolist() == [30.0] * 3


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


def test_an_emergency_stop_during_a_blend_ends_it_and_the_next_run_is_whole(
    set_robot: SetRobot,
) -> None:
    set_robot.requests.switch("crouch")
    set_robot.ticks(2)
    set_robot.controller.estop("pressed")
    set_robot.ticks(1)
    assert set_robot.is_in(Mode.DAMP)
    assert not set_robot.policy.report.is_blending
    set_robot.controller.reset()
    set_robot.walking()
    targets = set_robot.commanded()
    assert (set_robot.state, targets.stiffness.tolist()) == ("walk", [30.0] * 3)
    np.testing.assert_allclose(targets.position, np.add(DEFAULT, 0.1))


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
    """Have the model of a member fail from now on."""
    backend = robot.backends[member]
    if how == "is not finite":
        robot.answers(member, np.nan, 0.0, 0.0)
    elif how == "raises":
        backend.during_run = fail
    else:
        take_time(robot, member, 21_000_000)


def take_time(robot: SetRobot, member: str, took_ns: int) -> None:
    """Have the model of a member take this time from now on."""

    def pass_time() -> None:
        robot.now_ns += took_ns

    robot.backends[member].during_run = pass_time


def test_a_switch_is_refused_where_no_transition_leads(set_robot: SetRobot) -> None:
    with refusal(RefusedError):
        set_robot.requests.switch("trot")
    with refusal(RefusedError):
        set_robot.requests.switch("walk")
    set_robot.controller.damp()
    with refusal(RefusedError):
        set_robot.requests.switch("crouch")


def test_a_state_with_a_name_that_fills_a_log_is_refused_in_a_short_line(
    set_robot: SetRobot,
) -> None:
    for mode in (Mode.RUN, Mode.DAMP):
        if mode is Mode.DAMP:
            set_robot.controller.damp()
        with pytest.raises(RefusedError) as caught:
            set_robot.requests.switch("trot\n" * 100_000)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)


def test_a_switch_during_a_blend_is_refused(set_robot: SetRobot) -> None:
    set_robot.requests.switch("crouch")
    set_robot.tick()
    with refusal(RefusedError):
        set_robot.requests.switch("walk")
