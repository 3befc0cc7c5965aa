# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The mappings that come along: an arm means the same to them, to LeRobot, and to bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lerobot_bridge.mapping import ACTION, STATE, Joint
from lerobot_bridge.mapping_file import load_mapping, shipped
from model_tools.make.act.robots import read_arm, units_of
from policy_core.bundle.bundle import ChunkBundle
from policy_core.bundle.chunk_contract import JointUnit
from policy_core.bundle.load import load_bundle

ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
REACH = Path(__file__).resolve().parents[3] / "config" / "bundles" / "so101_reach"
VALUES = tuple(f"{joint}.pos" for joint in ARM)


def _as_units(joints: dict[str, Joint]) -> dict[str, JointUnit]:
    names = [field.name for field in dataclasses.fields(JointUnit)]
    return {
        key: JointUnit(**{name: getattr(joint, name) for name in names})
        for key, joint in joints.items()
    }


@pytest.mark.parametrize("name", shipped())
def test_what_is_seen_can_be_led_and_sent(name: str) -> None:
    mapping = load_mapping(name)

    assert mapping.names(STATE) == mapping.names(ACTION) == mapping.command_names
    assert mapping.rate_hz == 30


@pytest.mark.parametrize("name", shipped())
def test_nothing_is_sent_without_limits(name: str) -> None:
    mapping = load_mapping(name)

    for joint in mapping.joints.values():
        assert joint.max_relative_target == 0.5
        assert None not in (joint.position_min, joint.position_max)
    for channel in mapping.command:
        assert set(channel.limits) == set(channel.fields or {})


@pytest.mark.parametrize("name", ["so100", "so101", "so101_policy", "so101_reach"])
def test_arm_has_lerobot_s_names_and_the_units_ranges_and_gains_of_exported_bundles(
    name: str,
) -> None:
    mapping, robot = load_mapping(name), read_arm("so100" if name == "so100" else "so101")

    assert mapping.names(STATE) == VALUES
    assert _as_units(mapping.joints) == units_of(robot, "degrees")
    for joint, figures in robot.joints.items():
        for key in ("position_min", "position_max", "stiffness", "damping", "effort_limit"):
            assert getattr(mapping.joints[joint], key) == getattr(figures, key), (joint, key)


def test_so101_reach_records_what_the_bundle_of_its_name_sees_and_sends() -> None:
    mapping, contract = load_mapping("so101_reach"), load_bundle(REACH, kind=ChunkBundle).contract

    assert {name: (camera.height, camera.width) for name, camera in mapping.cameras.items()} == {
        name: (camera.height, camera.width) for name, camera in contract.cameras.items()
    }
    assert mapping.rate_hz == contract.rate_hz
    assert contract.state is not None
    assert tuple(f"{name}.pos" for name in contract.state.joints) == VALUES
    assert tuple(f"{name}.pos" for name in contract.action.joints) == VALUES
    assert _as_units(mapping.joints) == dict(contract.units)
