# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contracts of chunk policies for tests, made from one small valid one; no files."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import Camera, ChunkContract, Scaling
from policy_core.bundle.load import parse_contract
from testkit.edits import with_edits

JOINTS = ("pan", "lift", "gripper")
HEIGHT, WIDTH, FEATURES, STEPS = 6, 8, 4, 10
_IDENTITY = {"mode": "identity"}
_ONNX = {"onnx": {"file": "FILE", "sha256": "0" * 64, "precision": "fp32"}}


def _camera(name: str) -> dict[str, Any]:
    return {
        "feature": f"observation.images.{name}",
        "height": HEIGHT,
        "width": WIDTH,
        "normalisation": dict(_IDENTITY),
        "encoder": "vision",
        "tensor": f"{name}_features",
    }


def _artifact(file: str) -> dict[str, Any]:
    return {"onnx": {**_ONNX["onnx"], "file": file}}


CONTRACT: Mapping[str, Any] = {
    "schema_version": 1,
    "kind": "chunk",
    "name": "arm",
    "version": "1.0.0",
    "rate_hz": 10,
    "joints": {
        "names": list(JOINTS),
        "default_position": 0.0,
        "position_min": -2.0,
        "position_max": 2.0,
        "velocity_limit": 10.0,
        "effort_limit": 3.0,
        "stiffness": 20.0,
        "damping": 1.0,
    },
    "units": {name: {"unit": "radians"} for name in JOINTS},
    "stand": {"position": 0.0, "stiffness": 20.0, "damping": 1.0, "duration_s": 0.2},
    "damp": {"damping": 1.0},
    "cameras": {"laptop": _camera("laptop"), "phone": _camera("phone")},
    "state": {
        "feature": "observation.state",
        "tensor": "states",
        "joints": list(JOINTS),
        "normalisation": dict(_IDENTITY),
    },
    "action": {
        "feature": "action",
        "tensor": "Actions",
        "joints": list(JOINTS),
        "normalisation": dict(_IDENTITY),
        "grippers": ["gripper"],
    },
    "chunk": {"size": STEPS, "steps": 5},
    "graphs": {
        "vision": {
            "inputs": {"images": {"shape": [1, 3, HEIGHT, WIDTH]}},
            "outputs": {"Vision_Features": {"shape": [1, FEATURES, 1, 1]}},
            "artifacts": _artifact("vision.onnx"),
        },
        "transformer": {
            "inputs": {
                "states": {"shape": [1, 3]},
                "laptop_features": {"shape": [1, FEATURES, 1, 1]},
                "phone_features": {"shape": [1, FEATURES, 1, 1]},
            },
            "outputs": {"Actions": {"shape": [1, STEPS, 3]}},
            "artifacts": _artifact("transformer.onnx"),
        },
    },
    "safety": {"on_fault": "hold_measured", "damp_after_s": 1.0, "blend_s": 0.0},
    "provenance": {"source": "made for tests", "licence": "Apache-2.0"},
}


def chunk_contract_of(changes: Mapping[str, object] | None = None) -> ChunkContract:
    """Return the contract with keys replaced, named like ``safety.on_fault``."""
    return _parsed(json.dumps(with_edits(CONTRACT, changes)))


@functools.lru_cache(maxsize=100)
def _parsed(text: str) -> ChunkContract:
    return parse_contract(text.encode(), "policy.yaml", kind=ChunkContract)


def chunk_bundle_of(
    changes: Mapping[str, object] | None = None, path: Path = Path()
) -> ChunkBundle:
    return ChunkBundle(path=path, contract=chunk_contract_of(changes), content=b"")


def camera_of(
    height: int = HEIGHT,
    width: int = WIDTH,
    *,
    resize: bool = False,
    scaling: Scaling | None = None,
) -> Camera:
    return Camera(
        feature="observation.images.laptop",
        height=height,
        width=width,
        resize=resize,
        normalisation=scaling or Scaling(mode="identity"),
        tensor="images",
    )
