# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a person reads about a policy node, and what to ask for."""

import pytest
from policy_msgs.msg import InputStatus, JointCommand, RobotStatus, ShadowStatus, TrialStatus

from robot_operator.nodes.words import policy_lines, way_to_follow
from testkit.wording import check_wording

from .robot import policy_status

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
    status.shadow = [ShadowStatus(**SHADOW, problem="its process ended")]
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
