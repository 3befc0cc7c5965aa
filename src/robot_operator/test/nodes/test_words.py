# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes of a robot are found, what a person reads about them, and what to ask for."""

import pytest
from policy_msgs.msg import (
    InputStatus,
    JointCommand,
    PolicyStatus,
    RobotStatus,
    ShadowStatus,
    TrialStatus,
)
from rclpy.node import Node

from policy_inference.nodes.outputs import OUTPUTS
from robot_operator.nodes.found import look_around
from robot_operator.nodes.words import policy_lines, way_to_follow
from testkit.wording import check_wording

from .robot import DEADLINE_S, policy_status

pytestmark = pytest.mark.ros

SHADOW = {"bundle_name": "walk", "bundle_version": "1.3.0", "backend": "onnx", "mode": "free"}


def test_status_shows_how_far_the_shadow_diverges_and_what_it_missed() -> None:
    status = policy_status()
    figures = {"rms": [0.1, 0.2], "rms_steps": [0.75, 0.5], "compared": 90, "skipped": 10}
    status.shadow = [ShadowStatus(**SHADOW, joints=["hip", "knee"], **figures)]
    said = dict(policy_lines(status))["shadow"]
    assert "0.75" in said
    status.shadow[0].rms_steps = []
    check_wording(said, dict(policy_lines(status))["shadow"])


def test_status_shows_why_the_shadow_does_not_run() -> None:
    status = policy_status()
    status.shadow = [ShadowStatus(**SHADOW, problem="its process exited")]
    check_wording(dict(policy_lines(status))["shadow"])


def test_status_shows_the_newest_trial_with_its_reason() -> None:
    status, times = policy_status(), {"run_time_s": 3.0, "run_time_limit_s": 20.0}
    status.trial = [TrialStatus(version="1.4.0", state="failed", reason="gate tilt_rad", **times)]
    check_wording(dict(policy_lines(status))["trial"])


def test_input_that_nobody_sends_is_not_called_ok() -> None:
    status = policy_status()
    status.inputs = [InputStatus(name="leader/joint_states", ok=True, publishers=0)]
    check_wording(dict(policy_lines(status))["leader/joint_states"])


@pytest.mark.parametrize(
    ("state", "mode", "latched"),
    [
        (RobotStatus.LISTENING, JointCommand.MODE_DAMP, False),
        (RobotStatus.LISTENING, JointCommand.MODE_RUN, False),
        (RobotStatus.LISTENING, JointCommand.MODE_DAMP, True),
        (RobotStatus.DAMPING, JointCommand.MODE_DAMP, True),
        (RobotStatus.DAMPING, JointCommand.MODE_DAMP, False),
        (RobotStatus.DAMPING, JointCommand.MODE_RUN, False),
        (RobotStatus.TAKING, JointCommand.MODE_DAMP, False),
    ],
)
def test_remedy_for_a_driver_that_does_not_follow_is_what_its_state_needs(
    state: int, mode: int, latched: bool
) -> None:
    policy = policy_status()
    policy.mode, policy.latched = mode, latched
    check_wording(way_to_follow(policy, RobotStatus(state=state)))


@pytest.mark.usefixtures("operator_executor")
@pytest.mark.parametrize("output", [kind for kind in OUTPUTS if kind != "joint_command"])
def test_policy_node_with_another_output_is_known_to_have_no_driver(output: str) -> None:
    topic, message, _ = OUTPUTS[output]
    node = Node("some_policy", use_global_arguments=False)
    node.create_publisher(PolicyStatus, "~/status", 1)
    node.create_publisher(message, topic, 1)

    found = look_around(DEADLINE_S)

    assert found.policies == ("/some_policy",)
    assert found.other_output
    assert found.is_complete
    node.destroy_node()


@pytest.mark.usefixtures("operator_executor")
def test_the_driver_of_a_leader_arm_is_not_the_robots() -> None:
    policy = Node("some_policy", use_global_arguments=False)
    policy.create_publisher(PolicyStatus, "~/status", 1)
    nodes = [policy]
    for space in ("", "leader"):
        policy.create_publisher(JointCommand, f"{space}/joint_command".lstrip("/"), 1)
        driver = Node("driver", namespace=space, use_global_arguments=False)
        driver.create_publisher(RobotStatus, "~/status", 1)
        driver.create_subscription(JointCommand, "joint_command", print, 1)
        nodes.append(driver)

    found = look_around(DEADLINE_S)

    assert found.drivers == ("/driver",)
    assert found.commands == ("/joint_command",)
    for node in nodes:
        node.destroy_node()
