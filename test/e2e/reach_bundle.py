# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy that sees: it finds the cube's red in the front camera and goes there.

Its graph weighs each pixel by how red it is, takes the centre, and has the arm's goal from a
polynomial of that, which is fitted here to what the expert does. Nothing of it is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from onnx import helper

from policy_inference.testing.models import save
from robot_sim.arm_expert import ReachExpert
from robot_sim.arm_figures import SO101
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import IMAGE_SIZE, JOINTS, ArmWorld
from robot_sim.driven import NS_PER_S
from robot_sim.figures import Array
from robot_sim.offscreen import Frame

SIZE = 90
"""Steps of a chunk, 3 s: the policy looks once and goes."""
_FITTED = 60
_PER_RED = 0.05
_GRIPPER = "gripper"
_VECTOR: Mapping[str, Any] = {
    "joints": list(SO101.joint_names),
    "normalisation": {"mode": "identity"},
}
_DEGREES = np.where(np.array(SO101.joint_names) == _GRIPPER, 0.0, 180.0 / np.pi)


def contract(sha256: str) -> dict[str, Any]:
    """Return the contract of the policy, in LeRobot's units."""
    names, height, width = list(SO101.joint_names), *IMAGE_SIZE
    units: dict[str, Any] = {name: {"unit": "degrees"} for name in names}
    units[_GRIPPER] = {
        "unit": "range_0_100",
        "low_rad": float(SO101.lower_rad[-1]),
        "high_rad": float(SO101.upper_rad[-1]),
    }
    return {
        "schema_version": 1,
        "kind": "chunk",
        "name": "red",
        "version": "1.0.0",
        "rate_hz": 30,
        "joints": {
            "names": names,
            "default_position": SO101.home_rad.tolist(),
            "position_min": SO101.lower_rad.tolist(),
            "position_max": SO101.upper_rad.tolist(),
            "velocity_limit": 6.0,
            "effort_limit": SO101.servo.stall_nm,
            "stiffness": SO101.servo.stiffness,
            "damping": SO101.servo.damping,
        },
        "units": units,
        "stand": {
            "position": SO101.home_rad.tolist(),
            "stiffness": SO101.servo.stiffness,
            "damping": SO101.servo.damping,
            "duration_s": 1.5,
        },
        "damp": {"damping": 2.0},
        "cameras": {
            name: {
                "feature": f"observation.images.{name}",
                "height": height,
                "width": width,
                "normalisation": {"mode": "identity"},
                "tensor": name,
            }
            for name in POLICY_CAMERAS
        },
        "state": {"feature": "observation.state", "tensor": "states", **_VECTOR},
        "action": {"feature": "action", "tensor": "Actions", "grippers": [_GRIPPER], **_VECTOR},
        "chunk": {"size": SIZE, "steps": SIZE},
        "graphs": {
            "policy": {
                "inputs": {
                    "states": {"shape": [1, JOINTS]},
                    **{name: {"shape": [1, 3, height, width]} for name in POLICY_CAMERAS},
                },
                "outputs": {"Actions": {"shape": [1, SIZE, JOINTS]}},
                "artifacts": {
                    "onnx": {"file": "policy.onnx", "sha256": sha256, "precision": "fp32"}
                },
            }
        },
        "safety": {"on_fault": "hold_measured", "damp_after_s": 0.5},
        "provenance": {"source": "a test", "licence": "Apache-2.0"},
    }


def write_reach(folder: Path, *, needs_red: float = _PER_RED) -> Path:
    """Write the bundle; where nothing is redder than `needs_red` its chunks are not finite."""
    folder.mkdir(parents=True)
    model = _save(folder / "policy.onnx", _fitted(), needs_red)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    text = yaml.safe_dump(contract(digest), sort_keys=False)
    (folder / "policy.yaml").write_text(text, "utf-8")
    return folder


def _fitted() -> Array:
    """Return the polynomial [27, 6]: from the cube's place in the image to a goal in degrees."""
    world = ArmWorld()
    rows, goals = [], []
    for seed in range(1, 1 + _FITTED):
        world.reset(seed=seed)
        world.show(np.array([*SO101.home_rad, *world.pose[JOINTS:]]))
        rows.append(_terms(world.render(POLICY_CAMERAS[0])))
        expert = ReachExpert(world)
        goals.append(expert.target(10 * NS_PER_S) * _DEGREES)
    world.close()
    return np.asarray(np.linalg.lstsq(np.array(rows), np.array(goals), rcond=None)[0])


