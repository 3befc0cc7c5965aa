# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy whose joints show what it sees: three a camera's mean colour, one another's.

Step k of a chunk has red, green and blue of `front`, 0 to 1, and the red of `wrist` as positions in
rad, each + k x RAMP.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from onnx import helper

from policy_inference.testing.models import save
from testkit.edits import Edits, with_edits

CONTRACT: Mapping[str, Any] = yaml.safe_load("""
schema_version: 1
kind: chunk
name: colours
version: 1.0.0
rate_hz: 20
joints: {names: [red, green, blue, grip], default_position: 0.0, position_min: -2.0,
  position_max: 2.0, velocity_limit: 50.0, effort_limit: 3.0, stiffness: 20.0, damping: 1.0}
units: {red: {unit: radians}, green: {unit: radians}, blue: {unit: radians}, grip: {unit: radians}}
stand: {position: 0.0, stiffness: 40.0, damping: 1.0, duration_s: 0.1}
damp: {damping: 1.0}
cameras:
  front: {feature: observation.images.front, height: 16, width: 24,
    normalisation: {mode: identity}, tensor: front, timeout_s: 0.2}
  wrist: {feature: observation.images.wrist, height: 12, width: 16,
    normalisation: {mode: identity}, tensor: wrist, timeout_s: 0.2}
state: {feature: observation.state, tensor: states, joints: [red, green, blue, grip],
  normalisation: {mode: identity}}
action: {feature: action, tensor: Actions, joints: [red, green, blue, grip], grippers: [grip],
  normalisation: {mode: identity}}
chunk: {size: 10, steps: 5, ensemble_coeff: 0.01}
graphs:
  policy:
    inputs: {states: {shape: [1, 4]}, front: {shape: [1, 3, 16, 24]},
      wrist: {shape: [1, 3, 12, 16]}}
    outputs: {Actions: {shape: [1, 10, 4]}}
    artifacts: {onnx: {file: policy.onnx, sha256: "", precision: fp32}}
safety: {on_fault: hold_measured, damp_after_s: 0.5, blend_s: 0.0}
provenance: {source: a test, licence: Apache-2.0}
""")
JOINTS = ("red", "green", "blue", "grip")
SIZES = {name: (each["height"], each["width"]) for name, each in CONTRACT["cameras"].items()}
"""Height and width."""
RATE_HZ: int = CONTRACT["rate_hz"]
SIZE, STEPS = CONTRACT["chunk"]["size"], CONTRACT["chunk"]["steps"]
PERIOD_NS = 1_000_000_000 // RATE_HZ
RAMP = 0.01


def write_colours(
    folder: Path,
    changes: Edits | None = None,
    *,
    offset_rad: float | None = None,
    wrong_by: float = 0.0,
) -> Path:
    """Write the bundle, whose contract has these edits.

    With an offset it has golden rows, and all targets are greater by that; they may be wrong.
    """
    folder.mkdir(parents=True)
    model, golden = _save_colours(folder / "policy.onnx"), dict[str, object]()
    if offset_rad is not None:
        file = _save_golden(folder / "golden.npz", offset_rad)
        golden = {
            "golden": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
            "action.normalisation": {
                "mode": "mean_std",
                "mean": [offset_rad + wrong_by] * len(JOINTS),
                "std": [1.0] * len(JOINTS),
                "eps": 0.0,
            },
        }
    contract = with_edits(with_edits(CONTRACT, golden), changes)
    artifacts = contract["graphs"]["policy"]["artifacts"]
    artifacts["onnx"]["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


def _save_golden(file: Path, offset_rad: float, rows: int = 4) -> Path:
    random = np.random.default_rng(0)
    images = {
        name: random.integers(50, 256, (rows, height, width, 3), np.uint8)
        for name, (height, width) in SIZES.items()
    }
    front, wrist = (images[name].mean(axis=(1, 2)) / 255.0 for name in ("front", "wrist"))
    seen = np.concatenate([front, wrist[:, :1]], axis=1)
    np.savez(
        file,
        state=random.uniform(-1.0, 1.0, (rows, len(JOINTS))),
        chunk=seen[:, None] + RAMP * np.arange(SIZE)[:, None] + offset_rad,
        **{f"cameras.{name}": array for name, array in images.items()},  # type: ignore[arg-type]  # allow_pickle
    )
    return file


def _save_colours(file: Path) -> Path:
    nodes = [
        helper.make_node("ReduceMean", ["front"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["wrist"], ["other"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["other", "first"], ["grip"], axis=1),
        helper.make_node("Mul", ["states", "nothing"], ["unmoved"]),
        helper.make_node("Concat", ["colour", "grip"], ["seen"], axis=1),
        helper.make_node("Add", ["seen", "unmoved"], ["row"]),
        helper.make_node("Reshape", ["row", "step"], ["target"]),
        helper.make_node("Add", ["target", "ramp"], ["Actions"]),
    ]
    ramp = RAMP * np.arange(SIZE, dtype=np.float32).reshape(1, SIZE, 1)
    inputs = {"states": (1, len(JOINTS)), **{name: (1, 3, *size) for name, size in SIZES.items()}}
    return save(
        file,
        nodes,
        inputs,
        {"Actions": (1, SIZE, len(JOINTS))},
        constants={
            "first": np.array([0]),
            "nothing": np.float32(0),
            "step": np.array([1, 1, len(JOINTS)]),
            "ramp": ramp,
        },
    )
