# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "config" / "nodes"
NODES_OF = {
    "joint_policy.yaml": ("joint_policy_node", "sim_node", "perception_node", "robot_metrics"),
    "policy_set.yaml": ("policy_set_node", "sim_node", "perception_node", "robot_metrics"),
    "act_policy.yaml": (
        "act_policy_node",
        "arm_sim_node",
        "so101_emulator",
        "lerobot_arm_driver",
        "robot_metrics",
    ),
    "lite3.yaml": ("lite3_driver", "lite3_emulator"),
    "operator.yaml": ("operator_node", "joy_node"),
    "unitree.yaml": ("go2_driver", "g1_driver"),
}
TEXTS = {name: (FOLDER / name).read_text(encoding="utf-8") for name in NODES_OF}
SECTIONS: dict[str, dict[str, Any]] = {
    section.rsplit("/", 1)[-1]: body["ros__parameters"]
    for text in TEXTS.values()
    for section, body in yaml.safe_load(text).items()
}

NODES = {
    "joint_policy_node": "policy_inference.nodes.joint_policy_node:JointPolicyNode",
    "policy_set_node": "policy_inference.nodes.policy_set_node:PolicySetNode",
    "sim_node": "robot_sim.nodes.sim_node:SimNode",
    "act_policy_node": "policy_inference.nodes.act_policy_node:ActPolicyNode",
    "arm_sim_node": "robot_sim.nodes.arm_sim_node:ArmSimNode",
    "lerobot_arm_driver": "lerobot_arm_driver.nodes.driver_node:ArmDriverNode",
    "go2_driver": "unitree_driver.nodes.driver_node:UnitreeDriverNode",
    "g1_driver": "unitree_driver.nodes.driver_node:UnitreeDriverNode",
    "lite3_driver": "lite3_driver.nodes.driver_node:Lite3DriverNode",
    "operator_node": "robot_operator.nodes.operator_node:OperatorNode",
}


def make_node(name: str) -> Any:
    module, _, class_name = NODES[name].partition(":")
    package = module.partition(".")[0]
    pytest.importorskip(package, reason=f"{package} is not built")
    cls = getattr(import_module(module), class_name)
    if package != "unitree_driver":
        return cls()
    robots = import_module("unitree_driver.nodes.robots")
    return cls(name, getattr(robots, name.partition("_")[0].capitalize()))


@pytest.fixture
def ros_context() -> Iterator[None]:
    import rclpy

    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


@pytest.mark.parametrize("file", NODES_OF)
def test_parameter_file_has_a_section_for_each_node_in_any_namespace(file: str) -> None:
    assert yaml.safe_load(TEXTS[file]).keys() == {f"/**/{name}" for name in NODES_OF[file]}


@pytest.mark.ros
@pytest.mark.parametrize("name", NODES)
def test_parameter_file_states_the_defaults_of_the_node(ros_context: None, name: str) -> None:
    node = make_node(name)
    stated = SECTIONS[name]
    undeclared = [key for key in stated if not node.has_parameter(key)]
    defaults = {key: node.get_parameter(key).value for key in stated if key not in undeclared}
    node.destroy_node()
    assert undeclared == []
    assert defaults == stated


@pytest.mark.ros
@pytest.mark.parametrize("name", ["joint_policy_node", "operator_node"])
def test_first_steps_of_a_lite3_are_stricter_than_what_holds_without_them(
    ros_context: None, name: str
) -> None:
    text = (FOLDER / "first_steps.yaml").read_text(encoding="utf-8")
    stated = yaml.safe_load(text)[f"/**/{name}"]["ros__parameters"]
    contract = (FOLDER.parent / "bundles/lite3_walk/policy.yaml").read_text(encoding="utf-8")
    allowed = {f"safety.{key}": value for key, value in yaml.safe_load(contract)["safety"].items()}
    node = make_node(name)
    undeclared = [key for key in stated if not node.has_parameter(key)]
    before = {
        key: allowed[key] if key in allowed else node.get_parameter(key).value
        for key in stated
        if key not in undeclared
    }
    node.destroy_node()
    assert undeclared == []
    assert stated
    assert all(0.0 < stated[key] < before[key] for key in stated)


@pytest.mark.ros
@pytest.mark.parametrize("name", ["lite3_emulator", "so101_emulator"])
def test_parameter_file_states_the_defaults_of_the_emulators(name: str) -> None:
    # Of their tables: the nodes themselves would take ports, which others here may have.
    tables = pytest.importorskip("robot_sim.nodes.parameters", reason="robot_sim is not built")
    parameters, stated = getattr(tables, name.upper()), SECTIONS[name]
    assert {name: parameters[name][0] for name in stated} == stated


@pytest.mark.ros
@pytest.mark.parametrize("name", ["robot_metrics", "perception_node"])
@pytest.mark.parametrize("file", NODES_OF)
def test_parameter_file_states_the_defaults_of_a_table(file: str, name: str) -> None:
    # The metrics node would take its port, that of perception needs a bundle that perceives.
    table = import_module(f"policy_inference.nodes.{name}").PARAMETERS
    stated = yaml.safe_load(TEXTS[file]).get(f"/**/{name}", {}).get("ros__parameters", {})
    assert stated == {spec.name: spec.default for spec in table if spec.name in stated}


@pytest.mark.ros
@pytest.mark.parametrize("file", ["joint_policy.yaml", "policy_set.yaml", "act_policy.yaml"])
def test_limits_suggested_in_the_parameter_file_are_parameters(
    ros_context: None, file: str
) -> None:
    node = make_node(NODES_OF[file][0])
    suggested = re.findall(r"# (safety\.\w+):", TEXTS[file])
    declared = [key for key in suggested if node.has_parameter(key)]
    node.destroy_node()
    assert suggested
    assert declared == suggested
