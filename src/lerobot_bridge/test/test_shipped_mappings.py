# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The included mappings convert the values of an arm as LeRobot and bundles do."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lerobot_bridge.mapping import ACTION, STATE, Joint
from lerobot_bridge.mapping_file import load_mapping, mapping_schema, parse_mapping, shipped
from model_tools.make.act.robots import joint_units, read_arm
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import JointUnit
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError

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
def test_each_is_in_the_guide_and_sends_what_is_seen_within_limits(name: str) -> None:
    mapping = load_mapping(name)

    assert f"`{name}`" in GUIDE.split("| mapping | robot |")[1].partition("\n\n")[0]
    assert mapping.names(STATE) == mapping.names(ACTION) == mapping.command_names
    assert mapping.rate_hz == 30
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
    assert _as_units(mapping.joints) == joint_units(robot, "degrees")
    for joint, figures in robot.joints.items():
        for key in ("position_min", "position_max", "stiffness", "damping", "effort_limit"):
            assert getattr(mapping.joints[joint], key) == getattr(figures, key), (joint, key)


def test_two_arms_are_one_arm_twice_left_first() -> None:
    one, two = load_mapping("so101"), load_mapping("so101_dual")

    assert two.names(STATE) == tuple(
        f"{side}_{name}" for side in ("left", "right") for name in VALUES
    )
    assert two.joints == {
        f"{side}_{name}": dataclasses.replace(joint, ros_name=name)
        for side in ("left", "right")
        for name, joint in one.joints.items()
    }
    assert list(two.cameras) == ["front", "left_wrist", "right_wrist"]


def test_what_a_policy_sends_differs_from_what_a_leader_shows_by_its_source_alone() -> None:
    led, sent = load_mapping("so101"), load_mapping("so101_policy")

    assert dataclasses.replace(led, vectors={**led.vectors, ACTION: sent.vectors[ACTION]}) == sent
    (source,) = sent.vectors[ACTION]
    assert (source.topic, source.type) == (sent.command[0].topic, sent.command[0].type)


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


def test_lekiwi_counts_its_arm_as_bundles_count_a_range() -> None:
    mapping = load_mapping("lekiwi")

    units = joint_units(read_arm("so101"), "range")
    assert _as_units(mapping.joints) == {f"arm_{name}": unit for name, unit in units.items()}
    assert mapping.names(ACTION)[-3:] == ("x.vel", "y.vel", "theta.vel")


GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "lerobot.md").read_text(encoding="utf-8")
EXAMPLE: dict[str, Any] = yaml.safe_load(GUIDE.split("```yaml\n")[1].partition("```")[0])


def test_example_is_accepted_by_reader_and_schema_and_has_the_documented_names() -> None:
    mapping = parse_mapping(EXAMPLE, "robot.yaml")

    jsonschema.validate(EXAMPLE, mapping_schema())
    names = ("shoulder.pos", "elbow.pos", "gripper.pos", "x.vel", "theta.vel")
    assert mapping.names(STATE) == mapping.names(ACTION) == mapping.command_names == names
    assert all(f"`{name}`" in GUIDE for name in names)


def test_all_faults_are_reported_at_once() -> None:
    content = copy.deepcopy(EXAMPLE)
    del content["joints"]["elbow"]["low_rad"]
    content["vectors"]["action"][0]["joints"] = ["wrist"]
    with pytest.raises(BundleError) as caught:
        parse_mapping(content, "robot.yaml")
    places = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert places == ["joints.elbow", "vectors.action[0].joints"]
