# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be in lockstep."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import yaml

from robot_operator.requests import OperatorError
from testkit.edits import with_edits

from .rig import Rig

pytestmark = [pytest.mark.real_time, pytest.mark.ros]
STANDING_M, LYING_M = 0.2, 0.15
PATIENCE_S = 2.0
"""How late messages and ticks may be, since the machine may be busy."""
WALK = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"


@pytest.fixture
def patient_bundle(tmp_path: Path) -> Path:
    """`lite3_walk` for a busy machine: late messages stop it only after `PATIENCE_S`."""
    bundle = shutil.copytree(WALK, tmp_path / "patient_walk")
    contract = bundle / "policy.yaml"
    limits = {"safety.state_timeout_s": PATIENCE_S, "safety.damp_after_s": PATIENCE_S}
    contract.write_text(yaml.safe_dump(with_edits(yaml.safe_load(contract.read_text()), limits)))
    return bundle


def test_in_real_time_the_robot_stands_up_and_sinks_when_its_node_is_killed(
    tmp_path: Path, patient_bundle: Path
) -> None:
    policy = {"command_valid_for_s": PATIENCE_S}
    with Rig(tmp_path, bundle=str(patient_bundle), lockstep=False, policy=policy) as rig:
        rig.wait_until_granted("stand")
        rig.wait_until(lambda: rig.height_m > STANDING_M, "the robot to stand")
        rig.expect_deaths()
        rig.policy.send(signal.SIGKILL)
        rig.wait_until(lambda: rig.height_m < LYING_M, "the robot to lie")


def test_an_injected_fault_stops_the_policy_until_it_is_removed(
    tmp_path: Path, patient_bundle: Path
) -> None:
    topics = ("joint_states", "imu/data", "odom")
    with Rig(
        tmp_path,
        bundle=str(patient_bundle),
        lockstep=False,
        sim={"joint_state_rate_hz": 100.0, "imu_rate_hz": 100.0, "contact_rate_hz": 50.0},
        policy={"command_valid_for_s": PATIENCE_S},
        beside={"fault_injector": {}},
        remappings={topic: f"faulty/{topic}" for topic in topics},
    ) as rig:
        rig.wait_until_granted("stand")
        rig.wait_until(lambda: rig.height_m > STANDING_M, "the robot to stand")
        rig.set_faults("nan:joint_states.velocity", node="fault_injector")
        rig.wait_until(lambda: rig.counters.get("not_finite"), "the guard to act")
        assert rig.operator.mode == "DAMP"
        rig.operator.demand("reset")
        with pytest.raises(OperatorError, match="joint_vel"):
            rig.operator.demand("stand")
        rig.set_faults(node="fault_injector")
        rig.wait_until_granted("stand")
