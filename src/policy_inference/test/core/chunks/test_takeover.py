# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A person takes over from a chunk policy and hands back, in simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from policy_inference.bundle.state_fields import LEADER, LEADER_POS
from policy_inference.core.chunks.takeover import Driver, LeaderGuide, PersonTakeover
from policy_inference.core.guard import Rule
from policy_inference.errors import BackendError, RefusedError
from policy_inference.interfaces import F64, JointTargets, Mode
from testkit.wording import check_wording, refusal

from .arms import MS, PERIOD_NS, Arm, ramp
from .contracts import STEPS, chunk_contract_of

STRIDE = 0.1
"""What `velocity_limit` allows in a tick, rad."""
SLOW: Mapping[str, object] = {"joints.velocity_limit": 1.0}
NOMINAL: Mapping[str, object] = {
    **SLOW,
    "safety.margin": 1.5,
    "nominal": {"source": "test", "ticks": 100, "target_step": 0.02, "effort_demand": 2.0},
}
TOLERANCE = 0.15
BLEND_TICKS = 5
REST_TICKS = 10
"""So long the arm rests at least before a person gets it."""
TIMEOUT_TICKS = 2
"""After so many ticks without a message the state is too old: twice the period."""


class LedArm(Arm):
    """An arm whose leader is where a test puts it, and whose drives follow at once."""

    def __init__(self, changes: Mapping[str, object] = SLOW, **settings: Any) -> None:
        super().__init__(
            changes,
            handover_s=BLEND_TICKS * PERIOD_NS * 1e-9,
            leader_tolerance_rad=TOLERANCE,
            **settings,
        )
        self.leader: F64 | None = None
        self.follows = True

    @property
    def takeover(self) -> PersonTakeover:
        assert self.runtime.takeover is not None
        return self.runtime.takeover

    def sense(self, silent: Any = ()) -> None:
        super().sense(silent)
        if self.leader is not None:
            self.controller.state[LEADER_POS][:] = self.leader
            self.controller.inputs[LEADER.name].accept(self.now_ns)

    def tick(self, silent: Any = ()) -> F64:
        found = super().tick(silent)
        if self.follows:
            self.joint_pos = found
        return found

    def is_taken(self, at: F64 | None = None) -> LedArm:
        """Let a person drive, whose leader is where the arm is, or elsewhere."""
        self.leader = self.tick() if at is None else at
        self.tick()
        self.runtime.take_over()
        self.follow(REST_TICKS + BLEND_TICKS + 1)
        assert self.takeover.driver is Driver.PERSON
        return self


@pytest.fixture
def led_arm() -> LedArm:
    """An arm under a policy that stays at 0.3 rad, in RUN."""
    arm = LedArm()
    arm.answer = lambda run: 0.3
    arm.run()
    arm.follow(10)
    return arm


def largest_steps(found: F64, before: F64) -> F64:
    """Return the largest step of each tick."""
    steps: F64 = np.abs(np.diff(np.vstack([before, found]), axis=0)).max(axis=1)
    return steps


