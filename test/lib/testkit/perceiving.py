# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that walks and perceives the ground, which its model does not look at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_tools.files.contract_text import remove_section, set_section
from policy_core.bundle.bundle import CONTRACT_FILE

WALK = Path(__file__).resolve().parents[3] / "config" / "bundles" / "lite3_walk"
OWN = 45
POINTS = ((0.8, 0.0), (0.0, 0.0))
"""Ahead of the robot, where simulated stairs begin, and below it."""
TOPIC = "perception/ground"
SCAN = f"""
      - term: height_scan
        topic: {TOPIC}
        scan:
          points_m: [[{POINTS[0][0]}, 0.0], [0.0, 0.0]]
          origin_m: [0.0, 0.0, 0.0]
          alignment: yaw
          heading: rotated_x
          value: ground_minus_frame
          offset_m: 0.0
          invalid: fault
          max_invalid_ratio: 0.0
          map_timeout_s: 0.5
          pose_timeout_s: 0.1
          layer: elevation
"""


def write_perceiving_bundle(folder: Path) -> Path:
    """Write lite3_walk under a contract with a scan of two points; return the folder."""
    folder.mkdir()
    model = onnx.load(WALK / "policy.onnx")
    graph, size = model.graph, OWN + len(POINTS)
    own = graph.input[0].name
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("seen", TensorProto.FLOAT, [1, size]))
    ends = [("from", [0]), ("to", [OWN]), ("axis", [1])]
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in ends
    )
    graph.node.insert(0, helper.make_node("Slice", ["seen", "from", "to", "axis"], [own]))
    onnx.save(model, folder / "policy.onnx")
    golden = np.load(WALK / "golden.npz")
    seen = np.pad(golden["obs"], ((0, 0), (0, len(POINTS))))
    np.savez(folder / "golden.npz", seen=seen, action=golden["action"])
    text = (WALK / CONTRACT_FILE).read_text(encoding="utf-8")
    for name in ("nominal", "reports"):
        text = remove_section(text, name)
    text = text.replace("  obs:\n    terms:", "  seen:\n    terms:")
    text = text.replace("      - {term: last_action}\n", f"      - {{term: last_action}}{SCAN}")
    text = set_section(text, "model.inputs", {"seen": {"shape": [1, size]}})
    artifact = {"file": "policy.onnx", "sha256": _digest(folder / "policy.onnx")}
    text = set_section(text, "model.artifacts.onnx", {**artifact, "precision": "fp32"})
    rows = {"file": "golden.npz", "sha256": _digest(folder / "golden.npz")}
    text = set_section(text, "model.golden", rows)
    (folder / CONTRACT_FILE).write_text(text, encoding="utf-8")
    return folder


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
