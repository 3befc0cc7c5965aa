# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A person takes over from a chunk policy and hands back, in simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.state_fields import LEADER, LEADER_POS
from policy_core.errors import BackendError, RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.takeover import Driver, LeaderGuide, PersonTakeover
from testkit.kernel.arms import MS, PERIOD_NS, Arm, ramp
from testkit.kernel.chunk_contracts import STEPS, chunk_contract_of
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

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
        assert self.runtime.requests.person is not None
        return self.runtime.requests.person

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
        self.runtime.requests.take_over()
        self.follow(REST_TICKS + BLEND_TICKS + 1)
        assert self.takeover.driver is Driver.PERSON
        return self


@pytest.fixture
def arm_led() -> LedArm:
    """An arm under a policy that stays at 0.3 rad, in RUN."""
    arm = LedArm()
    arm.answer = lambda run: 0.3
    arm.run()
    arm.follow(10)
    return arm


def largest_steps(found: F64, before: F64) -> F64:
    steps: F64 = np.abs(np.diff(np.vstack([before, found]), axis=0)).max(axis=1)
    return steps


class TestTakingOver:
    def test_the_arm_rests_until_the_leader_matches(self, arm_led: LedArm) -> None:
        arm_led.leader = np.array([0.3, 0.3, 0.8])
        before = arm_led.tick()
        arm_led.runtime.requests.take_over()

        np.testing.assert_array_equal(arm_led.follow(20), np.tile(before, (20, 1)))
        assert arm_led.is_in(Mode.RUN)
        check_wording(arm_led.takeover.awaits_leader)

        arm_led.leader = before + 0.1
        arm_led.follow(BLEND_TICKS)
        assert arm_led.takeover.driver is Driver.PERSON
        assert arm_led.takeover.awaits_leader == ""
        check_wording(arm_led.reason)

    def test_the_arm_goes_to_the_leader_over_the_handover_time(self, arm_led: LedArm) -> None:
        before = arm_led.tick()
        arm_led.leader = before + TOLERANCE - 0.01
        arm_led.tick()
        arm_led.runtime.requests.take_over()

        np.testing.assert_array_equal(arm_led.follow(REST_TICKS), np.tile(before, (REST_TICKS, 1)))
        found = arm_led.follow(BLEND_TICKS + 3)
        np.testing.assert_allclose(found[BLEND_TICKS - 1 :], np.tile(arm_led.leader, (4, 1)))
        assert (np.diff(found[:, 0]) >= 0.0).all()
        assert largest_steps(found, before).max() < 2 * TOLERANCE / BLEND_TICKS

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

    def test_a_person_may_rescue_a_policy_that_is_held(self, arm_led: LedArm) -> None:
        def fail() -> None:
            raise BackendError("the NPU is gone")

        arm_led.leader = arm_led.tick()
        arm_led.transformer.during_run = fail
        while arm_led.is_in(Mode.RUN):
            arm_led.tick()
        assert arm_led.is_in(Mode.HOLD)
        arm_led.runtime.requests.take_over()

        arm_led.tick()
        assert arm_led.is_in(Mode.RUN)
        arm_led.follow(REST_TICKS)
        assert arm_led.takeover.person_drives


class TestHandingBack:
    def test_the_policy_begins_with_a_new_chunk_from_what_it_sees_then(self) -> None:
        arm = LedArm(mode="synchronous")
        arm.answer = ramp
        arm.run()
        arm.follow(3)
        arm.is_taken()
        runs = arm.transformer.runs
        arm.runtime.requests.hand_back()
        arm.tick()

        assert arm.transformer.runs == runs + 1
        assert arm.transformer.inputs["states"].tolist() == [pytest.approx(arm.leader)]

    def test_the_arm_rests_until_the_first_chunk_is_there(self) -> None:
        arm = LedArm(simulated_latency_s=0.3, steps=STEPS)
        arm.answer = lambda run: 0.3
        arm.run()
        arm.follow(10)
        before = arm.is_taken().tick()
        arm.runtime.requests.hand_back()

        np.testing.assert_array_equal(arm.follow(3), np.tile(before, (3, 1)))
        check_wording(arm.reason)
        arm.follow(BLEND_TICKS + 1)
        assert arm.takeover.driver is Driver.POLICY


