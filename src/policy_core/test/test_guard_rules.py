# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rules 5, 7 and 8 of the guard, and which rule acts where two apply."""

import math

import numpy as np
import pytest

from policy_core.guard.bounds import CLIPPED_TICKS_LIMIT, Rule
from policy_core.interfaces import F64, Mode
from policy_core.members.joint import JointPolicy
from policy_core.native_controller import NativeController
from testkit.kernel.contracts import DEFAULT, NOMINAL
from testkit.kernel.robots import (
    BOTH,
    MS,
    PERIOD_NS,
    STALE_AFTER,
    TILTED,
    Robot,
    Targets,
    assert_latched,
    assert_safe,
    fail,
    silence_inputs,
)
from testkit.numbers import numbers_in
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores


def test_inference_that_raises_holds_recovers_and_damps_if_it_goes_on(strider: Robot) -> None:
    last = strider.commanded()
    strider.backend.during_run = fail
    strider.answer(-0.5, -0.5, -0.5)
    held = strider.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert strider.is_in(Mode.HOLD)
    check_wording(strider.reason)
    assert strider.count(Rule.INFERENCE_ERROR) == 1
    strider.backend.during_run = lambda: None
    strider.tick()
    assert strider.is_in(Mode.RUN)
    strider.backend.during_run = fail
    for _ in range(6):
        strider.tick()
    assert strider.is_in(Mode.HOLD)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.HELD_TOO_LONG)


def test_a_result_after_the_next_deadline_is_dropped(strider: Robot) -> None:
    last = strider.commanded()
    strider.answer(-0.5, -0.5, -0.5)
    strider.takes(PERIOD_NS + 1)
    held = strider.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert strider.is_in(Mode.HOLD)
    assert strider.count(Rule.INFERENCE_LATE) == 1


def test_a_result_just_in_time_is_used(strider: Robot) -> None:
    strider.answer(-0.2, -0.2, -0.2)
    strider.takes(PERIOD_NS)
    np.testing.assert_allclose(strider.commanded().position, np.subtract(DEFAULT, 0.1), atol=1e-7)
    assert strider.is_in(Mode.RUN)


def test_a_result_that_took_longer_than_a_hold_may_last_damps_at_once(strider: Robot) -> None:
    strider.takes(101 * MS)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.HELD_TOO_LONG)


def test_only_a_pause_of_the_loop_longer_than_a_hold_damps(strider: Robot) -> None:
    strider.now_ns += 119 * MS
    strider.tick()
    assert strider.is_in(Mode.RUN)
    strider.now_ns += 121 * MS
    assert_safe(strider.tick())
    check_wording(strider.reason)
    assert numbers_in(strider.reason) == [141, 140]
    assert_latched(strider, Rule.CLOCK)


def test_time_that_runs_backwards_damps(strider: Robot) -> None:
    strider.now_ns -= 2 * PERIOD_NS
    assert_safe(strider.tick())
    assert_latched(strider, Rule.CLOCK)


def test_the_contract_s_clip_of_the_action_is_counted_and_is_no_fault() -> None:
    terms = [
        {
            "joints": ["hip", "knee", "ankle"],
            "kind": "position",
            "scale": 0.5,
            "offset": "default_position",
            "clip": [-1.0, 1.0],
        }
    ]
    robot = Robot({"action.terms": terms})
    robot.answer(1.5, 0.0, 0.0)
    robot.run(20)
    np.testing.assert_allclose(robot.commanded().position, [0.5, 0.5, -0.5])
    assert robot.is_in(Mode.RUN)
    assert robot.count(Rule.ACTION_CLIP) == 21
    assert robot.observed()[-3] == 1.5


KP = {"output": "kp", "min": 10.0, "max": [50.0, 60.0, 70.0]}
KD = {
    "output": "kd",
    "min": 0.5,
    "max": 2.0,
}
GAINS = {
    "action.gains": {"stiffness": KP, "damping": KD},
    "model.outputs.kp": {"shape": [1, 3]},
    "model.outputs.kd": {"shape": [1, 3]},
}


