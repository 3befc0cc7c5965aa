# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the place of the policy's targets after a fault."""

import math

import numpy as np

from policy_inference.interfaces import OnFault

from .robots import BOTH, PERIOD_NS, TILTED, Robot, assert_safe, silence


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


def test_hold_measured_never_goes_back_to_a_pose_of_before_an_outage() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.1, 0.7, -0.6), quat_xyzw=TILTED)
    lost = silence(robot, 5)
    np.testing.assert_array_equal(lost.position, (0.1, 0.7, -0.6))
    found = robot.commanded(joint_pos=(0.4, 0.2, -0.1))
    np.testing.assert_array_equal(found.position, (0.4, 0.2, -0.1))


def test_hold_measured_commands_nothing_after_a_new_start_until_it_measures() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.controller.damp("asked for")
    robot.now_ns += 100 * PERIOD_NS
    robot.controller.start()
    assert robot.tick(silent=BOTH) is None
    np.testing.assert_array_equal(robot.commanded(joint_pos=(0.3, 0.2, 0.1)).position,
                                  (0.3, 0.2, 0.1))


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
