# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy with a height scan in lockstep: what it sees is the simulated ground."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_tools.files.contract_text import remove_section, set_section
from model_tools.simulation.controlled import ControlledPolicy, RecordingBackend
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode
from policy_inference.backends.registry import open_backend
from robot_sim.ground import LEVEL, Ground
from robot_sim.mapper import MapErrors, Mapper
from robot_sim.walk import walk
from robot_sim.world import World

WALK = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
STAIRS = Ground(terrain="stairs", step_m=0.1)
OWN = 45
POINTS = ((0.8, 0.0), (0.0, 0.0))
"""Ahead of the robot, where the stairs are, and below it."""
SCAN = f"""
      - term: height_scan
        topic: perception/ground
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


@pytest.fixture(scope="module")
def blind_but_shown(tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    """The policy that walks, under a contract with a scan, which its model ignores."""
    folder = tmp_path_factory.mktemp("seen") / "bundle"
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
    text = (WALK / CONTRACT_FILE).read_text(encoding="utf-8")
    for name in ("nominal", "reports", "model.golden"):
        text = remove_section(text, name)
    text = text.replace("  obs:\n    terms:", "  seen:\n    terms:")
    text = text.replace("      - {term: last_action}\n", f"      - {{term: last_action}}{SCAN}")
    text = set_section(text, "model.inputs", {"seen": {"shape": [1, size]}})
    digest = hashlib.sha256((folder / "policy.onnx").read_bytes()).hexdigest()
    artifact = {"file": "policy.onnx", "sha256": digest, "precision": "fp32"}
    text = set_section(text, "model.artifacts.onnx", artifact)
    (folder / CONTRACT_FILE).write_text(text, encoding="utf-8")
    return load_bundle(folder, kind=JointBundle)


@pytest.fixture
def recorder(blind_but_shown: JointBundle) -> Iterator[RecordingBackend]:
    backend, _ = open_backend(blind_but_shown, ["onnx"])
    recording = RecordingBackend(backend)
    yield recording
    recording.close()


@pytest.mark.parametrize("ground", [LEVEL, STAIRS])
def test_policy_sees_the_simulated_ground(
    blind_but_shown: JointBundle, recorder: RecordingBackend, ground: Ground
) -> None:
    policy = ControlledPolicy(blind_but_shown, recorder, mapper=Mapper(ground))
    trace = walk(World(ground=ground), policy, [], duration_s=4.0, until=None)
    assert policy.controller.mode is Mode.RUN
    seen = recorder.recorded()["seen"][:, OWN:].astype(np.float64)
    place = trace.pos_world[-len(seen) :]
    there = np.array([0.2, 0.0]) if ground is STAIRS else np.zeros(2)
    np.testing.assert_allclose(seen, there - place[:, 2:], atol=1e-5)


def test_without_a_map_the_robot_does_not_stand_up(
    blind_but_shown: JointBundle, recorder: RecordingBackend
) -> None:
    late = Mapper(LEVEL, MapErrors(latency_s=1.0))
    policy = ControlledPolicy(blind_but_shown, recorder, mapper=late)
    walk(World(), policy, [], duration_s=0.5, until=None)
    assert policy.controller.mode is Mode.DAMP
    assert "perception/ground" in policy.refusal