def with_gains(kp: list[float], kd: list[float], **changes: object) -> Robot:
    """Return a robot in RUN whose model puts out these gains."""
    robot = Robot({**GAINS, **changes})
    robot.answer(0.0, 0.0, 0.0)
    robot.backend.answers.update(kp=kp, kd=kd)
    return robot.run(20)


def test_gains_of_the_model_are_commanded_within_their_bounds() -> None:
    robot = with_gains([20.0, 30.0, 40.0], [1.0, 1.5, 2.0])
    targets = robot.commanded()
    assert targets.stiffness.tolist() == [20.0, 30.0, 40.0]
    assert targets.damping.tolist() == [1.0, 1.5, 2.0]
    assert robot.count(Rule.GAIN_LIMIT) == 0
    robot.backend.answers.update(kp=[5.0, 65.0, 70.0], kd=[0.0, -1.0, 3.0])
    targets = robot.commanded()
    assert targets.stiffness.tolist() == [10.0, 60.0, 70.0]
    assert targets.damping.tolist() == [0.5, 0.5, 2.0]
    assert robot.is_in(Mode.RUN)
    assert robot.count(Rule.GAIN_LIMIT) == 1


def test_a_gain_that_is_not_finite_damps_with_the_gains_of_the_contract() -> None:
    robot = with_gains([20.0, 30.0, 40.0], [1.0, 1.5, 2.0])
    robot.backend.answers.update(kd=[1.0, math.nan, 1.0])
    assert_safe(robot.tick())
    assert_latched(robot, Rule.NOT_FINITE)


def test_the_bound_of_the_torque_follows_the_gains_of_the_model() -> None:
    robot = with_gains([20.0, 30.0, 40.0], [1.0, 1.5, 2.0], nominal=NOMINAL)
    assert robot.count(Rule.EFFORT) == 0
    robot.backend.answers.update(kp=[50.0, 30.0, 40.0])
    targets = robot.commanded(joint_pos=(-0.4, 0.5, -0.5))
    assert robot.count(Rule.EFFORT) == 1
    np.testing.assert_allclose(targets.position[0], -0.4 + 13.5 / 50.0, atol=1e-7)


def test_the_bound_of_the_torque_leaves_a_joint_without_stiffness_alone() -> None:
    limp = {"joints.stiffness": [0.0, 30.0, 30.0], "nominal": {**NOMINAL, "target_step": 100.0}}
    robot = Robot(limp)
    robot.answer(0.0, 0.0, 0.0)
    robot.run(20)
    robot.answer(2.8, 0.0, 0.0)
    np.testing.assert_allclose(robot.commanded(joint_pos=(-14.0, 0.5, -0.5)).position[0], 1.4)
    assert robot.count(Rule.EFFORT) == 0


def guarded() -> Robot:
    """Return a robot in RUN with steps of at most 0.3 rad and demands of at most 13.5 N·m."""
    robot = Robot({"nominal": NOMINAL})
    robot.answer(0.0, 0.0, 0.0)
    return robot.run(20)


def test_a_target_step_beyond_nominal_is_clipped_and_counted() -> None:
    robot = guarded()
    robot.answer(0.8, 0.0, 0.0)
    np.testing.assert_allclose(robot.commanded().position, [0.3, 0.5, -0.5], atol=1e-7)
    assert robot.count(Rule.TARGET_STEP) == 1
    assert robot.is_in(Mode.RUN)


def test_steps_of_the_first_tick_count_from_the_stand_pose() -> None:
    robot = Robot({"nominal": NOMINAL})
    robot.answer(0.5, 0.5, 0.5)
    robot.run()
    assert robot.count(Rule.TARGET_STEP) == 0
    robot = Robot({"nominal": NOMINAL})
    robot.answer(0.7, 0.5, 0.5)
    robot.run()
    assert robot.count(Rule.TARGET_STEP) == 1


def clip_effort(robot: Robot, ticks: int) -> Targets:
    for _ in range(ticks):
        targets = robot.commanded(joint_pos=(-0.6, 0.5, -0.5))
    return targets


