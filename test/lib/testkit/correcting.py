# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that needs the velocity of its base.

No policy that comes with the suite needs it. So the shipped one is made to: its command is
corrected by what is missing to it, command' = 2 command - velocity, in front of its own model.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import compose, helper, numpy_helper

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation

BUNDLES = Path(__file__).resolve().parents[3] / "config" / "bundles"


def correcting_model(folder: Path, file: Path) -> onnx.ModelProto:
    """Return the model of lite3_walk behind a matrix that corrects the command [6:9]."""
    model = onnx.load(folder / "policy.onnx")
    matrix = np.eye(48, 45, dtype=np.float32)
    matrix[6:8, 6:8] *= 2.0
    matrix[45:47, 6:8] = -np.eye(2)
    front = helper.make_graph(
        [helper.make_node("MatMul", ["all", "matrix"], ["corrected"])],
        "front",
        [helper.make_tensor_value_info("all", onnx.TensorProto.FLOAT, [1, 48])],
        [helper.make_tensor_value_info("corrected", onnx.TensorProto.FLOAT, [1, 45])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    made = helper.make_model(front, opset_imports=model.opset_import, ir_version=model.ir_version)
    joined = compose.merge_models(made, model, [("corrected", "obs")])
    joined.graph.node[0].input[0] = joined.graph.input[0].name = "obs"
    onnx.save(joined, file)
    return joined


def correcting_bundle(folder: Path, *, estimated: bool) -> JointBundle:
    """Write a bundle that takes the velocity from the estimator, or from an odometry."""
    shipped = BUNDLES / "lite3_walk"
    contract: dict[str, Any] = yaml.safe_load((shipped / "policy.yaml").read_text("utf-8"))
    file = folder / "policy.onnx"
    folder.mkdir()
    correcting_model(shipped, file)
    for key in ("nominal", "limits", "reports"):
        contract.pop(key, None)
    term = {"term": "base_lin_vel", **({"source": "estimator"} if estimated else {})}
    contract["observations"]["obs"]["terms"].append(term)
    contract["model"] = {
        "inputs": {"obs": {"shape": [1, 48]}},
        "outputs": contract["model"]["outputs"],
        "artifacts": {
            "onnx": {
                "file": file.name,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "precision": "fp32",
            }
        },
    }
    if estimated:
        contract["estimation"] = asdict(make_estimation(load_robot("lite3")))
    (folder / "policy.yaml").write_text(yaml.safe_dump(_plain(contract)), "utf-8")
    return load_bundle(folder, kind=JointBundle)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
