# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of another robot than the one whose joints are published never lets it stand up."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demos.runner import Processes
from robot_operator.nodes.client import Operator

pytestmark = pytest.mark.ros
DEADLINE_S = 60.0


def test_stand_is_refused_on_another_robot_whose_missing_joints_are_named(tmp_path: Path) -> None:
    bundle, missing = "go2_walk", "missing: FR_hip_joint, FR_thigh_joint"
    with Processes() as nodes:
        nodes.start("sim_node", {"robot": "g1", "lockstep": True}, tmp_path / "sim.log")
        parameters = {"bundle": bundle, "use_sim_time": True, "status_rate_hz": 50.0}
        nodes.start("joint_policy_node", parameters, tmp_path / "policy.log")
        with Operator(use_sim_time=True, watch=nodes.check, drives=False) as operator:
            operator.wait_for_status()
            operator.wait_until(lambda: missing in operator.described(), missing, DEADLINE_S)
            agreed, message = operator.request("stand")
            mode = operator.mode

    assert not agreed
    assert missing in message
    assert mode == "DAMP"
