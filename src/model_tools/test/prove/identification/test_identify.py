# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was put into a simulated robot is found in the recording of its walk."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from model_tools.cli import main
from model_tools.errors import ToolError
from model_tools.prove.evaluation.plan import load_plan
from model_tools.prove.identification.identify import Identified, identify, read_motion
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .recorded_walks import Robot, record_walk

BUNDLE = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"


@pytest.fixture(scope="module")
def walk_bundle() -> JointBundle:
    return load_bundle(BUNDLE, kind=JointBundle)


def require(found: Identified, robot: Robot) -> None:
    """Check that delays are within 1 ms, and gains within 5 %."""
    assert len(found.drives) == 12
    for drive in found.drives:
        assert drive.delay_s.value * 1e3 == pytest.approx(robot.latency_ms, abs=1.0), drive
        stiffness = robot.stiffness_scale * drive.commanded_stiffness
        damping = robot.damping_scale * drive.commanded_damping
        assert drive.stiffness.value == pytest.approx(stiffness, rel=0.05), drive
        assert drive.damping.value == pytest.approx(damping, rel=0.05), drive
        assert abs(drive.friction_nm.value) < 0.1, drive
        assert drive.delay_s.low * 1e3 <= robot.latency_ms <= drive.delay_s.high * 1e3
        assert drive.stiffness.low <= drive.stiffness.value <= drive.stiffness.high


@pytest.mark.slow
def test_delay_gains_inputs_and_mounting_are_found_and_become_factors_of_a_plan(
    walk_bundle: JointBundle, tmp_path: Path
) -> None:
    robot = Robot(latency_ms=7.0, stiffness_scale=0.9, damping_scale=1.1, turned_deg=3.0)
    recording = record_walk(tmp_path / "walk", walk_bundle, robot, 12.0)
    found = identify(read_motion(recording, walk_bundle.contract))
    require(found, robot)
    rates = {each.name: each for each in found.rates}
    assert rates["joint_states"].rate_hz == pytest.approx(500.0, rel=0.01)
    assert rates["joint_command"].age_s == pytest.approx(0.0005, abs=1e-6)
    assert rates["joint_states"].jitter_s < 1e-6
    assert found.imu is not None
    assert [each.value for each in found.imu.gyroscope] == pytest.approx([3.0, 0.0, 0.0], abs=0.5)
    assert np.abs([each.value for each in found.imu.accelerometer]).max() < 1.0
    assert np.abs([each.value for each in found.imu.tilt]).max() < 6.0

    output = tmp_path / "identified"
    assert main(["identify", str(recording), "--bundle", str(BUNDLE), "--output", str(output)]) == 0
    figures = json.loads((output / "identified.json").read_text("utf-8"))
    assert len(figures["drives"]) == 12
    factors = yaml.safe_load((output / "factors.yaml").read_text("utf-8"))
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"robot": "lite3", "seeds": 8, **factors}), "utf-8")
    drawn = [conditions for _, conditions in load_plan(plan).conditions()]
    # Within a sample of the joints, 2 ms, about what was found, which is within 1 ms of 7 ms.
    assert all(3.5 <= each["latency_ms"] <= 10.5 for each in drawn)
    assert all(0.87 <= each["stiffness_scale"] <= 0.93 for each in drawn)


@pytest.mark.acceptance
def test_the_truth_lies_in_nine_of_ten_intervals_of_forty_robots(
    walk_bundle: JointBundle, tmp_path: Path
) -> None:
    """Takes minutes. Measured, of 480: delay 480, stiffness 480, damping 479, friction 472."""
    inside = Counter[str]()
    for seed in range(40):
        random = np.random.default_rng(seed)
        latency_ms = random.uniform(0.0, 25.0)
        stiffness, damping = random.uniform(0.85, 1.15, 2)
        robot = Robot(
            latency_ms=latency_ms,
            stiffness_scale=stiffness,
            damping_scale=damping,
            noise=(0.001, 0.05, 0.2),
        )
        recording = record_walk(tmp_path / str(seed), walk_bundle, robot, 12.0)
        for drive in identify(read_motion(recording, walk_bundle.contract)).drives:
            for name, found, truth in (
                ("delay", drive.delay_s, robot.latency_ms * 1e-3),
                ("stiffness", drive.stiffness, stiffness * drive.commanded_stiffness),
                ("damping", drive.damping, damping * drive.commanded_damping),
                ("friction", drive.friction_nm, 0.0),
            ):
                inside[name] += found.low <= truth <= found.high
    assert {name: count for name, count in inside.items() if count < 0.9 * 40 * 12} == {}


def test_too_short_a_recording_and_another_file_are_refused(
    walk_bundle: JointBundle, tmp_path: Path
) -> None:
    short = record_walk(tmp_path / "short", walk_bundle, Robot(), 4.5)
    with refusal(ToolError):
        identify(read_motion(short, walk_bundle.contract))
    (tmp_path / "file").touch()
    with refusal(ToolError):
        read_motion(tmp_path / "file", walk_bundle.contract)
