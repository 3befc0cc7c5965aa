# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rules 2 to 8 of the guard and their order; the e-stop has a file of its own."""

import math

import numpy as np
import pytest
from policy_inference.core.guard import CLIPPED_TICKS_LIMIT, Rule
from policy_inference.core.limits import Tightening
from policy_inference.errors import BackendError
from policy_inference.interfaces import Mode, OnFault

from .contracts import DEFAULT, NOMINAL, quat_xyzw
from .robots import PERIOD_NS, UPRIGHT, Robot, Targets, assert_safe

MS = 1_000_000
BOTH = ("joint_states", "imu/data")
TILTED = quat_xyzw(0.0, 1.2, 0.0)
STALE_AFTER = 2
"""Silent ticks until a state time-out of two periods has passed, less one."""


def fail() -> None:
    raise BackendError("scripted: the device is gone")


@pytest.fixture
def robot() -> Robot:
    """A robot in RUN, blended in, with a target that tells it from standing."""
    robot = Robot()
    robot.answer(0.2, 0.2, 0.2)
    return robot.run(20)


def silence(robot: Robot, ticks: int, *inputs: str) -> Targets:
    for _ in range(ticks):
        targets = robot.commanded(silent=inputs or BOTH)
    return targets


def assert_latched(robot: Robot, rule: Rule) -> None:
    snapshot = robot.controller.snapshot()
    assert (snapshot.mode, snapshot.latched) == (Mode.DAMP, True)
    assert snapshot.reason.startswith(f"{rule.value}: ")
    assert snapshot.counters[rule.value] == 1
    for _ in range(3):
        assert_safe(robot.tick())
    assert robot.mode is Mode.DAMP


# 2. Not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("field", "place", "named"), [
    ("joint_pos", 0, "joint_pos"), ("joint_vel", 2, "joint_vel"), ("ang_vel_body", 1, "ang_vel"),
    ("quat_xyzw", 3, "quat_xyzw, gravity_body"),
])  # fmt: skip
def test_a_sensor_value_that_is_not_finite_damps_at_once_and_is_named(
    robot: Robot, field: str, place: int, named: str, value: float
) -> None:
    values = list(robot.sensed[field])
    values[place] = value
    runs = robot.backend.runs
    assert_safe(robot.tick(**{field: values}))
    assert robot.backend.runs == runs
    assert named in robot.reason
    assert_latched(robot, Rule.NOT_FINITE)


