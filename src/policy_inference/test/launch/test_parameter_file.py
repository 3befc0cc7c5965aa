# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[2] / "config" / "nodes" / "joint_policy.yaml"
TEXT = FILE.read_text(encoding="utf-8")
SECTIONS: dict[str, dict[str, Any]] = {
    section.rsplit("/", 1)[-1]: body["ros__parameters"]
    for section, body in yaml.safe_load(TEXT).items()
}


def joint_policy_node() -> Any:
    from policy_inference.nodes.joint_policy_node import JointPolicyNode

    return JointPolicyNode()


def sim_node() -> Any:
    pytest.importorskip("robot_sim", reason="robot_sim is not built")
    from robot_sim.nodes.sim_node import SimNode

    return SimNode()


NODES: dict[str, Callable[[], Any]] = {
    "joint_policy_node": joint_policy_node,
    "sim_node": sim_node,
}


@pytest.fixture
def ros() -> Iterator[None]:
    import rclpy

    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


def test_parameter_file_has_a_section_for_each_node_in_any_namespace() -> None:
    assert yaml.safe_load(TEXT).keys() == {f"/**/{name}" for name in NODES}


@pytest.mark.ros
@pytest.mark.parametrize("name", NODES)
def test_parameter_file_states_the_defaults_of_the_node(ros: None, name: str) -> None:
    node = NODES[name]()
    stated = SECTIONS[name]

    undeclared = [key for key in stated if not node.has_parameter(key)]
    defaults = {key: node.get_parameter(key).value for key in stated if key not in undeclared}
    node.destroy_node()

    assert undeclared == []
    assert defaults == stated


@pytest.mark.ros
def test_limits_suggested_in_the_parameter_file_are_parameters(ros: None) -> None:
    node = joint_policy_node()
    suggested = re.findall(r"# (safety\.\w+):", TEXT)
    declared = [key for key in suggested if node.has_parameter(key)]
    node.destroy_node()

    assert suggested
    assert declared == suggested
