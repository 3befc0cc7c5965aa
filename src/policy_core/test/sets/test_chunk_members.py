# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy that commands an arm beside a joint policy that commands legs."""

import numpy as np
import pytest

from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_core.members.chunk.controller import camera_input
from testkit.kernel.arms import ramp
from testkit.kernel.contracts import DEFAULT
from testkit.kernel.legs_and_arm import ARM, LEGS, LegsAndArm
from testkit.kernel.robots import fail
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores

TICKS_PER_STEP = 5
HOLD_TICKS = 50


def walking_with_arm(robot: LegsAndArm) -> LegsAndArm:
    """Enter RUN; the next tick is the policies' first."""
    robot.run(ticks=0)
    return robot


def synchronous(simulated_latency_s: float = 0.0) -> LegsAndArm:
    """Return a robot whose arm executes one chunk after the other, from a ramp."""
    robot = LegsAndArm(mode="synchronous", simulated_latency_s=simulated_latency_s)
    robot.chunk = ramp
    return robot


def test_each_member_commands_its_joints_at_its_own_rate() -> None:
    robot = walking_with_arm(synchronous())
    robot.answer(0.2, 0.2, 0.2)
    commanded = robot.follow(3 * TICKS_PER_STEP)
    np.testing.assert_allclose(commanded[:, LEGS], np.tile(np.add(DEFAULT, 0.1), (15, 1)))
    steps = np.repeat([0.0, 0.01, 0.02], TICKS_PER_STEP)
    np.testing.assert_allclose(commanded[:, ARM], np.repeat(steps[:, np.newaxis], 3, axis=1))
    assert robot.commanded().stiffness.tolist() == [30.0] * 3 + [20.0] * 3
    assert robot.backend.runs == 16
    assert robot.transformer.runs == 1