@pytest.mark.parametrize("there_and_back", [20, pytest.param(100, marks=pytest.mark.acceptance)])
def test_handovers_are_without_a_jump(there_and_back: int) -> None:
    arm = LedArm(simulated_latency_s=0.2, steps=STEPS)
    random = np.random.default_rng(5)
    arm.answer = lambda run: np.repeat(random.uniform(-1.5, 1.5, (1, 1, 3)), STEPS, axis=1)
    arm.run()
    before, largest, policy = arm.tick(), 0.0, np.inf
    for _ in range(there_and_back):
        found = arm.follow(12)
        policy = min(policy, largest_steps(found, before).max())
        arm.leader = np.clip(found[-1] + random.uniform(-0.3, 0.3, 3), -2.0, 2.0)
        beyond = bool(np.abs(arm.leader - found[-1]).max() > TOLERANCE)
        arm.tick()
        arm.runtime.requests.take_over()
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
        arm.runtime.requests.hand_back()
        found = arm.follow(BLEND_TICKS + 3)
        largest = max(largest, largest_steps(found, before).max())
        before = found[-1]
    assert largest <= STRIDE + 1e-12
    assert largest > 0.9 * STRIDE, "nothing came near the bound, so nothing was tried"
    assert not arm.controller.snapshot().latched


class TestLeaderThatDropsOut:
    @pytest.mark.parametrize("drives", [True, False], ids=["person drives", "handover"])
    def test_the_arm_is_held_and_says_why(self, arm_led: LedArm, drives: bool) -> None:
        before = arm_led.tick()
        if drives:
            before = arm_led.is_taken(before).tick()
        else:
            arm_led.leader = before + 1.0
            arm_led.tick()
            arm_led.runtime.requests.take_over()
        arm_led.leader = None
        arm_led.controller.inputs[LEADER.name].reject("expected finite numbers, found NaN")

        np.testing.assert_array_equal(arm_led.follow(5), np.tile(before, (5, 1)))
        assert arm_led.is_in(Mode.HOLD)
        check_wording(arm_led.reason)

    def test_one_that_stays_away_is_a_fault(self, arm_led: LedArm) -> None:
        arm_led.is_taken()
        arm_led.leader = None
        arm_led.follow(20)

        assert arm_led.controller.snapshot().latched
        assert arm_led.reason.startswith(f"{Rule.HELD_TOO_LONG.value}: the leader")

    def test_one_that_returns_has_to_match_again(self, arm_led: LedArm) -> None:
        before = arm_led.is_taken().tick()
        arm_led.leader = None
        arm_led.follow(TIMEOUT_TICKS + 1)
        arm_led.leader = before + 0.5

        np.testing.assert_array_equal(arm_led.follow(5), np.tile(before, (5, 1)))
        assert arm_led.is_in(Mode.RUN)
        assert arm_led.takeover.driver is Driver.HANDOVER
        arm_led.leader = before + 0.1
        found = arm_led.follow(REST_TICKS + BLEND_TICKS)
        np.testing.assert_allclose(found[-1], arm_led.leader)

    def test_one_that_returns_and_matches_drives_once_its_motors_were_asked_to_rest(
        self, arm_led: LedArm
    ) -> None:
        before = arm_led.is_taken().tick()
        arm_led.leader = None
        arm_led.follow(TIMEOUT_TICKS + 1)
        arm_led.leader = before

        for _ in range(REST_TICKS):
            arm_led.tick()
            assert arm_led.takeover.driver is Driver.HANDOVER
        arm_led.tick()
        assert arm_led.takeover.person_drives


class TestImplausibleLeader:
    """A leader that is there, whose pose cannot be true."""

    @pytest.mark.parametrize("jump", [np.array([0.0, 0.0, 2.9]), np.array([-2.6, 0.0, 0.0])])
    def test_one_that_jumps_holds_the_arm_and_has_to_match_again(
        self, arm_led: LedArm, jump: F64
    ) -> None:
        before = arm_led.is_taken().tick()
        arm_led.leader = before + jump
        np.testing.assert_array_equal(arm_led.tick(), before)
        assert arm_led.is_in(Mode.HOLD)
        check_wording(arm_led.reason)

        np.testing.assert_array_equal(arm_led.follow(20), np.tile(before, (20, 1)))
        assert arm_led.is_in(Mode.RUN)
        check_wording(arm_led.takeover.awaits_leader)
        arm_led.leader = before + 0.1
        arm_led.follow(20)
        assert arm_led.takeover.person_drives

    def test_a_pose_of_a_moment_does_not_move_the_arm(self, arm_led: LedArm) -> None:
        before = arm_led.is_taken().tick()
        assert arm_led.leader is not None
        there, arm_led.leader = arm_led.leader, arm_led.leader + 3.0
        found = [arm_led.tick()]
        arm_led.leader = there

        found += [*arm_led.follow(REST_TICKS + 2)]
        np.testing.assert_array_equal(found, np.tile(before, (len(found), 1)))
        assert arm_led.takeover.person_drives

    def test_a_hand_may_be_much_quicker_than_the_arm(self, arm_led: LedArm) -> None:
        arm_led.is_taken()
        assert arm_led.leader is not None
        for _ in range(3):
            arm_led.leader = arm_led.leader + 0.5  # five times the arm's largest step
            arm_led.tick()
            assert arm_led.is_in(Mode.RUN)
        assert arm_led.takeover.person_drives

    def test_a_still_leader_is_named_and_has_to_match_if_it_is_elsewhere_at_once(
        self, arm_led: LedArm
    ) -> None:
        before = arm_led.is_taken().tick()
        arm_led.follow(60)
        check_wording(arm_led.takeover.awaits_leader)
        assert arm_led.takeover.person_drives
        assert arm_led.leader is not None
        arm_led.leader = arm_led.leader + 0.05
        before = arm_led.follow(2)[-1]
        np.testing.assert_allclose(before, arm_led.leader)
        assert (arm_led.takeover.person_drives, arm_led.takeover.awaits_leader) == (True, "")
        arm_led.follow(60)
        arm_led.leader = arm_led.leader + 0.4

        np.testing.assert_array_equal(arm_led.follow(5), np.tile(before, (5, 1)))
        assert arm_led.takeover.driver is Driver.HANDOVER
        check_wording(arm_led.reason)


