# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whole bundles around tiny models, made anew for each test."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_tools.files.terms import term_columns
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F32
from policy_inference.testing.models import save
from testkit.edits import reword
from testkit.tiny_contract import write_tiny_contract

OBSERVATIONS, HIDDEN, JOINTS = 6, 16, ("hip", "knee")

ROBOT = """
<robot name="tiny">
  <link name="base"/>
  <joint name="hip" type="continuous">
    <parent link="base"/><child link="thigh"/><axis xyz="0 1 0"/>
  </joint>
  <link name="thigh"><inertial><mass value="0.2"/><origin xyz="0 0 -0.1"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="knee" type="continuous">
    <parent link="thigh"/><child link="shank"/><axis xyz="0 1 0"/><origin xyz="0 0 -0.2"/>
  </joint>
  <link name="shank"><inertial><mass value="0.1"/><origin xyz="0 0 -0.1"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
</robot>
"""
"""A robot with the joints of the tiny bundles, which hangs from its base."""


def observations(count: int = 200, seed: int = 1) -> F32:
    """Return rows [count, 6] in -1..1 that differ from each other."""
    random = np.random.default_rng(seed)
    return random.uniform(-1.0, 1.0, size=(count, OBSERVATIONS)).astype(np.float32)


def weights() -> dict[str, F32]:
    random = np.random.default_rng(0)
    shapes = {"w0": (OBSERVATIONS, HIDDEN), "b0": (HIDDEN,), "w1": (HIDDEN, 2), "b1": (2,)}
    return {
        name: random.normal(0.0, 0.3, size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def make_bundle(
    folder: Path,
    *,
    edit: Callable[[dict[str, F32]], object] = len,
    limits: str = "",
    recurrent: bool = False,
    last: str = "{term: last_action}",
) -> Path:
    """Write a bundle whose golden rows are those of the unedited weights.

    Args:
        folder: Where; made if absent.
        edit: Changes the weights of the model in place, after the golden rows were computed.
        limits: Lines of the contract's `limits`.
        last: The third term of the observation.
        recurrent: Whether a state `h_in` [1, 2] is added to the action and given back halved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = weights()
    obs = observations(40, seed=2)
    golden = {"obs": obs, "actions": forward(obs, arrays)}
    if recurrent:
        golden["h_in"] = np.zeros((40, 2), np.float32)
        golden["h_out"] = np.asarray(golden["actions"] / 2, np.float32)
    np.savez(folder / "golden.npz", allow_pickle=False, **golden)
    edit(arrays)
    save_model(folder / "policy.onnx", arrays, recurrent=recurrent)
    write_tiny_contract(folder, limits=limits, last=last, recurrent=recurrent)
    return folder


def forward(obs: F32, arrays: Mapping[str, F32]) -> F32:
    """Compute the actions [rows, 2] in numpy."""
    hidden = obs @ arrays["w0"] + arrays["b0"]
    elu = np.where(hidden > 0, hidden, np.exp(np.minimum(hidden, 0)) - 1)
    return np.asarray(elu @ arrays["w1"] + arrays["b1"], np.float32)


def save_model(file: Path, arrays: Mapping[str, F32], *, recurrent: bool = False) -> None:
    """Save ``actions = elu(obs @ w0 + b0) @ w1 + b1``, plus `h_in` if recurrent."""
    last = "product" if recurrent else "actions"
    nodes = [
        helper.make_node("Gemm", ["obs", "w0", "b0"], ["hidden"], name="first"),
        helper.make_node("Elu", ["hidden"], ["active"], name="elu"),
        helper.make_node("Gemm", ["active", "w1", "b1"], [last], name="second"),
    ]
    constants = dict(arrays)
    if recurrent:
        nodes += [
            helper.make_node("Add", ["product", "h_in"], ["actions"], name="add"),
            helper.make_node("Mul", ["actions", "half"], ["h_out"], name="halve"),
        ]
        constants["half"] = np.array([0.5], np.float32)
    inputs, outputs = {"obs": (1, OBSERVATIONS)}, {"actions": (1, 2)}
    if recurrent:
        inputs["h_in"] = outputs["h_out"] = (1, 2)
    save(file, nodes, inputs, outputs, constants)


def make_counting_bundle(folder: Path, frames: int | None) -> Path:
    """Write a bundle without golden rows whose input `t` counts ticks.

    Args:
        folder: Where; made if absent.
        frames: Of a motion, a constant table that `t` chooses a row of; None: a slow sine of `t`.
    """
    make_bundle(folder)
    moving = [
        helper.make_node("Mul", ["t", "slow"], ["angle"]),
        helper.make_node("Sin", ["angle"], ["frame"]),
    ]
    constants = {"w": weights()["w0"][:, :2], "slow": np.array([0.001], np.float32)}
    if frames is not None:
        moving = [
            helper.make_node("Min", ["t", "last"], ["kept"]),
            helper.make_node("Cast", ["kept"], ["row"], to=TensorProto.INT64),
            helper.make_node("Squeeze", ["row", "axis"], ["place"]),
            helper.make_node("Gather", ["motion", "place"], ["frame"]),
        ]
        # Frames beside each other differ.
        motion = np.tile(np.array([1.0, -1.0], np.float32), frames).reshape(2, frames).T.copy()
        constants |= {
            "last": np.array([frames - 1], np.float32),
            "motion": motion,
            "axis": np.array([0], np.int64),
        }
    nodes = [
        *moving,
        helper.make_node("MatMul", ["obs", "w"], ["product"]),
        helper.make_node("Add", ["product", "frame"], ["actions"]),
    ]
    file, contract = folder / "policy.onnx", folder / "policy.yaml"
    before = sha256(file)
    save(file, nodes, {"obs": (1, OBSERVATIONS), "t": (1, 1)}, {"actions": (1, 2)}, constants)
    lines = [line for line in contract.read_text("utf-8").splitlines() if "golden" not in line]
    (folder / "golden.npz").unlink()
    contract.write_text("\n".join(lines), "utf-8")
    reword(
        contract,
        (before, sha256(file)),
        ("obs: {shape: [1, 6]}", "obs: {shape: [1, 6]}, t: {shape: [1, 1]}"),
        ("{term: last_action}]}", "{term: last_action}]}, t: {terms: [{term: tick}]}"),
    )
    return folder


def again(folder: Path, other: Path) -> Path:
    """Copy a bundle; its ONNX is the same function in another file."""
    shutil.copytree(folder, other)
    file = other / "policy.onnx"
    before, model = sha256(file), onnx.load(file)
    model.doc_string = "again"
    onnx.save(model, str(file))
    reword(other / "policy.yaml", (before, sha256(file)))
    return other


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def columns(contract: JointContract, input_name: str) -> dict[str, slice]:
    """Return the columns of each term of a model input, by its name."""
    return {found.name: found.where for found in term_columns(contract, input_name)}