def _columns() -> Array:
    """Return for each pixel its column and row, 0 to 1, and 1: [pixels, 3]."""
    height, width = IMAGE_SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    ones = np.ones(height * width)
    return np.stack([columns.ravel() / width, rows.ravel() / height, ones], axis=1)


def _terms(image: Frame) -> Array:
    """Return what the graph makes of an image: all products of three of u, v and 1 [27]."""
    red, green, _ = np.moveaxis(image / 255.0, -1, 0)
    place = np.maximum(red - 2.0 * green - _PER_RED, 0.0).ravel() @ _columns()
    place = place / place[2]
    return np.asarray(np.einsum("i,j,k->ijk", place, place, place).ravel())


def _save(file: Path, polynomial: Array, needs_red: float) -> Path:
    height, width = IMAGE_SIZE
    node = helper.make_node
    nodes = [
        node("Gather", ["front", "first"], ["red"], axis=1),
        node("Gather", ["front", "second"], ["green"], axis=1),
        node("Mul", ["green", "two"], ["green2"]),
        node("Sub", ["red", "green2"], ["more"]),
        node("Sub", ["more", "per_red"], ["much"]),
        node("Relu", ["much"], ["weight"]),
        node("Reshape", ["weight", "flat"], ["weights"]),
        node("MatMul", ["weights", "columns"], ["sums"]),
        node("Gather", ["sums", "third"], ["sum"], axis=1),
        node("Div", ["sums", "sum"], ["place"]),
        node("Reshape", ["place", "as_a"], ["a"]),
        node("Reshape", ["place", "as_b"], ["b"]),
        node("Reshape", ["place", "as_c"], ["c"]),
        node("Mul", ["a", "b"], ["ab"]),
        node("Mul", ["ab", "c"], ["abc"]),
        node("Reshape", ["abc", "as_terms"], ["terms"]),
        node("MatMul", ["terms", "polynomial"], ["goal"]),
        node("Sub", ["goal", "states"], ["way"]),
        node("Mul", ["way", "moved"], ["rest"]),
        node("Reshape", ["rest", "as_row"], ["way_row"]),
        node("Mul", ["way_row", "part"], ["ways"]),
        node("Reshape", ["states", "as_row"], ["state_row"]),
        node("Add", ["state_row", "ways"], ["seen"]),
        # The wrist camera changes nothing, but must be there.
        node("Gather", ["wrist", "first"], ["wrist_red"], axis=1),
        node("ReduceMean", ["wrist_red"], ["wrist_mean"], axes=[1, 2, 3], keepdims=0),
        node("Mul", ["wrist_mean", "nothing"], ["unmoved"]),
        node("Add", ["seen", "unmoved"], ["Actions"]),
    ]
    part = np.minimum(np.arange(1, SIZE + 1) / 60.0, 1.0)  # 2 s, then it stays
    smooth = part**2 * (3.0 - 2.0 * part)
    inputs = {"states": (1, JOINTS), **dict.fromkeys(POLICY_CAMERAS, (1, 3, height, width))}
    return save(
        file,
        nodes,
        inputs,
        {"Actions": (1, SIZE, JOINTS)},
        constants={
            "first": np.array([0]),
            "second": np.array([1]),
            "third": np.array([2]),
            "two": np.float32(2.0),
            "per_red": np.float32(needs_red),
            "nothing": np.float32(0.0),
            "flat": np.array([1, -1]),
            "columns": _columns().astype(np.float32),
            "as_a": np.array([1, 3, 1, 1]),
            "as_b": np.array([1, 1, 3, 1]),
            "as_c": np.array([1, 1, 1, 3]),
            "as_terms": np.array([1, 27]),
            "as_row": np.array([1, 1, JOINTS]),
            "polynomial": polynomial.astype(np.float32),
            "moved": (_DEGREES > 0).astype(np.float32),
            "part": smooth.astype(np.float32).reshape(1, SIZE, 1),
        },
    )
