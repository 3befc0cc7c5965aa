# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Copies of the shipped bundles with models that every machine computes alike.

Exact models give the same bits in every runtime, since values are picked and multiplied, never
added; they stand in for trained weights where a tool opens the reference model by itself. Copies
for the seeded back end keep the model and have its answers as golden rows.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from tools.digests.seeded_backend import outputs_of
from tools.digests.texts import BUNDLES

F32 = npt.NDArray[np.float32]
OBS_DIM, ACT_DIM = 45, 12


def exact_bundle(folder: Path, *, scale: float = 0.5) -> Path:
    """Write a copy of lite3_walk with an exact model and its golden rows.

    Args:
        folder: Of the copy; does not exist yet.
        scale: What a picked value is multiplied by, a power of two, or nearly one.
    """
    weights = np.zeros((OBS_DIM, ACT_DIM), np.float32)
    weights[_picked(ACT_DIM, OBS_DIM), np.arange(ACT_DIM)] = scale
    nodes = [helper.make_node("MatMul", ["obs", "weights"], ["action"])]
    source = BUNDLES / "lite3_walk"
    rows = dict(np.load(source / "golden.npz"))
    rows["action"] = (rows["obs"].astype(np.float32) @ weights).astype(np.float32)
    model = _model(nodes, {"obs": [1, OBS_DIM]}, {"action": [1, ACT_DIM]}, {"weights": weights})
    changed_copy(
        "lite3_walk", folder, lambda text: re.sub(r"(?ms)^reports:.*?(?=^\w|\Z)", "", text)
    )
    replace_file(folder, "policy.onnx", model)
    np.savez(folder / "new.npz", **rows)
    replace_file(folder, "golden.npz", (folder / "new.npz").read_bytes())
    (folder / "new.npz").unlink()
    return folder


def exact_chunks(folder: Path, *, scale: float = 0.5) -> Path:
    """Write a copy of so101_reach with exact graphs and without golden rows."""
    vision, layers = (f"BPU_ACTPolicy_{name}" for name in ("VisionEncoder", "TransformerLayers"))
    features = [1, 128, 3, 4]
    changed_copy("so101_reach", folder, lambda text: re.sub(r"(?m)^golden:.*\n", "", text))
    encoder = _model(
        [
            helper.make_node("Reshape", ["images", "flat"], ["all"]),
            helper.make_node("Gather", ["all", "picked"], ["some"], axis=1),
            helper.make_node("Reshape", ["some", "shape"], ["Vision_Features"]),
        ],
        {"images": [1, 3, 96, 128]},
        {"Vision_Features": features},
        {
            "flat": np.array([1, -1]),
            "picked": _picked(int(np.prod(features)), 3 * 96 * 128),
            "shape": np.array(features),
        },
    )
    names = ["states", "front_features", "wrist_features"]
    size = 6 + 2 * int(np.prod(features))
    transformer = _model(
        [
            *(helper.make_node("Reshape", [name, "flat"], [f"{name}_flat"]) for name in names),
            helper.make_node("Concat", [f"{name}_flat" for name in names], ["all"], axis=1),
            helper.make_node("Gather", ["all", "picked"], ["some"], axis=1),
            helper.make_node("Reshape", ["some", "shape"], ["picked_ones"]),
            helper.make_node("Mul", ["picked_ones", "scale"], ["Actions"]),
        ],
        {"states": [1, 6], "front_features": features, "wrist_features": features},
        {"Actions": [1, 60, 6]},
        {
            "flat": np.array([1, -1]),
            "picked": _picked(360, size),
            "shape": np.array([1, 60, 6]),
            "scale": np.array(scale, np.float32),
        },
    )
    replace_file(folder, f"{vision}/{vision}.onnx", encoder)
    replace_file(folder, f"{layers}/{layers}.onnx", transformer)
    return folder


