# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small bundle of a chunk policy: an arm of three joints, two cameras, graphs that run.

The golden rows come from onnx's reference evaluator and from the formulas of `Scaling`, written
down here once more: another way than that of what is tested with them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_core.interfaces import F32, F64, Tensor
from testkit.chunk_models import Shape, answer, feature_shape, save_encoder, save_policy

Size = tuple[int, int]
ENCODER, POLICY = "BPU_ACTPolicy_VisionEncoder", "BPU_ACTPolicy_TransformerLayers"
SIZES: Mapping[str, Size] = {"laptop": (16, 24), "phone": (12, 16)}
"""Height and width of the images by camera, unless others are asked for."""
_STEPS, _JOINTS, _ROWS = 8, 3, 5

_CONTRACT = """
schema_version: 1
kind: chunk
name: small_arm
version: "1.0.0"
rate_hz: 30
joints:
  names: [gripper, shoulder_pan, elbow_flex]
  default_position: [0.8, 0.0, 0.0]
  position_min: [-0.2, -1.9, -1.7]
  position_max: [1.8, 1.9, 1.7]
  velocity_limit: 6.0
  effort_limit: 3.0
  stiffness: 10.0
  damping: 0.5
units:
  shoulder_pan: {unit: degrees}
  elbow_flex: {unit: degrees, sign: -1, zero_rad: 0.1}
  gripper: {unit: range_0_100, low_rad: -0.17453, high_rad: 1.74533}
stand: {position: [0.8, 0.0, 0.0], stiffness: 10.0, damping: 0.5, duration_s: 0.5}
damp: {damping: 0.5}
state:
  feature: observation.state
  tensor: states
  joints: [shoulder_pan, elbow_flex, gripper]
  normalisation: {mode: mean_std, mean: [1.0, 5.0, 40.0], std: [20.0, 15.0, 25.0]}
action:
  feature: action
  tensor: Actions
  joints: [shoulder_pan, elbow_flex, gripper]
  grippers: [gripper]
  normalisation: {mode: mean_std, mean: [0.0, 10.0, 50.0], std: [20.0, 15.0, 25.0]}
chunk: {size: 8, steps: 4, ensemble_coeff: 0.01}
safety: {on_fault: hold_measured}
provenance: {source: a test, licence: Apache-2.0}
"""
_STATISTICS = ([0.5, 0.4, 0.3], [0.25, 0.2, 0.22]), ([0.3, 0.35, 0.45], [0.3, 0.28, 0.2])
"""Mean and standard deviation of a camera's channels, of one and the other in turn."""