class TestLeaderGuide:
    ARM = np.array([0.5, -0.5, 0.0])

    @pytest.fixture
    def guide(self) -> LeaderGuide:
        return LeaderGuide(chunk_contract_of())

    @pytest.mark.parametrize(
        ("ticks", "expected"),
        [
            ("P" * 14, "rrrrrrrrrrffff"),
            ("H" * 10 + "DDR", "rrrrrrrrrrllf"),
            ("P" * 12 + "H" * 12, "rrrrrrrrrrff" + "rrrrrrrrrrff"),
            ("H" * 12 + "-" + "D" * 12, "rrrrrrrrrrff" + "-" + "rrrrrrrrrrll"),
            ("-P", "-r"),
        ],
    )
    def test_rests_before_it_follows_and_before_it_is_limp_for_a_person(
        self, guide: LeaderGuide, ticks: str, expected: str
    ) -> None:
        """Ticks under a policy, in a handover, driven, on the way back, or of a silent leader."""
        drivers = {"P": Driver.POLICY, "H": Driver.HANDOVER, "D": Driver.PERSON, "R": Driver.RETURN}
        seen = ""
        for tick in ticks:
            leader = None if tick == "-" else self.ARM
            found = guide.targets(Mode.RUN, drivers.get(tick, Driver.PERSON), self.ARM, leader)
            if found is None:
                seen += "-"
            elif not found.stiffness.any():
                assert not found.damping.any()
                seen += "l"
            else:
                assert found.stiffness.all()
                seen += "r" if found.mode is Mode.DAMP else "f"
        assert seen == expected

    def test_goes_to_the_arm_slowly_from_where_it_is(self, guide: LeaderGuide) -> None:
        leader, places = np.zeros(3), list[float]()
        for _ in range(30):
            found = guide.targets(Mode.RUN, Driver.POLICY, self.ARM, leader)
            assert found is not None
            places.append(float(found.position[0]))
            leader = found.position.copy()
        assert places[:10] == [0.0] * 10
        assert np.diff(places).max() <= 0.1 + 1e-12  # 1 rad/s at 10 Hz
        np.testing.assert_allclose(leader, self.ARM)
        guide.targets(Mode.RUN, Driver.PERSON, self.ARM, self.ARM + 0.4)
        back = guide.targets(Mode.RUN, Driver.RETURN, self.ARM, self.ARM + 0.4)
        assert back is not None
        np.testing.assert_allclose(back.position, self.ARM + 0.3)


def test_what_cannot_be_granted_is_refused(arm_led: LedArm) -> None:
    with refusal(RefusedError):  # no leader
        arm_led.runtime.requests.take_over()
    with refusal(RefusedError):  # the policy drives
        arm_led.runtime.requests.hand_back()
    before = arm_led.tick()
    arm_led.leader = np.rad2deg(before)
    arm_led.tick()
    with refusal(RefusedError):  # degrees
        arm_led.runtime.requests.take_over()
    assert arm_led.takeover.driver is Driver.POLICY
    arm_led.is_taken(before)
    with refusal(RefusedError):  # a person drives
        arm_led.runtime.requests.take_over()
    assert arm_led.takeover.person_drives
    arm_led.now_ns += 2 * PERIOD_NS + 1 * MS
    arm_led.runtime.requests.hand_back()
    with refusal(RefusedError):  # the leader is silent by the clock of ticks
        arm_led.runtime.requests.take_over()
    arm_led.controller.damp()
    for ask in (arm_led.runtime.requests.take_over, arm_led.runtime.requests.hand_back):
        with refusal(RefusedError):
            ask()
    with refusal(RefusedError):  # no settings for a person
        Arm().runtime.requests.take_over()