def seeded_walk(folder: Path, *, version: str = "1.0.0", joint_vel_scale: str = "0.05") -> Path:
    """Write a copy of lite3_walk.

    Args:
        folder: Of the copy; does not exist yet.
        version: Of the copy.
        joint_vel_scale: Scale of its term joint_vel.
    """

    def change(text: str) -> str:
        text = text.replace('version: "0.2.1"', f'version: "{version}"')
        return text.replace("joint_vel, scale: 0.05", f"joint_vel, scale: {joint_vel_scale}")

    changed_copy("lite3_walk", folder, change)
    rows = dict(np.load(BUNDLES / "lite3_walk" / "golden.npz"))
    size, shape = rows["action"][0].size, rows["action"].shape
    answers = [outputs_of([row], size) for row in rows["obs"]]
    rows["action"] = np.array(answers, np.float32).reshape(shape)
    np.savez(folder / "new.npz", **rows)
    replace_file(folder, "golden.npz", (folder / "new.npz").read_bytes())
    (folder / "new.npz").unlink()
    return folder


def seeded_chunks(folder: Path, pairing: Mapping[str, Any]) -> Path:
    """Write a copy of so101_reach that ensembles, and stands where its mean action is.

    Args:
        folder: Of the copy; does not exist yet.
        pairing: Section of that name; empty where it has the defaults.
    """
    changes = {
        "{size: 60, steps: 30}": "{size: 60, steps: 30, ensemble_coeff: 0.01}",
        "shoulder_lift: -1.0, elbow_flex: 0.6": "shoulder_lift: -0.125, elbow_flex: 0.125",
    }

    def change(text: str) -> str:
        for before, after in changes.items():
            text = text.replace(before, after)
        return text + (f"pairing: {json.dumps(dict(pairing))}\n" if pairing else "")

    return changed_copy("so101_reach", folder, change)


def gathering_model(inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> bytes:
    """Return a model of which each output value is half of one input value."""
    size = sum(int(np.prod(shape)) for shape in inputs.values())
    nodes = [
        *(helper.make_node("Reshape", [name, "flat"], [f"{name}_flat"]) for name in inputs),
        helper.make_node("Concat", [f"{name}_flat" for name in inputs], ["all"], axis=1),
    ]
    constants: dict[str, npt.NDArray[np.generic]] = {
        "flat": np.array([1, -1]),
        "half": np.array(0.5, np.float32),
    }
    for name, shape in outputs.items():
        constants[f"{name}_picked"] = _picked(int(np.prod(shape)), size)
        constants[f"{name}_shape"] = np.array(shape)
        nodes += [
            helper.make_node("Gather", ["all", f"{name}_picked"], [f"{name}_some"], axis=1),
            helper.make_node("Reshape", [f"{name}_some", f"{name}_shape"], [f"{name}_shaped"]),
            helper.make_node("Mul", [f"{name}_shaped", "half"], [name]),
        ]
    return _model(nodes, inputs, outputs, constants)


def changed_copy(name: str, folder: Path, change: Callable[[str], str]) -> Path:
    """Copy a shipped bundle and change its policy.yaml.

    Args:
        name: Of the bundle.
        folder: Of the copy; does not exist yet.
        change: Returns the new text for that of the policy.yaml.
    """
    shutil.copytree(BUNDLES / name, folder)
    file = folder / "policy.yaml"
    before = file.read_text("utf-8")
    after = change(before)
    if after == before:
        raise ValueError(f"{name}/policy.yaml: expected a text that is changed, found none of it")
    file.write_text(after, "utf-8")
    return folder


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle, and its hash in the contract."""
    contract, file = folder / "policy.yaml", folder / name
    text = contract.read_text("utf-8")
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    if before not in text:
        raise ValueError(f"{contract}: expected the hash of {name}, found none")
    file.write_bytes(content)
    contract.write_text(text.replace(before, hashlib.sha256(content).hexdigest()), "utf-8")


def _picked(count: int, size: int) -> npt.NDArray[np.int64]:
    """Return `count` places, spread over `size` values."""
    return (np.arange(count) * 7919 + 3) % size


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    constants: dict[str, npt.NDArray[np.generic]],
) -> bytes:
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "exact",
        [make(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [make(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
