# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0


import numpy as np
import pytest

from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import Mode
from testkit.kernel.contracts import DEFAULT, quat_xyzw
from testkit.kernel.robots import BOTH, PERIOD_NS, Robot, Targets, assert_safe, silence_inputs
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores

CROUCH = (0.4, 1.2, -1.3)
MIXED_KINDS = [
    {"joints": ["hip"], "kind": "position", "offset": "default_position"},
    {"joints": ["knee"], "kind": "velocity"},
    {"joints": ["ankle"], "kind": "effort"},
]


def test_a_robot_starts_damped_and_stays_so_by_itself(idle: Robot) -> None:
    assert_safe(idle.tick(silent=BOTH))
    for _ in range(20):
        assert_safe(idle.tick())
    assert idle.is_in(Mode.DAMP)
    assert idle.backend.runs == 0


def test_what_was_granted_before_a_restart_shows_in_no_tick_after_it(strider: Robot) -> None:
    strider.controller.damp()
    strider.controller.stop("the node stops")
    strider.controller.start()
    strider.tick()
    assert strider.controller.latest_tick.granted == ()


def test_the_way_to_run_is_stand_ready_run(idle: Robot) -> None:
    idle.stand()
    for _ in range(20):
        np.testing.assert_allclose(idle.commanded().position, DEFAULT)
    assert (idle.controller.mode, idle.backend.runs) == (Mode.READY, 0)
    idle.controller.run()
    assert [mode for mode, _, _ in idle.controller.edges] == [Mode.STAND, Mode.READY, Mode.RUN]


def test_stand_starts_at_the_measured_pose_without_torque_and_has_its_own_gains(
    idle: Robot,
) -> None:
    idle.tick(joint_pos=CROUCH)
    idle.controller.stand()
    targets = idle.tick_again()
    np.testing.assert_allclose(targets.position, CROUCH)
    np.testing.assert_allclose(targets.torque(CROUCH), np.zeros(3), atol=1e-9)
    assert targets.stiffness.tolist() == [100.0] * 3
    assert targets.damping.tolist() == [2.5] * 3


def test_stand_reaches_the_pose_in_its_duration_on_a_smooth_curve(idle: Robot) -> None:
    idle.tick(joint_pos=CROUCH)
    idle.controller.stand()
    path = np.array([idle.commanded().position for _ in range(10)])
    assert idle.is_in(Mode.READY)
    np.testing.assert_allclose(path[-1], DEFAULT)
    shares = (path - CROUCH) / np.subtract(DEFAULT, CROUCH)
    expected = [s * s * (3 - 2 * s) for s in np.arange(1, 11) / 10]
    np.testing.assert_allclose(shares, np.tile(expected, (3, 1)).T, atol=1e-9)


def test_a_share_of_the_effort_limit_holds_in_every_mode() -> None:
    robot = Robot(stricter_limits=StricterLimits(effort_scale=0.25))
    damped = robot.commanded()
    robot.controller.stand()
    standing = [robot.commanded() for _ in range(11)]
    robot.controller.run()
    running = [robot.commanded() for _ in range(20)]
    assert {tuple(t.effort_limit) for t in [damped, *standing, *running]} == {(5.0, 5.0, 5.0)}


def test_run_commands_the_policy_s_targets_with_the_policy_s_gains(idle: Robot) -> None:
    idle.answer(0.2, -0.2, 0.4)
    targets = idle.run(20).commanded()
    np.testing.assert_allclose(targets.position, [0.1, 0.4, -0.3], atol=1e-7)
    assert targets.stiffness.tolist() == [30.0] * 3
    assert targets.damping.tolist() == [1.0] * 3


@pytest.mark.parametrize("blend_s", [0.0, 0.2])
def test_a_request_whose_time_is_after_the_next_tick_begins_a_run(blend_s: float) -> None:
    robot = Robot({"safety.blend_s": blend_s}).stand()
    robot.now_ns += 2 * PERIOD_NS
    robot.controller.run()
    robot.now_ns -= 2 * PERIOD_NS
    robot.answer(0.2, 0.2, 0.2)
    robot.tick()
    assert robot.is_in(Mode.RUN)


def test_run_begins_where_standing_ended_and_blends_in_without_a_jump(idle: Robot) -> None:
    idle.answer(1.0, -1.0, 1.0)
    before = idle.stand().commanded()
    idle.controller.run()
    first = idle.tick_again()
    for name in Targets.__annotations__:
        np.testing.assert_allclose(getattr(first, name), getattr(before, name), err_msg=name)
    ticks = [before, *(idle.commanded() for _ in range(15))]
    for name, whole in (("position", 0.5), ("stiffness", 70.0), ("damping", 1.5)):
        steps = np.abs(np.diff([getattr(t, name) for t in ticks], axis=0))
        assert steps.max() == pytest.approx(whole / 10, rel=1e-6), name
    np.testing.assert_allclose(ticks[-1].position, [0.5, 0.0, 0.0], atol=1e-7)


