# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot stands up and walks over real topics between real processes."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.srv import SetAuthority

from examples.demos.walk import walked
from robot_sim.figures import LITE3
from robot_sim.metrics import measure

from .rig import Rig

pytestmark = pytest.mark.ros

FORWARD_MPS = 0.8
PATIENCE_S = 10.0
POLICY = "joint_policy_node"
LARGEST_ERROR, LARGEST_TILT_DEG = 0.1, 10.0
OTHER_ORDER = [
    name
    for part in ("HipX", "HipY", "Knee")
    for name in reversed(LITE3.joint_names)
    if part in name
]
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"


def _be_patient(bundle: Path) -> None:
    """Let a velocity command be old.

    In lockstep half a second of the robot is a blink of the operator, who has to share the machine
    with others: without patience the command would be stale now and then.
    """
    contract = bundle / "policy.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("safety:\n", f"safety:\n  command_timeout_s: {PATIENCE_S}\n"))


def assert_command_is_followed(bundle: Path, **rig: Any) -> None:
    _be_patient(bundle)
    with Rig(bundle.parent, bundle=str(bundle), **rig) as robot:
        robot.operator.stand_up()
        robot.operator.wait(1.5)
        robot.operator.move(FORWARD_MPS)
        robot.operator.wait(8.0)
        assert robot.operator.mode == "RUN"
        counters = robot.counters
        robot.operator.demand("damp")
        robot.operator.wait(0.1)
        trace = walked(robot.trace(), left_run=False)
    walk = measure(trace)
    assert walk.falls == 0
    assert walk.max_tilt_deg < LARGEST_TILT_DEG
    segment = walk.segments[-1]
    assert segment.command == (FORWARD_MPS, 0.0, 0.0)
    assert max(segment.error) <= LARGEST_ERROR
    assert counters == {}


@pytest.fixture
def our_bundle(tmp_path: Path) -> Path:
    return shutil.copytree(BUNDLES / "lite3_walk", tmp_path / "bundle")


def test_our_policy_walks(our_bundle: Path) -> None:
    assert_command_is_followed(our_bundle)


@pytest.mark.slow
def test_the_operator_s_dial_lets_the_policy_walk_and_stops_it(our_bundle: Path) -> None:
    def turned_to(share: float) -> float:
        """Turn the dial, let time pass, and return how far the robot went, m."""
        asked = SetAuthority.Request(authority=share)
        assert robot.operator.ask(service, "set_authority", asked, PATIENCE_S)[0]
        robot.operator.wait(1.0)
        assert robot.operator.status.authority == share
        before = robot.position_m
        robot.operator.wait(3.0)
        assert robot.operator.mode == "RUN"
        return math.dist(before, robot.position_m)

    _be_patient(our_bundle)
    with Rig(our_bundle.parent, bundle=str(our_bundle), policy={"authority": 0.0}) as robot:
        service = robot.operator.node.create_client(SetAuthority, f"{POLICY}/set_authority")
        robot.operator.stand_up()
        robot.operator.move(FORWARD_MPS)
        assert turned_to(0.0) < 0.02
        assert turned_to(1.0) > 0.7 * 3.0 * FORWARD_MPS
        assert turned_to(0.0) < 0.05
        robot.operator.demand("damp")
        robot.operator.wait(0.1)
        trace = walked(robot.trace(), left_run=False)
    assert measure(trace).falls == 0


@pytest.mark.acceptance
def test_our_policy_walks_when_the_robot_orders_its_joints_otherwise(our_bundle: Path) -> None:
    assert list(LITE3.joint_names) != OTHER_ORDER
    assert_command_is_followed(our_bundle, sim={"joint_order": OTHER_ORDER})


@pytest.mark.acceptance
@pytest.mark.real_data
def test_the_vendors_policy_walks(shared_data: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(BUNDLES / "lite3_deeprobotics", tmp_path / "bundle")
    shutil.copyfile(shared_data / "legged" / "lite3" / "policy.onnx", bundle / "policy.onnx")
    assert_command_is_followed(bundle)
