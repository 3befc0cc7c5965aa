# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of another robot than the one whose joints are published never lets it stand up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from model_tools.make.importers.import_bundle import ImportRequest, import_bundle
from robot_operator.nodes.client import Operator
from robot_sim.demo.processes import Processes
from robot_sim.figures import load_robot

pytestmark = pytest.mark.ros
G1 = load_robot("g1")
DEADLINE_S = 60.0


def policy_of_a_g1(folder: Path) -> Path:
    """Import a policy that keeps a G1 in its standing pose; return the bundle."""
    count, pose = len(G1.joint_names), G1.standing_rad.tolist()
    # In the order of the terms: gravity, joints, and nothing else.
    width = 3 + 2 * count
    model = folder / "policy.onnx"
    obs, actions = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name, size in (("obs", width), ("actions", count))
    )
    zeros = onnx.numpy_helper.from_array(np.zeros((width, count), np.float32), "zeros")
    node = onnx.helper.make_node("MatMul", ["obs", "zeros"], ["actions"])
    graph = onnx.helper.make_graph([node], "policy", [obs], [actions], [zeros])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(model))
    plain: dict[str, Any] = {"params": {}, "clip": None, "history_length": 1}
    source = {
        "joint_ids_map": list(range(count)),
        "step_dt": 0.02,
        "stiffness": [500.0] * count,
        "damping": [10.0] * count,
        "default_joint_pos": pose,
        "actions": {
            "JointPositionAction": {
                "clip": None,
                "joint_names": [".*"],
                "scale": [0.25] * count,
                "offset": pose,
                "joint_ids": None,
            }
        },
        "observations": {
            "projected_gravity": {**plain, "scale": [1.0] * 3},
            "joint_pos_rel": {**plain, "scale": [1.0] * count},
            "joint_vel_rel": {**plain, "scale": [0.05] * count},
        },
    }
    (folder / "deploy.yaml").write_text(yaml.safe_dump(source), "utf-8")
    request = ImportRequest(
        source=folder / "deploy.yaml",
        model=model,
        joints="g1",
        robot=Path("g1"),
        answers=[
            "name=g1_stands",
            "version='0.1.0'",
            "stand.position=@joints.default_position",
            "stand.stiffness=500",
            "stand.damping=10",
            "stand.duration_s=1",
            "damp.damping=5",
            "safety.on_fault=damp",
            "safety.max_tilt_rad=1.0",
            "provenance.source=a test",
            "provenance.licence=MIT",
        ],
    )
    assert import_bundle(request, folder / "g1_stands").todos() == {}
    return folder / "g1_stands"


@pytest.mark.parametrize("robot", ["g1", "go2"])
def test_stand_is_refused_on_another_robot_whose_missing_joints_are_named(
    tmp_path: Path, robot: str
) -> None:
    bundle, missing = "go2_walk", "missing: FR_hip_joint, FR_thigh_joint"
    if robot == "go2":
        bundle, missing = str(policy_of_a_g1(tmp_path)), f"missing: {', '.join(G1.joint_names[:2])}"
    with Processes() as nodes:
        nodes.start("sim_node", {"robot": robot, "lockstep": True}, tmp_path / "sim.log")
        parameters = {"bundle": bundle, "use_sim_time": True, "status_rate_hz": 50.0}
        nodes.start("joint_policy_node", parameters, tmp_path / "policy.log")
        with Operator(use_sim_time=True, watch=nodes.check, drives=False) as operator:
            operator.wait_for_status()
            operator.wait_until(lambda: missing in operator.described(), missing, DEADLINE_S)
            agreed, message = operator.request("stand")
            mode = operator.mode

    assert not agreed
    assert missing in message
    assert mode == "DAMP"