@pytest.mark.parametrize(
    ("rate_hz", "steps"),
    [(25.0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (30.0, [0, 0, 1, 1, 2, 3, 3, 4, 4, 5])],
)
def test_a_step_falls_on_the_tick_at_which_it_is_due_or_the_next(
    rate_hz: float, steps: list[int]
) -> None:
    robot = LegsAndArm(arm={"rate_hz": rate_hz, "chunk.steps": 10}, mode="synchronous")
    robot.chunk = ramp
    commanded = walking_with_arm(robot).follow(10)
    np.testing.assert_allclose(commanded[:, ARM.start], np.multiply(0.01, steps), atol=1e-12)


def test_the_legs_walk_while_the_first_chunk_is_computed() -> None:
    robot = walking_with_arm(synchronous(simulated_latency_s=0.3))
    robot.answer(0.2, 0.2, 0.2)
    commanded = robot.follow(20)
    np.testing.assert_allclose(commanded[:, LEGS], np.tile(np.add(DEFAULT, 0.1), (20, 1)))
    assert not commanded[:15, ARM].any()
    assert commanded[-1, ARM.start] == pytest.approx(0.0)
    assert robot.is_in(Mode.RUN)
    assert robot.follow(TICKS_PER_STEP)[-1, ARM.start] == pytest.approx(0.01)


def test_no_step_passes_while_the_joints_of_the_arm_are_held() -> None:
    robot = walking_with_arm(synchronous(simulated_latency_s=0.3))
    robot.follow(20)  # the first chunk, and its first step
    executed = robot.follow(4 * TICKS_PER_STEP)  # the other steps of it
    held = robot.follow(3 * TICKS_PER_STEP)
    assert executed[-1, ARM.start] == pytest.approx(0.04)
    np.testing.assert_allclose(held[:-1, ARM.start], 0.04)
    check_wording(robot.arm.held)
    assert robot.follow(TICKS_PER_STEP)[-1, ARM.start] == pytest.approx(0.1)
    assert robot.arm.held == ""
    assert robot.is_in(Mode.RUN)


def test_a_silent_camera_holds_the_arm_and_not_the_legs() -> None:
    robot = walking_with_arm(synchronous())
    robot.follow(6)
    robot.blind.add("phone")
    robot.answer(0.2, 0.2, 0.2)
    commanded = robot.follow(40)
    assert camera_input("phone") in robot.arm.held
    assert robot.state == "both"
    assert robot.is_in(Mode.RUN)
    np.testing.assert_allclose(commanded[-1, LEGS], np.add(DEFAULT, 0.1))
    np.testing.assert_allclose(commanded[-10:, ARM], np.tile(commanded[-1, ARM], (10, 1)))
    robot.blind.clear()
    robot.follow(TICKS_PER_STEP)
    assert robot.arm.held == ""


def test_an_arm_that_is_held_for_too_long_is_left_for_the_fallback() -> None:
    robot = walking_with_arm(synchronous())
    robot.follow(6)
    robot.blind.add("phone")
    robot.follow(25 + HOLD_TICKS + TICKS_PER_STEP)
    assert robot.state == "alone"
    assert robot.policy.report.fallbacks == 1
    check_wording(robot.policy.report.last[2])
    robot.follow(10)
    np.testing.assert_allclose(robot.commanded().position[ARM], 0.0, atol=1e-12)
    assert robot.is_in(Mode.RUN)


@pytest.mark.parametrize("blend_s", [0.0, 0.1])
def test_joints_that_are_held_go_to_the_stand_pose_within_their_velocity_limit(
    blend_s: float,
) -> None:
    robot = LegsAndArm({"states.both.to": {"alone": {"blend_s": blend_s}}}, mode="synchronous")
    robot.chunk = lambda run: 1.5
    walking_with_arm(robot).follow(120)
    contract = robot.set_contract
    largest = contract.joints.velocity_limit[ARM] / contract.rate_hz
    before = robot.commanded().position[ARM]
    assert (before > 5 * largest).all()
    robot.requests.switch("alone")
    way = np.vstack([before, robot.follow(120)[:, ARM]])
    assert (np.abs(np.diff(way, axis=0)) <= largest + 1e-12).all()
    np.testing.assert_allclose(way[-1], 0.0, atol=1e-12)


@pytest.mark.parametrize("failing", ["raises", "is not finite"])
def test_an_inference_that_fails_is_answered_by_the_fallback(failing: str) -> None:
    robot = walking_with_arm(synchronous())
    robot.follow(6)
    if failing == "raises":
        robot.transformer.during_run = fail
    else:
        robot.chunk = lambda run: np.nan
    robot.follow(5 * TICKS_PER_STEP)
    assert (robot.state, robot.is_in(Mode.RUN)) == ("alone", True)
    check_wording(robot.policy.report.last[2])


def test_without_a_fallback_the_guard_acts() -> None:
    robot = LegsAndArm({"states.both.fallback": None}, mode="synchronous")
    walking_with_arm(robot).follow(6)
    robot.transformer.during_run = fail
    robot.follow(4 * TICKS_PER_STEP)
    assert robot.is_in(Mode.HOLD)
    robot.follow(10)
    assert robot.count(Rule.INFERENCE_ERROR) == 1
    assert robot.count(Rule.HELD_TOO_LONG) == 1
    assert robot.is_in(Mode.DAMP)


def test_an_arm_that_begins_to_command_goes_on_from_where_it_was_held() -> None:
    robot = LegsAndArm({"initial": "alone"}, mode="synchronous", simulated_latency_s=0.3)
    robot.chunk = lambda run: np.full((1, 10, 3), 0.3)
    walking_with_arm(robot).follow(10)
    robot.requests.switch("both")
    assert robot.transformer.runs == 0
    held = robot.follow(14)
    assert robot.state == "both"
    assert not held[:, ARM].any()
    np.testing.assert_allclose(robot.follow(6)[-1, ARM], 0.3)