def test_ten_clipped_ticks_in_a_row_are_a_fault() -> None:
    robot = guarded()
    clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
    assert robot.is_in(Mode.RUN)
    assert_safe(clip_effort(robot, 1))
    check_wording(robot.reason)
    assert_latched(robot, Rule.CLIPPED_TOO_LONG)


def test_one_healthy_tick_starts_the_count_of_clipped_ticks_again() -> None:
    robot = guarded()
    for _ in range(3):
        clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
        robot.tick(joint_pos=DEFAULT)
    assert robot.is_in(Mode.RUN)
    assert robot.count(Rule.EFFORT) == 3 * (CLIPPED_TICKS_LIMIT - 1)


def test_a_new_run_starts_the_count_of_clipped_ticks_again() -> None:
    robot = guarded()
    clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
    robot.controller.damp()
    robot.sense(joint_pos=DEFAULT)
    robot.stand().controller.run()
    clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
    assert robot.is_in(Mode.RUN)


def test_position_limits_bound_the_target_and_are_no_fault(strider: Robot) -> None:
    strider.answer(9.0, 0.0, -9.0)
    for _ in range(2 * CLIPPED_TICKS_LIMIT):
        targets = strider.commanded()
    np.testing.assert_allclose(targets.position, [1.5, 0.5, -1.5])
    assert strider.is_in(Mode.RUN)
    assert strider.count(Rule.POSITION_LIMIT) == 2 * CLIPPED_TICKS_LIMIT


def test_a_bounded_action_is_fed_back_as_the_model_gave_it(strider: Robot) -> None:
    strider.answer(9.0, 0.0, -9.0)
    strider.tick()
    strider.tick()
    assert strider.observed()[-3:].tolist() == [9.0, 0.0, -9.0]


def test_step_and_effort_come_before_the_position_limit() -> None:
    robot = guarded()
    robot.answer(9.0, 0.0, 0.0)
    robot.tick()
    counts = [robot.count(r) for r in (Rule.TARGET_STEP, Rule.EFFORT, Rule.POSITION_LIMIT)]
    assert counts == [1, 1, 0]


class BrokenPolicy(JointPolicy):
    """Its output is finite, and what it makes of it is not."""

    def commit(self) -> F64:
        command = super().commit()
        command[1] = np.nan
        return command


def test_a_target_that_is_not_finite_is_never_commanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policy_core.members.joint.JointPolicy", BrokenPolicy)
    robot = Robot().stand()
    if isinstance(robot.controller, NativeController):
        pytest.skip("a policy of the Python core")
    robot.controller.run()
    assert_safe(robot.tick())
    assert_latched(robot, Rule.NOT_FINITE)
    check_wording(robot.reason)


def test_nan_comes_before_stale(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER)
    assert_safe(strider.tick(silent=BOTH, joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.STALE_STATE) == 0


def test_nan_damps_out_of_hold_too(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER + 2)
    assert_safe(strider.tick(silent=["imu/data"], joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(strider, Rule.NOT_FINITE)


def test_nan_comes_before_attitude(strider: Robot) -> None:
    strider.tick(joint_vel=(math.nan, 0.0, 0.0), quat_xyzw=TILTED)
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.ATTITUDE) == 0


def test_stale_comes_before_attitude(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER)
    strider.tick(silent=["joint_states"], quat_xyzw=TILTED)
    assert strider.is_in(Mode.HOLD)
    assert strider.count(Rule.ATTITUDE) == 0


def test_a_failing_inference_does_not_hide_a_fall(strider: Robot) -> None:
    strider.backend.during_run = fail
    strider.tick()
    assert strider.is_in(Mode.HOLD)
    assert_safe(strider.tick(quat_xyzw=TILTED))
    assert_latched(strider, Rule.ATTITUDE)


def test_a_late_result_that_is_not_finite_damps(strider: Robot) -> None:
    strider.answer(math.nan, 0.0, 0.0)
    strider.takes(PERIOD_NS + 1)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.NOT_FINITE)
    assert strider.count(Rule.INFERENCE_LATE) == 0
