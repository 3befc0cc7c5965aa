# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each output against what the documents of ros2_control's packages say of its message.

Read in ros2_controllers (forward_command_controller, joint_trajectory_controller: userdoc.rst,
trajectory.rst, parameters) and topic_based_hardware_interfaces (README), 2026-11.
"""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from policy_core.bundle.body import AnyContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import JointTargets
from policy_inference.nodes.outputs import OUTPUTS, require_expressible
from testkit.ros_time import ns

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = ROOT / "examples" / "ros2_control"


@pytest.fixture(scope="module")
def reach_contract() -> AnyContract:
    return load_bundle(ROOT / "config" / "bundles" / "so101_reach").contract


def sent(kind: str, contract: AnyContract) -> tuple[Any, dict[str, float]]:
    """Return a message, and its positions by the names that the robot has for its joints."""
    require_expressible(kind, contract)
    targets = JointTargets(len(contract.joints.names))
    targets.position[:] = np.arange(len(contract.joints.names)) / 10.0
    message = OUTPUTS[kind][2](contract, 1.0, count())(targets, 12_345_678_901)
    return message, dict(zip(contract.joints.on_robot(), targets.position.tolist(), strict=True))


def controller(file: str, name: str) -> tuple[str, Mapping[str, Any]]:
    found = yaml.safe_load((EXAMPLES / file).read_text("utf-8"))
    return (
        found["controller_manager"]["ros__parameters"][name]["type"],
        found[name]["ros__parameters"],
    )


def test_forward_command_controller_gives_each_joint_its_position(
    reach_contract: AnyContract,
) -> None:
    kind, parameters = controller("position_controller.yaml", "position_controller")
    assert kind == "forward_command_controller/ForwardCommandController"
    assert parameters["interface_name"] == "position"
    # The message has no names: another order gives each joint the position of another.
    assert parameters["joints"] == list(reach_contract.joints.on_robot())
    found, positions = sent("position_array", reach_contract)
    assert dict(zip(parameters["joints"], found.data, strict=True)) == pytest.approx(positions)


def test_joint_trajectory_controller_accepts_each_message_whenever_it_comes(
    reach_contract: AnyContract,
) -> None:
    kind, parameters = controller("joint_trajectory_controller.yaml", "joint_trajectory_controller")
    assert kind == "joint_trajectory_controller/JointTrajectoryController"
    assert parameters["command_interfaces"] == ["position"]
    found, positions = sent("joint_trajectory", reach_contract)
    assert sorted(found.joint_names) == sorted(parameters["joints"])
    assert ns(found.header.stamp) == 0  # it begins at once, and is never too old
    (point,) = found.points
    assert dict(zip(found.joint_names, point.positions, strict=True)) == pytest.approx(positions)
    # Linear from the state before, and held from there on.
    assert list(point.velocities) == list(point.accelerations) == list(point.effort) == []
    assert ns(point.time_from_start) == round(1e9 / reach_contract.rate_hz)
    # After a `cmd_timeout` the measured position would be held, and a loaded arm would sag.
    assert parameters["cmd_timeout"] == 0.0
    assert parameters["interpolate_from_desired_state"] is True


def test_topic_based_hardware_has_the_joints_of_the_contract(reach_contract: AnyContract) -> None:
    root = ElementTree.parse(EXAMPLES / "joint_state_topic.ros2_control.xml").getroot()
    joints = {joint.get("name"): joint for joint in root.iterfind("joint")}
    assert list(joints) == list(reach_contract.joints.on_robot())
    for joint in joints.values():
        commands = [each.get("name") for each in joint.iterfind("command_interface")]
        states = [each.get("name") for each in joint.iterfind("state_interface")]
        assert (commands, states) == (["position"], ["position", "velocity", "effort"])
    plugin = root.findtext("hardware/plugin")
    assert plugin == "joint_state_topic_hardware_interface/JointStateTopicSystem"
    threshold = root.find("hardware/param[@name='trigger_joint_command_threshold']")
    assert threshold is not None
    assert float(threshold.text or "") < 0.0
