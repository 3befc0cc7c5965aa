# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Good and wrong successors of the walking policy that ships, each a whole bundle."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from model_tools import cli
from policy_core.interfaces import F32

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
VERSION = "9.9.9"
Contract = dict[str, Any]


def candidate(
    folder: Path,
    change: Callable[[Contract], object] = lambda _: None,
    model: Callable[[onnx.ModelProto], object] = lambda _: None,
) -> Path:
    """Write the policy that ships as another version, with a change; return the folder."""
    shutil.copytree(SHIPPED, folder)
    file, changed_weights = folder / "policy.yaml", folder / "policy.onnx"
    contract = yaml.safe_load(file.read_text("utf-8"))
    contract["version"] = VERSION
    del contract["reports"], contract["model"]["golden"]
    graph = onnx.load(changed_weights)
    model(graph)
    onnx.save(graph, changed_weights)
    if graph != onnx.load(SHIPPED / "policy.onnx"):
        sha256 = hashlib.sha256(changed_weights.read_bytes()).hexdigest()
        contract["model"]["artifacts"]["onnx"]["sha256"] = sha256
    else:
        shutil.copyfile(SHIPPED / "policy.onnx", changed_weights)
    change(contract)
    file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


def scaled_term(name: str, factor: float) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        (term,) = (
            term for term in contract["observations"]["obs"]["terms"] if term["term"] == name
        )
        term["scale"] = factor * term.get("scale", 1.0)

    return change


def scaled_columns(begin: int, end: int, factor: float) -> Callable[[onnx.ModelProto], None]:
    """Scale a term inside the model, where no contract shows it."""

    def change(values: F32, number: int) -> F32:
        if number == 0:
            values[:, begin:end] *= factor
        return values

    return changed_weights(change)


def changed_weights(change: Callable[[F32, int], F32]) -> Callable[[onnx.ModelProto], None]:
    """Change each matrix of the model, by its number."""

    def change_all(model: onnx.ModelProto) -> None:
        matrices = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2]
        for number, tensor in enumerate(matrices):
            values = change(numpy_helper.to_array(tensor).copy(), number)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change_all


def shaken(share: float, seed: int = 1) -> Callable[[onnx.ModelProto], None]:
    """Make each weight larger or smaller by a share."""
    random = np.random.default_rng(seed)

    def change(values: F32, _: int) -> F32:
        signs = random.choice([-1.0, 1.0], values.shape)
        return np.asarray(values * (1.0 + share * signs), np.float32)

    return changed_weights(change)


def scaled_gain(name: str, factor: float) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        contract["joints"][name] *= factor

    return change


def swapped_knees(contract: Contract) -> None:
    """Command the left front knee with the output of the right one."""
    (term,) = contract["action"]["terms"]
    names = {"FL_Knee_joint": "FR_Knee_joint", "FR_Knee_joint": "FL_Knee_joint"}
    term["joints"] = [names.get(joint, joint) for joint in term["joints"]]


def remembers(name: str, size: int) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        model = contract["model"]
        contract["state"] = [{"input": f"{name}_in", "output": f"{name}_out"}]
        model["inputs"][f"{name}_in"] = {"shape": [1, size]}
        model["outputs"][f"{name}_out"] = {"shape": [1, size]}

    return change


def _stateful(model: onnx.ModelProto, name: str, size: int) -> None:
    def of(suffix: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(f"{name}_{suffix}", TensorProto.FLOAT, [1, size])

    model.graph.input.append(of("in"))
    model.graph.output.append(of("out"))
    model.graph.node[-1].output[0] = "now"


def one_tick_late(model: onnx.ModelProto) -> None:
    """Answer with the action of the tick before."""
    _stateful(model, "late", 12)
    for tensor, named in (("now", "late_out"), ("late_in", "action")):
        model.graph.node.append(helper.make_node("Identity", [tensor], [named]))


def in_8_bits(folder: Path, rows: F32, source: Path = SHIPPED, *, holds: bool = True) -> Path:
    """Compile a policy in 8 bits, and compare it, by the commands; return its folder.

    Args:
        folder: To be written.
        rows: It is calibrated with.
        source: Bundle that is compiled.
        holds: Whether its distance from the policy that ships holds the limits.
    """
    file = folder.with_suffix(".npz")
    np.savez(file, obs=rows)
    compiled = ["compile", "onnx", "--bundle", source, "--precision", "int8"]
    _run(*compiled, "--rows", file, "--output", folder)
    text = (folder / "policy.yaml").read_text("utf-8")
    version = yaml.safe_load(text)["version"]
    text = text.replace(f'version: "{version}"', f'version: "{VERSION}"')
    (folder / "policy.yaml").write_text(text, "utf-8")
    _run("compare", SHIPPED, folder, "--record", status=0 if holds else 1)
    return folder


def _run(*args: object, status: int = 0) -> None:
    assert cli.main([str(arg) for arg in args]) == status


Make = Callable[[Path], Path]
WRONG: Mapping[str, Make] = {
    "joint_vel x 0.9": lambda at: candidate(at, scaled_term("joint_vel", 0.9)),
    "command x 0.5, in the model": lambda at: candidate(at, model=scaled_columns(6, 9, 0.5)),
    "stiffness x 0.8": lambda at: candidate(at, scaled_gain("stiffness", 0.8)),
    "damping x 0.5": lambda at: candidate(at, scaled_gain("damping", 0.5)),
    "one tick late": lambda at: candidate(at, remembers("late", 12), one_tick_late),
    "weights +-1 %": lambda at: candidate(at, model=shaken(0.01)),
    "weights +-10 %": lambda at: candidate(at, model=shaken(0.1)),
    "swapped knees": lambda at: candidate(at, swapped_knees),
}
"""By name; those in 8 bits need rows of a flight."""