def test_without_blending_the_policy_has_the_first_tick() -> None:
    robot = Robot({"safety.blend_s": 0.0})
    robot.answer(1.0, 1.0, 1.0)
    robot.stand().controller.run()
    np.testing.assert_allclose(robot.commanded().position, [0.5, 1.0, 0.0], atol=1e-7)


def test_joints_without_position_target_are_let_go_where_they_stand() -> None:
    robot = Robot({"action.terms": MIXED_KINDS})
    robot.stand().controller.run()
    for _ in range(15):
        torque = robot.commanded().torque(DEFAULT)
        np.testing.assert_allclose(torque, np.zeros(3), atol=1e-9)


def test_a_request_just_after_the_time_of_its_tick_does_not_overshoot(idle: Robot) -> None:
    idle.answer(1.0, 1.0, 1.0)
    idle.stand()
    idle.now_ns += PERIOD_NS + 1_000_000
    idle.controller.run()
    idle.now_ns -= 1_000_000
    idle.sense()
    targets = idle.tick_again()
    np.testing.assert_array_equal(targets.position, DEFAULT)
    np.testing.assert_array_equal(targets.stiffness, [100.0] * 3)


def test_a_stand_asked_for_just_after_the_time_of_its_tick_begins_at_the_measured_pose(
    idle: Robot,
) -> None:
    idle.tick(joint_pos=CROUCH)
    idle.now_ns += PERIOD_NS
    idle.controller.stand()
    idle.now_ns -= PERIOD_NS
    np.testing.assert_array_equal(idle.tick_again().position, CROUCH)


def test_run_starts_clean_each_time() -> None:
    robot = Robot({"observations.obs.history": {"length": 2}})
    seen = []
    for _ in range(2):
        robot.answer(0.1, 0.2, 0.3)
        robot.stand().controller.run()
        robot.tick()
        seen.append(robot.observed())
        for _ in range(5):
            robot.tick(joint_vel=(1.0, 2.0, 3.0))
        robot.sense(joint_vel=(0.0, 0.0, 0.0))
        robot.controller.damp()
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not seen[0][-3:].any()


def test_from_run_back_to_stand_and_to_run_again(idle: Robot) -> None:
    idle.answer(0.4, 0.4, 0.4)
    idle.run(20)
    idle.sense(joint_pos=(0.15, 0.6, -0.4))
    idle.controller.stand()
    assert idle.is_in(Mode.STAND)
    first = idle.commanded()
    assert first.stiffness.tolist() == [100.0] * 3
    assert np.abs(first.position - (0.15, 0.6, -0.4)).max() < 0.01
    for _ in range(10):
        idle.tick()
    runs = idle.backend.runs
    idle.controller.run()
    idle.tick()
    assert idle.is_in(Mode.RUN)
    assert idle.backend.runs == runs + 1
    assert not idle.observed()[-3:].any()


def test_a_driver_that_stops_ends_any_motion_without_latching(idle: Robot) -> None:
    idle.run().controller.driver_stopped("DAMPING, no recent state from the robot")
    assert_safe(idle.tick())
    snapshot = idle.controller.snapshot()
    assert (snapshot.mode, snapshot.latched) == (Mode.DAMP, False)
    check_wording(snapshot.reason)
    assert idle.controller.latest_tick.trip is not None
    assert idle.controller.latest_tick.trip.rule is Rule.DRIVER
    idle.run()


def test_a_driver_that_stopped_while_nothing_moved_is_nothing_to_a_later_motion(
    idle: Robot,
) -> None:
    idle.tick()
    idle.controller.driver_stopped("DAMPING, requested by service")
    idle.tick()
    assert idle.reason == "started"
    idle.run()
    assert idle.count(Rule.DRIVER) == 0


def test_a_second_fault_does_not_hide_the_first(idle: Robot) -> None:
    idle.run().controller.fault(Rule.CLOCK, "simulated time ran backwards")
    idle.controller.fault(Rule.INTERNAL, "a consequence")
    check_wording(idle.reason)
    assert (idle.count(Rule.CLOCK), idle.count(Rule.INTERNAL)) == (1, 0)
    assert idle.controller.snapshot().latched


def test_a_guarded_attitude_makes_the_imu_an_input_of_a_policy_that_needs_none() -> None:
    blind = {
        "observations": {"obs": {"terms": [{"term": "joint_pos"}]}},
        "safety": {"on_fault": "damp"},
    }
    assert set(Robot(blind).controller.inputs) == {"joint_states"}
    robot = Robot(blind, StricterLimits(max_tilt_rad=0.5))
    assert set(robot.controller.inputs) == {"joint_states", "imu/data"}
    robot.run().tick(quat_xyzw=quat_xyzw(0.0, 0.6, 0.0))
    assert robot.count(Rule.ATTITUDE) == 1


def test_run_that_is_granted_while_the_inputs_fall_silent_ends_in_run(idle: Robot) -> None:
    idle.stand()
    idle.controller.run()
    silence_inputs(idle, 4, "joint_states")
    assert idle.is_in(Mode.HOLD)
    idle.tick()
    assert idle.is_in(Mode.RUN)