@pytest.mark.parametrize("mode", [Mode.STAND, Mode.READY])
def test_nan_damps_while_standing_too(mode: Mode) -> None:
    robot = Robot()
    robot.tick()
    robot.controller.stand()
    while robot.mode is not mode:
        robot.tick()
    assert_safe(robot.tick(joint_vel=(0.0, math.nan, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)


def test_an_external_vector_with_nan_damps() -> None:
    external = {"term": "external", "topic": "height_scan", "size": 2}
    robot = Robot({"observations": {"obs": {"terms": [{"term": "joint_pos"}, external]}}})
    robot.sensed["external:height_scan"] = (0.1, 0.2)
    robot.run(3)
    assert_safe(robot.tick(**{"external:height_scan": (0.1, math.nan)}))
    assert "external:height_scan" in robot.reason
    assert_latched(robot, Rule.NOT_FINITE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_output_that_is_not_finite_damps_at_once(robot: Robot, value: float) -> None:
    robot.answer(0.2, value, 0.2)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.NOT_FINITE)


def test_a_zero_quaternion_is_no_upright_robot(robot: Robot) -> None:
    assert_safe(robot.tick(quat_xyzw=(0.0, 0.0, 0.0, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)


# 3. Stale state


@pytest.mark.parametrize("silent", [BOTH, BOTH[:1], BOTH[1:]], ids=" and ".join)
def test_stale_robot_state_holds_the_last_target(robot: Robot, silent: tuple[str, ...]) -> None:
    robot.answer(0.4, 0.4, 0.4)
    last = robot.commanded()
    robot.answer(-0.4, -0.4, -0.4)
    silence(robot, STALE_AFTER, *silent)
    assert robot.mode is Mode.RUN
    before = robot.commanded(silent=silent)
    assert robot.mode is Mode.HOLD
    assert robot.count(Rule.STALE_STATE) == 1
    assert silent[0] in robot.reason
    assert "60 ms old" in robot.reason
    held = robot.commanded(silent=silent)
    np.testing.assert_array_equal(held.position, before.position)
    assert not np.array_equal(held.position, last.position)


def test_hold_recovers_by_itself_when_messages_come_again(robot: Robot) -> None:
    silence(robot, STALE_AFTER + 3)
    assert robot.mode is Mode.HOLD
    robot.answer(-0.2, -0.2, -0.2)
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.1), atol=1e-7)
    assert robot.mode is Mode.RUN
    assert not robot.controller.snapshot().latched
    assert robot.reason.startswith("recovered from: joint_states: 60 ms old")


def test_each_hold_is_counted_once(robot: Robot) -> None:
    for _ in range(3):
        silence(robot, STALE_AFTER + 3)
        robot.tick()
    assert robot.count(Rule.STALE_STATE) == 3


def test_hold_longer_than_damp_after_damps_and_latches(robot: Robot) -> None:
    silence(robot, STALE_AFTER + 1)
    silence(robot, 5)
    assert robot.mode is Mode.HOLD
    assert_safe(robot.tick(silent=BOTH))
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_fault_out_of_hold_does_not_recover_by_itself(robot: Robot) -> None:
    silence(robot, STALE_AFTER + 7)
    for _ in range(5):
        assert_safe(robot.tick())
    assert robot.mode is Mode.DAMP


@pytest.mark.parametrize("failure", ["stale", "inference", "late"])
def test_recovery_keeps_history_and_last_action_as_they_were(failure: str) -> None:
    robot = Robot({"observations.obs.history": {"length": 3}})
    robot.answer(0.1, 0.2, 0.3)
    robot.run(4)
    robot.tick(joint_vel=(1.0, 1.0, 1.0))
    robot.tick(joint_vel=(2.0, 2.0, 2.0))
    robot.answer(9.0, 9.0, 9.0)
    broken = (7.0, 7.0, 7.0)
    if failure == "stale":
        silence(robot, STALE_AFTER)  # still fresh: these two ticks run
        robot.answer(0.1, 0.2, 0.3)
        expected_velocities = [2.0, 2.0, 3.0]
        silence(robot, 3)
    else:
        expected_velocities = [1.0, 2.0, 3.0]
        if failure == "inference":
            robot.backend.during_run = fail
        else:
            robot.takes(PERIOD_NS + 1)
        for _ in range(3):
            robot.tick(joint_vel=broken)
            robot.now_ns -= 0 if failure == "inference" else PERIOD_NS + 1
    assert robot.mode is Mode.HOLD
    robot.backend.during_run = lambda: None
    robot.tick(joint_vel=(3.0, 3.0, 3.0))
    assert robot.mode is Mode.RUN
    frames = robot.backend.inputs["obs"].reshape(3, -1)
    np.testing.assert_allclose(frames[:, 12] / 0.05, expected_velocities, rtol=1e-6)
    expected_action = 9.0 if failure == "stale" else 0.1
    assert frames[-1, 15] == pytest.approx(expected_action)


def test_a_tighter_time_out_holds_earlier() -> None:
    robot = Robot(tightening=Tightening(state_timeout_s=0.03, damp_after_s=0.03)).run(3)
    silence(robot, 1)
    assert robot.mode is Mode.RUN
    silence(robot, 1)
    assert robot.mode is Mode.HOLD
    silence(robot, 2)
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_held_stand_goes_on_where_it_stopped() -> None:
    robot = Robot()
    crouch = (0.4, 1.2, -1.3)
    robot.tick(joint_pos=crouch)
    robot.controller.stand()
    reference, held = [], []
    for ticks_silent in (0, 3):
        robot.controller.stand()
        path = reference if ticks_silent == 0 else held
        for number in range(10 + STALE_AFTER * (ticks_silent > 0) + ticks_silent):
            silent = BOTH if 4 <= number < 4 + STALE_AFTER + ticks_silent and ticks_silent else ()
            path.append(robot.commanded(silent=silent).position)
    steps = np.abs(np.diff(held, axis=0)).max()
    assert steps <= np.abs(np.diff(reference, axis=0)).max() + 1e-9
    np.testing.assert_array_equal(held[6], held[8])


def test_hold_right_after_standing_up_began_holds_the_fault_command_not_an_old_target(
    robot: Robot,
) -> None:
    robot.controller.damp()
    robot.tick()
    robot.controller.stand()
    robot.now_ns += 2 * PERIOD_NS
    assert_safe(robot.tick(silent=BOTH))
    assert robot.mode is Mode.HOLD


def test_hold_while_blending_in_goes_on_with_the_same_share() -> None:
    robot = Robot({"safety.state_timeout_s": 0.01})
    robot.answer(1.0, 1.0, 1.0)
    robot.stand().controller.run()
    before = [robot.commanded() for _ in range(3)][-1]
    silence(robot, 4)
    assert robot.mode is Mode.HOLD
    after = robot.commanded()
    assert robot.mode is Mode.RUN
    assert np.abs(after.position - before.position).max() <= 0.5 / 10 + 1e-9


# 4. Stale velocity command


def test_a_velocity_command_that_stops_fades_without_hold_or_damp(robot: Robot) -> None:
    robot.controller.command.set((0.8, -0.4, 0.6), robot.now_ns)
    seen = []
    for _ in range(60):
        robot.tick()
        seen.append(robot.backend.inputs["obs"][0, 6:9].copy())
    assert robot.mode is Mode.RUN
    np.testing.assert_allclose(seen[24], (0.8, -0.4, 0.6), rtol=1e-6)
    np.testing.assert_allclose(seen[37], np.multiply((0.8, -0.4, 0.6), 0.48), rtol=1e-6)
    assert not seen[-1].any()
    assert robot.count(Rule.STALE_COMMAND) == 1


def test_a_broken_velocity_command_is_counted_and_not_followed(robot: Robot) -> None:
    robot.controller.command.set((0.8, 0.0, 0.0), robot.now_ns)
    if not robot.controller.command.set((math.nan, 0.0, 0.0), robot.now_ns):
        robot.controller.reject_command()
    robot.tick()
    assert robot.mode is Mode.RUN
    assert robot.backend.inputs["obs"][0, 6] == pytest.approx(0.8)
    assert robot.count(Rule.BAD_COMMAND) == 1


# 5. Inference


def test_inference_that_raises_holds_at_once_and_recovers(robot: Robot) -> None:
    last = robot.commanded()
    robot.backend.during_run = fail
    robot.answer(-0.5, -0.5, -0.5)
    held = robot.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert robot.mode is Mode.HOLD
    assert robot.reason == "scripted: the device is gone"
    assert robot.count(Rule.INFERENCE_ERROR) == 1
    robot.backend.during_run = lambda: None
    robot.tick()
    assert robot.mode is Mode.RUN


def test_inference_that_goes_on_raising_damps(robot: Robot) -> None:
    robot.backend.during_run = fail
    for _ in range(6):
        robot.tick()
    assert robot.mode is Mode.HOLD
    assert_safe(robot.tick())
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_result_after_the_next_deadline_is_dropped(robot: Robot) -> None:
    last = robot.commanded()
    robot.answer(-0.5, -0.5, -0.5)
    robot.takes(PERIOD_NS + 1)
    held = robot.commanded()
    np.testing.assert_array_equal(held.position, last.position)
    assert robot.mode is Mode.HOLD
    assert robot.count(Rule.INFERENCE_LATE) == 1


def test_a_result_just_in_time_is_used(robot: Robot) -> None:
    robot.answer(-0.2, -0.2, -0.2)
    robot.takes(PERIOD_NS)
    np.testing.assert_allclose(robot.commanded().position, np.subtract(DEFAULT, 0.1), atol=1e-7)
    assert robot.mode is Mode.RUN


def test_a_result_that_took_longer_than_a_hold_may_last_damps_at_once(robot: Robot) -> None:
    robot.takes(101 * MS)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.HELD_TOO_LONG)


# 6. Attitude


def test_a_tilt_beyond_the_limit_damps_and_latches(robot: Robot) -> None:
    robot.tick(quat_xyzw=quat_xyzw(0.0, 0.99, 0.0))
    assert robot.mode is Mode.RUN
    assert_safe(robot.tick(quat_xyzw=quat_xyzw(0.0, 1.01, 0.0)))
    assert_latched(robot, Rule.ATTITUDE)


def test_a_latched_fault_outlasts_its_cause_until_reset(robot: Robot) -> None:
    robot.tick(quat_xyzw=TILTED)
    robot.tick(quat_xyzw=UPRIGHT)
    assert robot.mode is Mode.DAMP
    robot.controller.reset()
    assert robot.reason == "reset"
    robot.run()


def test_without_attitude_limit_the_robot_may_lie() -> None:
    robot = Robot({"safety": {"on_fault": "damp"}}).run()
    robot.tick(quat_xyzw=TILTED)
    assert robot.mode is Mode.RUN


# Time between ticks


def test_a_pause_of_the_loop_longer_than_a_hold_damps(robot: Robot) -> None:
    robot.now_ns += 121 * MS
    assert_safe(robot.tick())
    assert "141 ms since the last tick" in robot.reason
    assert_latched(robot, Rule.CLOCK)


def test_a_pause_of_the_loop_shorter_than_a_hold_is_ridden_out(robot: Robot) -> None:
    robot.now_ns += 119 * MS
    robot.tick()
    assert robot.mode is Mode.RUN


def test_time_that_runs_backwards_damps(robot: Robot) -> None:
    robot.now_ns -= 2 * PERIOD_NS
    assert_safe(robot.tick())
    assert_latched(robot, Rule.CLOCK)


# 7. Action clip, step and effort; 8. position limits


def test_the_contract_s_clip_of_the_action_is_counted_and_is_no_fault() -> None:
    terms = [{"joints": ["hip", "knee", "ankle"], "kind": "position", "scale": 0.5,
              "offset": "default_position", "clip": [-1.0, 1.0]}]  # fmt: skip
    robot = Robot({"action.terms": terms})
    robot.answer(1.5, 0.0, 0.0)
    robot.run(20)
    np.testing.assert_allclose(robot.commanded().position, [0.5, 0.5, -0.5])
    assert robot.mode is Mode.RUN
    assert robot.count(Rule.ACTION_CLIP) == 21
    assert robot.backend.inputs["obs"][0, -3] == 1.5


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
    assert robot.mode is Mode.RUN


def test_a_torque_demand_beyond_nominal_is_clipped_and_counted() -> None:
    robot = guarded()
    robot.answer(0.4, 0.0, 0.0)
    targets = robot.commanded(joint_pos=(-0.3, 0.5, -0.5))
    assert targets.torque((-0.3, 0.5, -0.5))[0] == pytest.approx(13.5)
    assert robot.count(Rule.EFFORT) == 1


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
    assert robot.mode is Mode.RUN
    assert_safe(clip_effort(robot, 1))
    assert "10 ticks in a row: effort" in robot.reason
    assert_latched(robot, Rule.CLIPPED_TOO_LONG)


def test_one_healthy_tick_starts_the_count_of_clipped_ticks_anew() -> None:
    robot = guarded()
    for _ in range(3):
        clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
        robot.tick(joint_pos=DEFAULT)
    assert robot.mode is Mode.RUN
    assert robot.count(Rule.EFFORT) == 3 * (CLIPPED_TICKS_LIMIT - 1)


def test_a_new_run_starts_the_count_of_clipped_ticks_anew() -> None:
    robot = guarded()
    clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
    robot.controller.damp()
    robot.sense(joint_pos=DEFAULT)
    robot.run(1)
    clip_effort(robot, CLIPPED_TICKS_LIMIT - 1)
    assert robot.mode is Mode.RUN


def test_position_limits_bound_the_target_and_are_no_fault(robot: Robot) -> None:
    robot.answer(9.0, 0.0, -9.0)
    for _ in range(2 * CLIPPED_TICKS_LIMIT):
        targets = robot.commanded()
    np.testing.assert_allclose(targets.position, [1.5, 0.5, -1.5])
    assert robot.mode is Mode.RUN
    assert robot.count(Rule.POSITION_LIMIT) == 2 * CLIPPED_TICKS_LIMIT


def test_a_bounded_action_is_fed_back_as_the_model_gave_it(robot: Robot) -> None:
    robot.answer(9.0, 0.0, -9.0)
    robot.tick()
    robot.tick()
    assert robot.backend.inputs["obs"][0, -3:].tolist() == [9.0, 0.0, -9.0]


# Order, where two rules apply


def test_nan_comes_before_stale(robot: Robot) -> None:
    silence(robot, STALE_AFTER)
    assert_safe(robot.tick(silent=BOTH, joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.STALE_STATE) == 0


def test_nan_damps_out_of_hold_too(robot: Robot) -> None:
    silence(robot, STALE_AFTER + 2)
    assert_safe(robot.tick(silent=["imu/data"], joint_vel=(math.nan, 0.0, 0.0)))
    assert_latched(robot, Rule.NOT_FINITE)


def test_nan_comes_before_attitude(robot: Robot) -> None:
    robot.tick(joint_vel=(math.nan, 0.0, 0.0), quat_xyzw=TILTED)
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.ATTITUDE) == 0


def test_stale_comes_before_attitude(robot: Robot) -> None:
    silence(robot, STALE_AFTER)
    robot.tick(silent=["joint_states"], quat_xyzw=TILTED)
    assert robot.mode is Mode.HOLD
    assert robot.count(Rule.ATTITUDE) == 0


def test_a_failing_inference_does_not_hide_a_fall(robot: Robot) -> None:
    robot.backend.during_run = fail
    robot.tick()
    assert robot.mode is Mode.HOLD
    assert_safe(robot.tick(quat_xyzw=TILTED))
    assert_latched(robot, Rule.ATTITUDE)


def test_a_late_result_that_is_not_finite_damps(robot: Robot) -> None:
    robot.answer(math.nan, 0.0, 0.0)
    robot.takes(PERIOD_NS + 1)
    assert_safe(robot.tick())
    assert_latched(robot, Rule.NOT_FINITE)
    assert robot.count(Rule.INFERENCE_LATE) == 0


def test_step_and_effort_come_before_the_position_limit() -> None:
    robot = guarded()
    robot.answer(9.0, 0.0, 0.0)
    robot.tick()
    counts = [robot.count(r) for r in (Rule.TARGET_STEP, Rule.EFFORT, Rule.POSITION_LIMIT)]
    assert counts == [1, 0, 0]


# What stands in


def test_hold_measured_holds_the_pose_of_the_fault_with_the_stand_gains() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.1, 0.7, -0.6))
    targets = robot.commanded(joint_pos=(0.2, 0.8, -0.7), quat_xyzw=TILTED)
    assert_safe(targets, OnFault.HOLD_MEASURED)
    np.testing.assert_array_equal(targets.position, (0.2, 0.8, -0.7))
    assert targets.stiffness.tolist() == [100.0] * 3
    assert targets.damping.tolist() == [2.5] * 3
    later = robot.commanded(joint_pos=(0.25, 0.85, -0.75))
    np.testing.assert_array_equal(later.position, (0.2, 0.8, -0.7))


