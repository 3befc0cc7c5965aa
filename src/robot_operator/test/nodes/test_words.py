# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a person reads about a policy node, and what to ask for."""

import pytest
from policy_msgs.msg import InputStatus, JointCommand, RobotStatus, ShadowStatus, TrialStatus

from robot_operator.nodes.words import policy_lines, way_to_follow

from .robot import policy_status

SHADOW = {"bundle_name": "walk", "bundle_version": "1.3.0", "backend": "onnx", "mode": "free"}


def test_status_without_shadow_and_trial_has_no_lines_of_them() -> None:
    assert not {"shadow", "trial"} & dict(policy_lines(policy_status())).keys()


def test_status_shows_how_far_the_shadow_diverges_and_what_it_missed() -> None:
    status = policy_status()
    figures = {"rms": [0.1, 0.2], "rms_steps": [0.75, 0.5], "compared": 90, "skipped": 10}
    status.shadow = [ShadowStatus(**SHADOW, joints=["hip", "knee"], **figures)]
    assert dict(policy_lines(status))["shadow"] == (
        "walk 1.3.0 on onnx, free: RMS at most 0.75 steps (hip); 90 compared, 10 skipped"
    )
    status.shadow[0].rms_steps = []
    assert "RMS at most 0.2 rad, rad/s or N·m (knee)" in dict(policy_lines(status))["shadow"]


def test_status_shows_why_the_shadow_does_not_run() -> None:
    status = policy_status()
    status.shadow = [ShadowStatus(**SHADOW, problem="its process ended")]
    assert dict(policy_lines(status))["shadow"] == "walk 1.3.0 on onnx, free: its process ended"


def test_status_shows_the_newest_trial_with_its_reason() -> None:
    status, times = policy_status(), {"run_time_s": 3.0, "run_time_limit_s": 20.0}
    status.trial = [TrialStatus(version="1.4.0", state="failed", reason="gate tilt_rad", **times)]
    assert dict(policy_lines(status))["trial"] == (
        "1.4.0 failed: gate tilt_rad; 3 of 20 s RUN time"
    )


def test_input_that_nobody_sends_is_not_called_ok() -> None:
    status = policy_status()
    status.inputs = [InputStatus(name="leader/joint_states", ok=True, publishers=0)]
    assert dict(policy_lines(status))["leader/joint_states"] == "no publisher, not needed now"


@pytest.mark.parametrize(
    ("state", "mode", "latched", "told"),
    [
        (RobotStatus.LISTENING, JointCommand.MODE_DAMP, False, "ask for take_control"),
        (RobotStatus.LISTENING, JointCommand.MODE_RUN, False, "ask for damp, then take_control"),
        (RobotStatus.LISTENING, JointCommand.MODE_DAMP, True, "ask for reset, then take_control"),
        (RobotStatus.DAMPING, JointCommand.MODE_DAMP, True, "ask for reset"),
        (RobotStatus.DAMPING, JointCommand.MODE_DAMP, False, "ask for reset"),
        (RobotStatus.DAMPING, JointCommand.MODE_RUN, False, "ask for damp"),
        (RobotStatus.TAKING, JointCommand.MODE_DAMP, False, "wait for the end of that"),
    ],
)
def test_remedy_for_a_driver_that_does_not_follow_is_what_its_state_needs(
    state: int, mode: int, latched: bool, told: str
) -> None:
    policy = policy_status()
    policy.mode, policy.latched = mode, latched
    assert way_to_follow(policy, RobotStatus(state=state)) == told
