# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a controller reads and writes, by its plan and parameters; and what it refuses.

`make test-cpp` builds the program and runs these tests.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from policy_inference.commands.main import main

BUNDLES = Path(__file__).resolve().parents[2] / "policy_inference" / "config" / "bundles"
BUILD = os.environ.get("POLICY_CONTROLLERS_BUILD", "")
GAINS = ("gain_interfaces", "kp,kd")
IMU = ("imu_name", "imu")

pytestmark = pytest.mark.skipif(not BUILD, reason="`make test-cpp` builds interfaces_check")


def plan_of(bundle: Path, folder: Path) -> Path:
    file = folder / "plan"
    assert main(["controller-plan", str(bundle), "--output", str(file)]) == 0
    return file


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return plan_of(BUNDLES / "lite3_walk", tmp_path)


@pytest.fixture
def stiff_plan(tmp_path: Path) -> Path:
    """Return the plan of a policy whose gains are the same in every mode: 30 and 1."""
    folder = tmp_path / "stiff"
    folder.mkdir()
    source = BUNDLES / "lite3_walk"
    for file in source.iterdir():
        if file.name != "policy.yaml":
            (folder / file.name).symlink_to(file)
    contract = yaml.safe_load((source / "policy.yaml").read_text())
    for part in (contract["joints"], contract["stand"]):
        part["stiffness"], part["damping"] = 30.0, 1.0
    contract["safety"]["on_fault"] = "hold_measured"
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract))
    return plan_of(folder, tmp_path)


def asked(plan: Path, *parameters: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    words = [
        f"{BUILD}/interfaces_check",
        str(plan),
        *(word for each in parameters for word in each),
    ]
    return subprocess.run(words, check=False, capture_output=True, text=True)


def interfaces(plan: Path, *parameters: tuple[str, str]) -> list[str]:
    found = asked(plan, *parameters)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def refusal(plan: Path, *parameters: tuple[str, str]) -> str:
    found = asked(plan, *parameters)
    assert found.returncode == 1
    return found.stderr.strip()


def test_joints_come_first_and_then_the_imu(plan: Path) -> None:
    states = [line.split()[1] for line in interfaces(plan, GAINS, IMU) if "state " in line]
    assert len(states) == 31
    assert states[0] == "FL_HipX_joint/position"
    assert states[12] == "FL_HipX_joint/velocity"
    assert states[24:28] == [f"imu/orientation.{axis}" for axis in "xyzw"]
    assert states[28:] == [f"imu/angular_velocity.{axis}" for axis in "xyz"]


def test_a_counter_of_several_groups_is_read_once(plan: Path) -> None:
    counters = ("joint_states", "seq/count"), ("imu/data", "seq/count")
    states = [each for each in interfaces(plan, GAINS, IMU, *counters) if "state " in each]
    assert states[31:] == ["state seq/count"]
    apart = ("joint_states", "seq/joints"), ("imu/data", "seq/imu")
    assert [each for each in interfaces(plan, GAINS, IMU, *apart) if "seq/" in each] == [
        "state seq/joints",
        "state seq/imu",
    ]


def test_drives_whose_gains_are_commanded_take_all_five(plan: Path) -> None:
    found = interfaces(plan, ("gain_interfaces", "stiffness,damping"), IMU)
    assert [each for each in found if "command FR_HipY_joint/" in each] == [
        f"command FR_HipY_joint/{name} {12 * row + 4}"
        for row, name in enumerate(("position", "velocity", "effort", "stiffness", "damping"))
    ]


def test_drives_that_keep_their_gains_take_what_is_commanded(stiff_plan: Path) -> None:
    gains = ("stiffness", "30"), ("damping", ",".join(["1"] * 12))
    commands = [each for each in interfaces(stiff_plan, IMU, *gains) if "command " in each]
    assert len(commands) == 12
    assert all("/position " in each for each in commands)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ([GAINS], "imu_name: expected the name of the sensor with orientation"),
        ([IMU, ("gain_interfaces", "kp")], "gain_interfaces: expected the names of stiffness and"),
        (
            [IMU],
            "gain_interfaces: expected names for stiffness and damping (the stiffness of",
        ),
        ([IMU, GAINS, ("command_interfaces", "torque")], "found torque"),
        ([IMU, GAINS, ("command_interfaces", "effort")], "command_interfaces: expected position"),
    ],
)
def test_what_cannot_be_commanded_is_refused(
    parameters: list[tuple[str, str]], told: str, plan: Path
) -> None:
    assert told in refusal(plan, *parameters)


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        (
            [],
            "hardware_gains.stiffness: expected the stiffness that the drives keep (1 value or 12",
        ),
        ([("stiffness", "30"), ("damping", "1,1")], "hardware_gains.damping: expected the damping"),
        (
            [("stiffness", "30"), ("damping", "2")],
            "hardware_gains.damping: FL_HipX_joint: expected 1 as in the contract, found 2",
        ),
    ],
)
def test_drives_that_keep_other_gains_are_refused(
    gains: list[tuple[str, str]], told: str, stiff_plan: Path
) -> None:
    assert told in refusal(stiff_plan, IMU, *gains)
