# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be in lockstep."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .rig import Rig

STANDING_M, LYING_M = 0.2, 0.15


@pytest.mark.real_time
@pytest.mark.ros
def test_in_real_time_the_robot_stands_up_and_sinks_when_its_node_is_killed(tmp_path: Path) -> None:
    with Rig(tmp_path, lockstep=False) as rig:
        rig.operator.demand("stand")
        rig.wait_until(lambda: rig.height_m > STANDING_M, "the robot to stand")
        rig.expect_deaths()
        rig.policy.send(signal.SIGKILL)
        rig.wait_until(lambda: rig.height_m < LYING_M, "the robot to lie")


@pytest.mark.real_time
@pytest.mark.ros
def test_an_injected_fault_stops_the_policy_until_it_is_removed(tmp_path: Path) -> None:
    topics = ("joint_states", "imu/data", "odom")
    with Rig(
        tmp_path,
        lockstep=False,
        sim={"joint_state_rate_hz": 100.0, "imu_rate_hz": 100.0, "contact_rate_hz": 50.0},
        beside={"fault_injector": {}},
        remappings={topic: f"faulty/{topic}" for topic in topics},
    ) as rig:
        rig.operator.demand("stand")
        rig.wait_until(lambda: rig.height_m > STANDING_M, "the robot to stand")
        rig.set_faults("nan:joint_states.velocity", node="fault_injector")
        rig.wait_until(lambda: rig.counters.get("not_finite"), "the guard to act")
        assert rig.operator.mode == "DAMP"
        rig.set_faults(node="fault_injector")
        rig.operator.demand("reset")
        rig.operator.demand("stand")