class TestTakingOver:
    def test_the_arm_rests_until_the_leader_matches(self, led_arm: LedArm) -> None:
        led_arm.leader = np.array([0.3, 0.3, 0.8])
        before = led_arm.tick()
        led_arm.runtime.take_over()

        np.testing.assert_array_equal(led_arm.follow(20), np.tile(before, (20, 1)))
        assert led_arm.is_in(Mode.RUN)
        check_wording(led_arm.takeover.awaits_leader)

        led_arm.leader = before + 0.1
        led_arm.follow(BLEND_TICKS)
        assert led_arm.takeover.driver is Driver.PERSON
        assert led_arm.takeover.awaits_leader == ""
        check_wording(led_arm.reason)

    def test_the_arm_goes_to_the_leader_over_the_handover_time(self, led_arm: LedArm) -> None:
        before = led_arm.tick()
        led_arm.leader = before + TOLERANCE - 0.01
        led_arm.tick()
        led_arm.runtime.take_over()

        np.testing.assert_array_equal(led_arm.follow(REST_TICKS), np.tile(before, (REST_TICKS, 1)))
        found = led_arm.follow(BLEND_TICKS + 3)
        np.testing.assert_allclose(found[BLEND_TICKS - 1 :], np.tile(led_arm.leader, (4, 1)))
        assert (np.diff(found[:, 0]) >= 0.0).all()
        assert largest_steps(found, before).max() < 2 * TOLERANCE / BLEND_TICKS

    def test_a_person_who_moves_at_once_gets_no_more_than_the_target_speed(
        self, led_arm: LedArm
    ) -> None:
        led_arm.is_taken()
        assert led_arm.leader is not None
        before, led_arm.leader = led_arm.leader, led_arm.leader + 1.0

        found = led_arm.follow(12)
        assert largest_steps(found, before).max() <= STRIDE + 1e-12
        np.testing.assert_allclose(found[-1], led_arm.leader)

    def test_a_quick_hand_makes_the_arm_lag_and_is_no_fault(self) -> None:
        arm = LedArm(NOMINAL)
        arm.answer = lambda run: 0.0
        arm.run()
        arm.is_taken()
        arm.leader = np.full(3, 1.5)

        found = arm.follow(40)
        assert arm.is_in(Mode.RUN)
        assert largest_steps(found, np.zeros(3)).max() <= 0.02 * 1.5
        assert arm.count(Rule.TARGET_STEP) == arm.count(Rule.EFFORT) == 0

    def test_an_arm_that_a_hand_pushes_yields_while_it_waits_for_the_leader(self) -> None:
        arm = LedArm(NOMINAL)
        arm.answer = lambda run: 0.0
        arm.run()
        arm.follow(5)
        arm.leader, arm.follows = np.full(3, 1.0), False
        arm.tick()
        arm.runtime.take_over()

        for pushed in np.linspace(0.0, 0.5, 40):
            arm.joint_pos = np.full(3, pushed)
            found = arm.tick()
        assert arm.is_in(Mode.RUN)
        assert arm.takeover.driver is Driver.HANDOVER
        assert found[0] > 0.3

    def test_targets_of_a_person_stay_within_the_joints_limits(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        for position in (1.6, 3.0):
            led_arm.leader = np.full(3, position)
            led_arm.tick()
        assert led_arm.follow(40).max() == 2.0
        assert led_arm.is_in(Mode.RUN)

    def test_a_person_may_rescue_a_policy_that_is_held(self, led_arm: LedArm) -> None:
        def fail() -> None:
            raise BackendError("the NPU is gone")

        led_arm.leader = led_arm.tick()
        led_arm.transformer.during_run = fail
        while led_arm.is_in(Mode.RUN):
            led_arm.tick()
        assert led_arm.is_in(Mode.HOLD)
        led_arm.runtime.take_over()

        led_arm.tick()
        assert led_arm.is_in(Mode.RUN)
        led_arm.follow(REST_TICKS)
        assert led_arm.takeover.person_drives


class TestHandingBack:
    def test_the_policy_begins_with_a_new_chunk_from_what_it_sees_then(self) -> None:
        arm = LedArm(mode="synchronous")
        arm.answer = ramp
        arm.run()
        arm.follow(3)
        arm.is_taken()
        runs = arm.transformer.runs
        arm.runtime.hand_back()
        arm.tick()

        assert arm.transformer.runs == runs + 1
        assert arm.transformer.inputs["states"].tolist() == [pytest.approx(arm.leader)]

    def test_the_policy_is_blended_in_from_the_last_command(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        led_arm.leader = np.full(3, 0.7)
        before = led_arm.follow(10)[-1]
        led_arm.runtime.hand_back()

        found = led_arm.follow(BLEND_TICKS + 5)
        assert led_arm.takeover.driver is Driver.POLICY
        np.testing.assert_allclose(found[BLEND_TICKS - 1 :], 0.3, atol=2 * STRIDE)
        np.testing.assert_allclose(found[-1], 0.3)
        assert largest_steps(found, before).max() <= STRIDE + 1e-12
        check_wording(led_arm.reason)

    def test_the_arm_rests_until_the_first_chunk_is_there(self) -> None:
        arm = LedArm(simulated_latency_s=0.3, steps=STEPS)
        arm.answer = lambda run: 0.3
        arm.run()
        arm.follow(10)
        before = arm.is_taken().tick()
        arm.runtime.hand_back()

        np.testing.assert_array_equal(arm.follow(3), np.tile(before, (3, 1)))
        check_wording(arm.reason)
        arm.follow(BLEND_TICKS + 1)
        assert arm.takeover.driver is Driver.POLICY

    def test_a_person_may_take_over_again_during_the_way_back(self, led_arm: LedArm) -> None:
        before = led_arm.is_taken().tick()
        led_arm.runtime.hand_back()
        led_arm.tick()
        led_arm.runtime.take_over()

        found = led_arm.follow(REST_TICKS + BLEND_TICKS)
        assert led_arm.takeover.person_drives
        assert largest_steps(found, before).max() <= STRIDE

    def test_a_new_run_begins_with_the_policy(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        led_arm.controller.damp()
        led_arm.run()
        led_arm.tick()

        assert led_arm.takeover.driver is Driver.POLICY


def test_two_hundred_handovers_are_without_a_jump() -> None:
    arm = LedArm(simulated_latency_s=0.2, steps=STEPS)
    random = np.random.default_rng(5)
    arm.answer = lambda run: np.repeat(random.uniform(-1.5, 1.5, (1, 1, 3)), STEPS, axis=1)
    arm.run()
    before, largest, policy = arm.tick(), 0.0, np.inf
    for _ in range(100):
        found = arm.follow(12)
        policy = min(policy, largest_steps(found, before).max())
        arm.leader = np.clip(found[-1] + random.uniform(-0.3, 0.3, 3), -2.0, 2.0)
        beyond = bool(np.abs(arm.leader - found[-1]).max() > TOLERANCE)
        arm.tick()
        arm.runtime.take_over()
        before = arm.tick()
        if np.abs(arm.leader - before).max() > TOLERANCE:
            assert arm.takeover.driver is Driver.HANDOVER or not beyond
            arm.leader = before + random.uniform(-0.1, 0.1, 3)
        found = arm.follow(REST_TICKS + BLEND_TICKS)
        largest = max(largest, largest_steps(found, before).max())
        assert arm.takeover.person_drives
        before, arm.leader = found[-1], random.uniform(-1.5, 1.5, 3)
        found = arm.follow(12)
        largest = max(largest, largest_steps(found, before).max())
        before = found[-1]
        arm.runtime.hand_back()
        found = arm.follow(BLEND_TICKS + 3)
        largest = max(largest, largest_steps(found, before).max())
        before = found[-1]
    assert largest <= STRIDE + 1e-12
    assert largest > 0.9 * STRIDE, "nothing came near the bound, so nothing was tried"
    assert not arm.controller.snapshot().latched


class TestLeaderThatDropsOut:
    def test_while_a_person_drives_the_arm_is_held_and_says_why(self, led_arm: LedArm) -> None:
        before = led_arm.is_taken().tick()
        led_arm.leader = None
        led_arm.controller.inputs[LEADER.name].reject("expected finite numbers, found NaN")

        np.testing.assert_array_equal(led_arm.follow(5), np.tile(before, (5, 1)))
        assert led_arm.is_in(Mode.HOLD)
        check_wording(led_arm.reason)

    def test_in_the_handover_too(self, led_arm: LedArm) -> None:
        led_arm.leader = led_arm.tick() + 1.0
        led_arm.tick()
        led_arm.runtime.take_over()
        led_arm.leader = None
        led_arm.follow(TIMEOUT_TICKS + 1)

        assert led_arm.is_in(Mode.HOLD)
        check_wording(led_arm.reason)

    def test_one_that_returns_has_to_match_again(self, led_arm: LedArm) -> None:
        before = led_arm.is_taken().tick()
        led_arm.leader = None
        led_arm.follow(TIMEOUT_TICKS + 1)
        led_arm.leader = before + 0.5

        np.testing.assert_array_equal(led_arm.follow(5), np.tile(before, (5, 1)))
        assert led_arm.is_in(Mode.RUN)
        assert led_arm.takeover.driver is Driver.HANDOVER
        led_arm.leader = before + 0.1
        found = led_arm.follow(REST_TICKS + BLEND_TICKS)
        np.testing.assert_allclose(found[-1], led_arm.leader)

    def test_one_that_returns_and_matches_drives_once_its_motors_were_asked_to_rest(
        self, led_arm: LedArm
    ) -> None:
        before = led_arm.is_taken().tick()
        led_arm.leader = None
        led_arm.follow(TIMEOUT_TICKS + 1)
        led_arm.leader = before

        for _ in range(REST_TICKS):
            led_arm.tick()
            assert led_arm.takeover.driver is Driver.HANDOVER
        led_arm.tick()
        assert led_arm.takeover.person_drives

    def test_one_that_drops_out_of_the_handover_has_to_rest_again(self, led_arm: LedArm) -> None:
        before = led_arm.leader = led_arm.tick()
        led_arm.tick()
        led_arm.runtime.take_over()
        led_arm.follow(REST_TICKS - 1)
        led_arm.leader = None
        led_arm.follow(TIMEOUT_TICKS + 1)
        led_arm.leader = before

        led_arm.follow(REST_TICKS)
        assert led_arm.takeover.driver is Driver.HANDOVER
        led_arm.tick()
        assert led_arm.takeover.person_drives

    def test_one_that_stays_away_is_a_fault(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        led_arm.leader = None
        led_arm.follow(20)

        assert led_arm.controller.snapshot().latched
        check_wording(led_arm.reason)

    def test_the_policy_can_have_the_arm_back_before_that(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        led_arm.leader = None
        led_arm.follow(TIMEOUT_TICKS + 2)
        assert led_arm.is_in(Mode.HOLD)
        led_arm.runtime.hand_back()
        led_arm.follow(BLEND_TICKS)

        assert led_arm.is_in(Mode.RUN)
        assert led_arm.takeover.driver is Driver.POLICY

    def test_after_any_hold_the_leader_has_to_match_again(self, led_arm: LedArm) -> None:
        before = led_arm.is_taken().tick()
        led_arm.follow(3, silent=["joint_states"])
        assert led_arm.is_in(Mode.HOLD)
        led_arm.leader = before + 1.0
        led_arm.follow(2)

        assert led_arm.takeover.driver is Driver.HANDOVER

    def test_the_policy_runs_without_a_leader(self, led_arm: LedArm) -> None:
        assert led_arm.is_in(Mode.RUN)
        assert led_arm.controller.inputs[LEADER.name].age_ns(led_arm.now_ns) is None


class TestImplausibleLeader:
    """A leader that is there, whose pose cannot be true."""

    def test_degrees_are_refused(self, led_arm: LedArm) -> None:
        led_arm.leader = np.rad2deg(led_arm.tick())
        led_arm.tick()
        with refusal(RefusedError):
            led_arm.runtime.take_over()
        assert led_arm.takeover.driver is Driver.POLICY

    @pytest.mark.parametrize("jump", [np.array([0.0, 0.0, 2.9]), np.array([-2.6, 0.0, 0.0])])
    def test_one_that_jumps_holds_the_arm_and_has_to_match_again(
        self, led_arm: LedArm, jump: F64
    ) -> None:
        before = led_arm.is_taken().tick()
        led_arm.leader = before + jump
        np.testing.assert_array_equal(led_arm.tick(), before)
        assert led_arm.is_in(Mode.HOLD)
        check_wording(led_arm.reason)

        np.testing.assert_array_equal(led_arm.follow(20), np.tile(before, (20, 1)))
        assert led_arm.is_in(Mode.RUN)
        check_wording(led_arm.takeover.awaits_leader)
        led_arm.leader = before + 0.1
        led_arm.follow(20)
        assert led_arm.takeover.person_drives

    def test_a_pose_of_a_moment_does_not_move_the_arm(self, led_arm: LedArm) -> None:
        before = led_arm.is_taken().tick()
        assert led_arm.leader is not None
        there, led_arm.leader = led_arm.leader, led_arm.leader + 3.0
        found = [led_arm.tick()]
        led_arm.leader = there

        found += [*led_arm.follow(REST_TICKS + 2)]
        np.testing.assert_array_equal(found, np.tile(before, (len(found), 1)))
        assert led_arm.takeover.person_drives

    def test_one_that_goes_to_degrees_while_a_person_drives_holds_the_arm(
        self, led_arm: LedArm
    ) -> None:
        before = led_arm.is_taken().tick()
        led_arm.leader = np.rad2deg(before)
        np.testing.assert_array_equal(led_arm.follow(3), np.tile(before, (3, 1)))
        assert led_arm.is_in(Mode.HOLD)
        check_wording(led_arm.reason)

    def test_a_hand_may_be_much_quicker_than_the_arm(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        assert led_arm.leader is not None
        for _ in range(3):
            led_arm.leader = led_arm.leader + 0.5  # five times the arm's largest step
            led_arm.tick()
            assert led_arm.is_in(Mode.RUN)
        assert led_arm.takeover.person_drives

    def test_a_still_leader_is_named_and_has_to_match_if_it_is_elsewhere_at_once(
        self, led_arm: LedArm
    ) -> None:
        before = led_arm.is_taken().tick()
        led_arm.follow(60)
        check_wording(led_arm.takeover.awaits_leader)
        assert led_arm.takeover.person_drives
        assert led_arm.leader is not None
        led_arm.leader = led_arm.leader + 0.4

        np.testing.assert_array_equal(led_arm.follow(5), np.tile(before, (5, 1)))
        assert led_arm.takeover.driver is Driver.HANDOVER
        check_wording(led_arm.reason)

    def test_a_hand_that_rested_goes_on(self, led_arm: LedArm) -> None:
        led_arm.is_taken().follow(60)
        assert led_arm.leader is not None
        led_arm.leader = led_arm.leader + 0.05
        np.testing.assert_allclose(led_arm.follow(2)[-1], led_arm.leader)
        assert led_arm.takeover.person_drives
        assert led_arm.takeover.awaits_leader == ""


class TestRefusals:
    def test_without_a_leader(self, led_arm: LedArm) -> None:
        with refusal(RefusedError):
            led_arm.runtime.take_over()
        assert led_arm.takeover.driver is Driver.POLICY

    def test_of_a_person_who_takes_over_twice(self, led_arm: LedArm) -> None:
        led_arm.is_taken()
        with refusal(RefusedError):
            led_arm.runtime.take_over()
        assert led_arm.takeover.person_drives

    def test_of_a_policy_that_drives_already(self, led_arm: LedArm) -> None:
        with refusal(RefusedError):
            led_arm.runtime.hand_back()

    def test_of_an_arm_that_does_not_run(self, led_arm: LedArm) -> None:
        led_arm.controller.damp()
        for ask in (led_arm.runtime.take_over, led_arm.runtime.hand_back):
            with refusal(RefusedError):
                ask()

    def test_where_no_person_may_take_over(self) -> None:
        with refusal(RefusedError):
            Arm().runtime.take_over()


class TestLeaderGuide:
    """A leader with motors."""

    ARM = np.array([0.5, -0.5, 0.0])

    @pytest.fixture
    def guide(self) -> LeaderGuide:
        """Of a leader whose motors may be commanded."""
        return LeaderGuide(chunk_contract_of())

    def targets(self, guide: LeaderGuide, driver: Driver, leader: F64) -> JointTargets:
        found = guide.targets(Mode.RUN, driver, self.ARM, leader)
        assert found is not None
        return found

    def test_goes_to_the_arm_slowly_after_it_was_commanded_to_rest(
        self, guide: LeaderGuide
    ) -> None:
        leader, modes, places = np.zeros(3), list[Mode](), list[float]()
        for _ in range(30):
            found = self.targets(guide, Driver.POLICY, leader)
            modes.append(found.mode)
            places.append(float(found.position[0]))
            leader = found.position.copy()
        assert modes == [Mode.DAMP] * 10 + [Mode.RUN] * 20
        assert places[:10] == [0.0] * 10
        assert np.diff(places).max() <= 0.1 + 1e-12  # 1 rad/s at 10 Hz
        np.testing.assert_allclose(leader, self.ARM)

    def test_is_limp_while_a_person_drives_and_follows_again_from_where_it_is(
        self, guide: LeaderGuide
    ) -> None:
        for _ in range(REST_TICKS):
            rests = self.targets(guide, Driver.HANDOVER, self.ARM)
            assert rests.mode is Mode.DAMP
            assert rests.stiffness.all()
        limp = self.targets(guide, Driver.PERSON, self.ARM)
        assert not limp.stiffness.any()
        assert not limp.damping.any()
        moved = self.ARM + 0.4
        self.targets(guide, Driver.PERSON, moved)
        back = self.targets(guide, Driver.RETURN, moved)
        np.testing.assert_allclose(back.position, moved - 0.1)
        assert back.stiffness.all()

    def test_rests_again_when_a_takeover_begins(self, guide: LeaderGuide) -> None:
        for _ in range(20):
            follows = self.targets(guide, Driver.POLICY, self.ARM)
        assert follows.mode is Mode.RUN

        modes = [self.targets(guide, Driver.HANDOVER, self.ARM).mode for _ in range(REST_TICKS + 1)]
        assert modes == [Mode.DAMP] * REST_TICKS + [Mode.RUN]

    def test_that_was_silent_rests_before_it_is_limp(self, guide: LeaderGuide) -> None:
        for _ in range(20):
            self.targets(guide, Driver.HANDOVER, self.ARM)
        assert guide.targets(Mode.HOLD, Driver.PERSON, self.ARM, None) is None

        for _ in range(REST_TICKS):
            rests = self.targets(guide, Driver.PERSON, self.ARM)
            assert rests.mode is Mode.DAMP
            assert rests.stiffness.all()
        assert not self.targets(guide, Driver.PERSON, self.ARM).stiffness.any()

    def test_rests_where_it_is_outside_a_run(self, guide: LeaderGuide) -> None:
        first = guide.targets(Mode.DAMP, Driver.POLICY, self.ARM, np.zeros(3))
        assert first is not None
        later = guide.targets(Mode.READY, Driver.POLICY, self.ARM, np.full(3, 0.2))
        assert later is not None
        assert later.mode is Mode.DAMP
        assert later.position.tolist() == [0.0] * 3

    def test_that_is_silent_is_commanded_nothing(self, guide: LeaderGuide) -> None:
        assert guide.targets(Mode.RUN, Driver.POLICY, self.ARM, None) is None


def test_ages_are_those_of_the_clock_of_ticks() -> None:
    arm = LedArm()
    arm.run()
    arm.leader = arm.tick()
    arm.tick()
    arm.now_ns += 2 * PERIOD_NS + 1 * MS

    with refusal(RefusedError):
        arm.runtime.take_over()