def write_chunk_bundle(
    folder: Path,
    *,
    sizes: Mapping[str, Size] = SIZES,
    encoders: bool = True,
    environment: int = 0,
    alike: bool = False,
    **changes: object,
) -> Path:
    """Write the bundle into a folder, which is made, and return it.

    Args:
        folder: Where to.
        sizes: Height and width of the images by camera, multiples of 4; cameras of one size share
            an encoder.
        encoders: Whether encoders make features of the images; else the policy's graph takes the
            images, and is the only one.
        environment: Length of the environment state, topic `goal`; 0 for none.
        alike: Whether the policy treats all cameras of a size alike, as ACT does, so that only
            their statistics tell them apart.
        changes: What the contract says otherwise, by key, such as `**{"chunk.steps": 2}`. The
            golden rows are those without the changes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contract: dict[str, Any] = yaml.safe_load(_CONTRACT)
    contract["cameras"] = dict(_cameras(sizes, encoders))
    if environment:
        contract["environment_state"] = {
            "tensor": "environment",
            "topic": "goal",
            "size": environment,
            "normalisation": {
                "mode": "min_max",
                "min": [-1.0] * environment,
                "max": [3.0] * environment,
            },
        }
    contract["graphs"] = dict(_graphs(folder, contract, alike))
    np.savez(folder / "golden.npz", **_golden(folder, contract))  # type: ignore[arg-type]  # a flag
    contract["golden"] = {"file": "golden.npz", "sha256": _sha256(folder / "golden.npz")}
    for key, value in changes.items():
        _change(contract, key, value)
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


def _cameras(sizes: Mapping[str, Size], encoders: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    one_size = len(set(sizes.values())) == 1
    for i, (name, (height, width)) in enumerate(sizes.items()):
        mean, std = _STATISTICS[i % len(_STATISTICS)]
        camera = {
            "feature": f"observation.images.{name}",
            "height": height,
            "width": width,
            "normalisation": {"mode": "mean_std", "mean": mean, "std": std},
            "tensor": name,
        }
        if encoders:
            camera["encoder"] = ENCODER if one_size else f"{ENCODER}_{height}x{width}"
            camera["tensor"] = f"{name}_features"
        yield name, camera


def _graphs(
    folder: Path, contract: Mapping[str, Any], alike: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    maps, vectors, made = dict[str, Shape](), {"states": _JOINTS}, set[str]()
    if "environment_state" in contract:
        vectors["environment"] = contract["environment_state"]["size"]
    for camera in contract["cameras"].values():
        shape: Shape = (1, 3, camera["height"], camera["width"])
        encoder = camera.get("encoder")
        maps[camera["tensor"]] = shape if encoder is None else feature_shape(shape)
        if encoder is not None and encoder not in made:
            save_encoder(_file(folder, encoder), shape)
            yield (
                encoder,
                _graph(
                    folder, encoder, {"images": shape}, {"Vision_Features": feature_shape(shape)}
                ),
            )
            made.add(encoder)
    chunk = (_STEPS, _JOINTS)
    save_policy(_file(folder, POLICY), vectors, maps, chunk, alike=alike)
    inputs = {**{name: (1, size) for name, size in vectors.items()}, **maps}
    yield POLICY, _graph(folder, POLICY, inputs, {"Actions": (1, *chunk)})


def _graph(
    folder: Path, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
) -> dict[str, Any]:
    file = _file(folder, name)
    return {
        "inputs": {tensor: {"shape": list(shape)} for tensor, shape in inputs.items()},
        "outputs": {tensor: {"shape": list(shape)} for tensor, shape in outputs.items()},
        "artifacts": {
            "onnx": {"file": f"{name}/{file.name}", "sha256": _sha256(file), "precision": "fp32"}
        },
    }


def _file(folder: Path, graph: str) -> Path:
    (folder / graph).mkdir(exist_ok=True)
    return folder / graph / f"{graph}.onnx"


def _golden(folder: Path, contract: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return rows of observations, of other colours each, and what the graphs answer."""
    rng, cameras = np.random.default_rng(7), contract["cameras"]
    rows: dict[str, Tensor] = {}
    for name, camera in cameras.items():
        shape = (_ROWS, camera["height"], camera["width"], 3)
        colour = rng.integers(0, 200, size=(_ROWS, 1, 1, 3))
        rows[f"cameras.{name}"] = (colour + rng.integers(0, 56, size=shape)).astype(np.uint8)
    rows["state"] = rng.uniform([-30, -20, 10], [30, 30, 80], (_ROWS, _JOINTS)).astype(np.float32)
    if "environment_state" in contract:
        size = contract["environment_state"]["size"]
        rows["environment_state"] = rng.uniform(-1, 3, (_ROWS, size)).astype(np.float32)
    action = contract["action"]["normalisation"]
    chunks = [
        _answer(folder, contract, {name: array[i] for name, array in rows.items()})
        for i in range(_ROWS)
    ]
    rows["chunk"] = (np.stack(chunks) * action["std"] + action["mean"]).astype(np.float32)
    return rows


def _answer(folder: Path, contract: Mapping[str, Any], row: Mapping[str, Tensor]) -> F32:
    """Return the normalised chunk [steps, actions]."""
    inputs = {"states": _row(_normalised(row["state"], contract["state"]))}
    if "environment_state" in row:
        outside = row["environment_state"].astype(np.float64)
        inputs["environment"] = _row(2 * (outside + 1) / 4 - 1)
    for name, camera in contract["cameras"].items():
        image = _normalised(row[f"cameras.{name}"].astype(np.float64) / 255, camera)
        inputs[camera["tensor"]] = given = _row(image.transpose(2, 0, 1))
        if "encoder" in camera:
            features = answer(_file(folder, camera["encoder"]), {"images": given})
            inputs[camera["tensor"]] = features
    (chunk,) = answer(_file(folder, POLICY), inputs)
    return np.asarray(chunk, np.float32)


def _normalised(values: Tensor, of: Mapping[str, Any]) -> F64:
    mean, std = (np.array(of["normalisation"][key], np.float64) for key in ("mean", "std"))
    normalised: F64 = (values.astype(np.float64) - mean) / (std + 1e-8)
    return normalised


def _row(values: F64) -> F32:
    return values.astype(np.float32)[np.newaxis]


def _change(node: Any, key: str, value: object) -> None:
    *parents, last = key.split(".")
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