def test_hold_measured_holds_the_last_known_pose_where_the_fault_is_in_the_positions() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.1, 0.7, -0.6))
    targets = robot.commanded(joint_pos=(0.2, math.nan, -0.7))
    np.testing.assert_array_equal(targets.position, (0.1, 0.7, -0.6))


def test_hold_measured_commands_nothing_before_a_pose_is_known() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"})
    now_ns = robot.now_ns
    assert robot.controller.tick(now_ns, now_ns + PERIOD_NS) is None
    assert robot.controller.estop("red button") is None
    assert robot.controller.tick(now_ns, now_ns + PERIOD_NS) is None
    np.testing.assert_array_equal(robot.commanded(joint_pos=(0.1, 0.7, -0.6)).position,
                                  (0.1, 0.7, -0.6))


def test_hold_measured_keeps_up_a_policy_whose_own_stiffness_is_zero() -> None:
    terms = [{"joints": ["hip", "knee", "ankle"], "kind": "effort"}]
    robot = Robot({"safety.on_fault": "hold_measured", "action.terms": terms,
                   "joints.stiffness": 0.0})  # fmt: skip
    assert robot.run(3).commanded(quat_xyzw=TILTED).stiffness.tolist() == [100.0] * 3


def test_torque_off_commands_no_torque_in_any_state() -> None:
    robot = Robot({"safety.on_fault": "torque_off"}).run(3)
    targets = robot.commanded(quat_xyzw=TILTED)
    assert_safe(targets, OnFault.TORQUE_OFF)
    np.testing.assert_array_equal(targets.torque((1.0, 1.0, 1.0), velocity=5.0), np.zeros(3))


def test_damp_brakes_with_the_contract_s_gain(robot: Robot) -> None:
    targets = robot.commanded(quat_xyzw=TILTED)
    np.testing.assert_allclose(targets.torque((1.0, 1.0, 1.0), velocity=2.0), [-10.0] * 3)
