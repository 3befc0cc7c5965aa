# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whole bundles of a robot with two joints, small enough to be made for each test."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_inference.testing.models import save_linear, weights
from testkit.edits import MISSING, Edits, with_edits
from testkit.wire_messages import COLOUR, DEPTH, SCAN

CONTRACT: Mapping[str, Any] = yaml.safe_load("""
schema_version: 1
kind: joint
name: two_joints
version: 1.2.3
rate_hz: 50
joints: {names: [left, right], default_position: [0.2, -0.2], position_min: -1.5,
  position_max: 1.5, velocity_limit: 10.0, effort_limit: 20.0, stiffness: 30.0, damping: 1.0}
stand: {position: [0.2, -0.2], stiffness: 100.0, damping: 2.5, duration_s: 0.1}
damp: {damping: 5.0}
observations: {obs: {terms: [{term: base_ang_vel}, {term: projected_gravity},
  {term: velocity_command}, {term: joint_pos_rel}, {term: joint_vel}, {term: last_action}]}}
action: {output: actions, terms: [
  {joints: [left, right], kind: position, scale: 0.1, offset: default_position}]}
velocity_command: {min: [-1.0, -1.0, -1.0], max: [1.0, 1.0, 1.0]}
model:
  inputs: {obs: {shape: [1, 15]}}
  outputs: {actions: {shape: [1, 2]}}
  artifacts: {onnx: {file: policy.onnx, sha256: "", precision: fp32}}
nominal: {source: a test, ticks: 1, target_step: 10.0, effort_demand: 1000.0}
safety: {on_fault: damp, max_tilt_rad: 1.0}
provenance: {source: a test, licence: Apache-2.0}
""")
JOINTS, STAND = ("left", "right"), (0.2, -0.2)
RATE_HZ: int = CONTRACT["rate_hz"]
PERIOD_NS = 1_000_000_000 // RATE_HZ
DAMP_DAMPING: float = CONTRACT["damp"]["damping"]
HEIGHT_M = 0.3
LEGS = [
    {
        "name": name,
        "chain": [{"joint": name, "position_m": [0.0, y, 0.0], "axis": [0.0, 1.0, 0.0]}],
        "points": [{"position_m": [0.0, 0.0, -HEIGHT_M]}],
    }
    for name, y in zip(JOINTS, (0.1, -0.1), strict=True)
]
SEES_GROUND: Mapping[str, Any] = {"term": "height_scan", "topic": "perception/ground", "scan": SCAN}
SEES_DEPTH: Mapping[str, Any] = {"term": "depth", "topic": "perception/front", "depth": DEPTH}
SEES_COLOUR: Mapping[str, Any] = {"term": "image", "topic": "perception/front", "image": COLOUR}
ESTIMATES: Mapping[str, Any] = {"term": "base_lin_vel", "source": "estimator"}
_SIZES = {"height_scan": 2, "depth": 12, "image": 6}
"""Numbers of values of the terms above, where they are not three."""


def write_bundle(
    folder: Path,
    changes: Edits | None = None,
    save: Callable[..., Path] = save_linear,
    **given: Any,
) -> Path:
    """Write a bundle whose contract has these edits.

    Its model is saved with the sizes of its first input and output, and what else is given.
    """
    contract = with_edits(CONTRACT, changes)
    folder.mkdir(parents=True, exist_ok=True)
    model = save(folder / "policy.onnx", *_sizes_in(contract), **given)
    for artifact in contract["model"]["artifacts"].values():
        artifact["sha256"] = artifact["sha256"] or hashlib.sha256(model.read_bytes()).hexdigest()
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    return folder


def _sizes_in(contract: Mapping[str, Any]) -> list[int]:
    model = contract["model"]
    return [next(iter(model[side].values()))["shape"][1] for side in ("inputs", "outputs")]


def write_sensing_bundle(folder: Path, *terms: Mapping[str, Any]) -> Path:
    """Write a bundle of a policy that observes its joints and these terms."""
    sizes = (2 if "encoder" in term else _SIZES.get(term["term"], 3) for term in terms)
    size = len(JOINTS) + sum(sizes)
    changes: dict[str, object] = {
        "observations": {"obs": {"terms": [{"term": "joint_pos_rel"}, *map(dict, terms)]}},
        "model.inputs": {"obs": {"shape": [1, size]}},
        "velocity_command": MISSING,
    }
    if ESTIMATES in terms:
        changes["estimation"] = {"error_mps": 0.05, "legs": LEGS}
    return write_bundle(folder, changes)


def write_encoder_bundle(folder: Path) -> Path:
    """Write a bundle of a policy that sees depth images through an encoder."""
    folder.mkdir()
    encoder = save_linear(folder / "encoder.onnx", 12, 2)
    sha256 = hashlib.sha256(encoder.read_bytes()).hexdigest()
    described = {
        "inputs": {"obs": {"shape": [1, 12]}},
        "outputs": {"actions": {"shape": [1, 2]}},
        "artifacts": {"onnx": {"file": encoder.name, "sha256": sha256, "precision": "fp32"}},
    }
    return write_sensing_bundle(folder, {**SEES_DEPTH, "encoder": described})


def write_record(folder: Path) -> Path:
    """Write what `policy_store install` writes beside a bundle; return its folder."""
    contract = (folder / "policy.yaml").read_bytes()
    record = {"model": folder.parent.name, "version": folder.name, "files": {}}
    record |= {"installed_time": "2026-01-01T00:00:00Z"}
    record |= {"policy_hash": f"sha256:{hashlib.sha256(contract).hexdigest()}"}
    (folder / "model_version.json").write_text(json.dumps(record))
    return folder


def write_version(
    folder: Path, version: str, changes: Edits | None = None, *, wrong_by: float = 0.0
) -> Path:
    """Write a bundle as `write_bundle`, with golden rows, whose outputs may be wrong."""
    folder.mkdir(parents=True)
    inputs, outputs = _sizes_in(with_edits(CONTRACT, changes))
    obs = np.random.default_rng(1).uniform(-1, 1, (20, inputs)).astype(np.float32)
    file = folder / "golden.npz"
    np.savez(file, obs=obs, actions=obs @ weights(inputs, outputs) + np.float32(wrong_by))
    golden = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return write_bundle(folder, {"version": version, "model.golden": golden, **(changes or {})})


def revoke(model: Path, version: str, reason: str) -> None:
    """Let a robot know, as after a pull, that a version of the bundle in this folder is revoked."""
    file = model / "statements/revoked.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f'kind: revocations\nname: {model.name}\nserial: 1\nissued: "2026-11-22T08:00:00Z"\n'
        f'versions: {{"{version}": {reason}}}\n',
        "utf-8",
    )
