# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Every fault of the simulated robot, and how it ends: real processes, in lockstep."""

from __future__ import annotations

import pytest
from policy_msgs.msg import JointCommand
from std_msgs.msg import Bool

from robot_sim.nodes.messages import nanoseconds

from .conftest import WALKING_MPS
from .rig import Rig

# With other tests beside, a message may be lost, and the robot damps before its fault begins.
pytestmark = [pytest.mark.ros, pytest.mark.real_time]

MS = 1_000_000
PERIOD_NS = 20 * MS
STATE_TIMEOUT_NS, DAMP_AFTER_NS = 2 * PERIOD_NS, 100 * MS
STANDING_M = 0.2


@pytest.mark.parametrize(("kind", "stream"), [("freeze", "imu"), ("drop", "joint_states")])
def test_a_dead_sensor_is_held_over_then_damped(walker: Rig, kind: str, stream: str) -> None:
    start_ns = walker.fail(f"{kind}:{stream}")
    walker.wait_for_latched_damp()
    (first, held_ns), (last, damped_ns) = walker.edges_since(start_ns)
    assert (first, last) == ("HOLD", "DAMP")
    assert held_ns - start_ns >= STATE_TIMEOUT_NS
    assert damped_ns - held_ns == DAMP_AFTER_NS + PERIOD_NS
    assert "held_too_long" in walker.counters


@pytest.mark.parametrize(("stream", "duration_ms"), [("joint_states", 20), ("imu", 100)])
def test_a_short_gap_in_a_sensor_is_walked_over(walker: Rig, stream: str, duration_ms: int) -> None:
    walker.fail(f"drop:{stream}+{duration_ms / 1e3}")
    walker.operator.wait(2.0)
    assert walker.operator.mode == "RUN"
    assert walker.height_m > STANDING_M


def test_a_value_that_is_not_finite_damps_at_once(walker: Rig) -> None:
    start_ns = walker.fail("nan:joint_states.velocity+0.02")
    walker.wait_for_latched_damp()
    assert [mode for mode, _ in walker.edges_since(start_ns - PERIOD_NS)] == ["DAMP"]
    assert "not_finite" in walker.operator.status.reason
    assert all(_is_finite(command) for command in walker.commands)


def test_values_of_other_joints_end_in_damp(walker: Rig) -> None:
    # Joints cannot have come there from where they were: such samples are refused.
    walker.fail("order:joint_states")
    walker.wait_for_latched_damp()
    assert "held_too_long" in walker.counters


def test_dead_motors_of_both_front_legs_end_in_damp(walker: Rig) -> None:
    # With a knee alone it may limp on, depending on the step in which that died.
    walker.fail("motor_off:FL_HipY_joint", "motor_off:FL_Knee_joint", "motor_off:FR_Knee_joint")
    walker.wait_for_latched_damp()
    assert walker.counters.keys() & {"attitude", "clipped_too_long"}


def test_the_emergency_stop_by_topic_damps_and_latches(walker: Rig) -> None:
    button = walker.operator.node.create_publisher(Bool, "estop", 1)
    walker.wait_until(lambda: button.get_subscription_count() >= 1, "someone who listens to estop")
    button.publish(Bool(data=True))
    walker.wait_for_latched_damp()
    assert walker.operator.request("stand")[0] is False


def test_a_silent_velocity_command_lets_the_robot_stop(walker: Rig) -> None:
    walker.operator.let_go()
    walker.wait_until(lambda: "stale_command" in walker.counters, "a stale velocity command")
    walker.operator.wait(2.0)
    assert walker.operator.mode == "RUN"
    assert abs(walker.forward_mps) < 0.05


def test_a_second_policy_node_does_not_make_the_robot_fall(walker: Rig) -> None:
    second = walker.start_policy("second_policy_node")
    sequences: set[bool] = set()

    def sends() -> bool:
        # It damps, as every policy node does from its start on.
        sequences.update(command.mode == JointCommand.MODE_DAMP for command in walker.commands[-9:])
        return sequences == {True, False}

    walker.wait_until(sends, "commands of the second node")
    walker.wait_until(lambda: "are ignored" in walker.sim.output(), "commands that are ignored")
    walker.operator.wait(2.0)
    assert walker.operator.mode == "RUN"
    assert walker.height_m > STANDING_M
    assert walker.forward_mps > WALKING_MPS / 2
    assert "2 publishers" in walker.operator.status.reason
    second.stop()


def _is_finite(command: JointCommand) -> bool:
    fields = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
    return nanoseconds(command.stamp) >= 0 and all(
        abs(value) < 1e6 for field in fields for value in getattr(command, field)
    )
