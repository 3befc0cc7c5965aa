# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LEAPP file as WBC-AGILE has them, made up: history as state, gains as outputs, its joints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import helper
from safetensors.numpy import save_file

from policy_core.interfaces import F32

from .small_runs import save

NAME = "Velocity-Made-Up"
MEASURED = ("left_hip", "right_hip", "waist", "left_knee", "right_knee")
DRIVEN = ("right_hip", "left_hip", "right_knee", "left_knee")
DEFAULT = (-0.1, -0.1, 0.0, 0.3, 0.3)
STIFFNESS, DAMPING = (100.0, 100.0, 300.0, 200.0, 200.0), (2.5, 2.5, 5.0, 5.0, 5.0)
KD = (2.5, 2.5, 5.0, 0.2)
FRAMES = 5
Values = Mapping[str, F32]


def _observed(command: int) -> dict[str, tuple[int, str, Sequence[str]]]:
    """Return size, kind and names of each input that is measured or commanded."""
    names = ("lin_vel_x", "lin_vel_y", "ang_vel_z")
    return {
        "base_velocity": (command, "command/body/velocity", names if command == 3 else ()),
        "robot_root_ang_vel_b": (3, "state/body/angular_velocity", "xyz"),
        "robot_root_quat_w": (4, "state/body/rotation", ("qx", "qy", "qz", "qw")),
        "robot_joint_pos": (len(MEASURED), "state/joint/position", MEASURED),
        "robot_joint_vel": (len(MEASURED), "state/joint/velocity", MEASURED),
    }


def _tensor(name: str, shape: Sequence[int], kind: str = "", names: Sequence[str] = ()) -> Any:
    stated = {"name": name, "dtype": "float32", "shape": list(shape), "type": "tensor"}
    kinds = {"kind": kind} if kind else {}
    return {**stated, **kinds, **({"element_names": [list(names)]} if names else {})}


def write_agile(folder: Path, *, command: int = 3) -> Path:
    """Write description, model and initial values; return the description.

    The model is one layer over all frames; its stiffness follows the measurements, its damping is
    a constant.
    """
    observed = _observed(command)
    inputs = {name: (1, size) for name, (size, _, _) in observed.items()}
    states: dict[str, Sequence[int]] = {
        f"h_policy_{name}": (FRAMES, 1, size) for name, (_, size) in inputs.items()
    }
    states["last_action"] = (1, len(DRIVEN))
    model = folder / f"{NAME}.onnx"
    _save_model(model, inputs, states)
    outputs = {"joint_pos": "target/joint/position", "joint_pos_kp_gains": "kp"}
    outputs["joint_pos_kd_gains"] = "kd"
    description = {
        "models": {
            NAME: {
                "inputs": [
                    *(
                        _tensor(name, (1, size), kind, names)
                        for name, (size, kind, names) in observed.items()
                    ),
                    *(_tensor(f"{name}_in", shape) for name, shape in states.items()),
                ],
                "outputs": [
                    *(
                        _tensor(name, (1, len(DRIVEN)), kind, DRIVEN)
                        for name, kind in outputs.items()
                    ),
                    *(_tensor(f"{name}_out", shape) for name, shape in states.items()),
                ],
                "parameters": {"model_path": model.name},
            }
        },
        "pipeline": {
            "data_flow": {},
            "feedback_flow": {f"{NAME}/{name}_out": [f"{NAME}/{name}_in"] for name in states},
            "initial_values": f"{NAME}_initial_values.safetensors",
            "inputs": {NAME: list(observed)},
            "outputs": {NAME: list(outputs)},
            "configs": {"frequency": 50.0},
        },
        "system information": {"leapp config version": "1.1", "leapp version": "0.5.2"},
        "agile": {
            "articulations": {
                "robot": {
                    "joint_names": list(MEASURED),
                    "default_joint_pos": list(DEFAULT),
                    "default_joint_stiffness": list(STIFFNESS),
                    "default_joint_damping": list(DAMPING),
                }
            }
        },
    }
    file = folder / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
    first = {f"{NAME}/{name}": value for name, value in first_state(command).items()}
    save_file(first, folder / f"{NAME}_initial_values.safetensors")
    return file


def first_state(command: int) -> dict[str, F32]:
    """Return what the states begin with, of which the last action is zero."""
    found = {
        f"h_policy_{name}_in": np.full((FRAMES, 1, size), 0.1 * i, np.float32)
        for i, (name, (size, _, _)) in enumerate(_observed(command).items())
    }
    return {**found, "last_action_in": np.zeros((1, len(DRIVEN)), np.float32)}


def _save_model(
    file: Path, inputs: Mapping[str, tuple[int, int]], states: Mapping[str, Sequence[int]]
) -> None:
    draw = np.random.default_rng(3)
    width = sum(FRAMES * size for _, size in inputs.values()) + len(DRIVEN)
    weights = 0.05 * draw.normal(size=(width, len(DRIVEN)))
    offset = [dict(zip(MEASURED, DEFAULT, strict=True))[name] for name in DRIVEN]
    constants: dict[str, np.ndarray[Any, Any]] = {
        "w": weights.astype(np.float32),
        "offset": np.array([offset], np.float32),
        "scale": np.full((1, len(DRIVEN)), 0.25, np.float32),
        "kp": np.array([[100.0, 100.0, 200.0, 200.0]], np.float32),
        "kd": np.array([KD], np.float32),
        "one": np.array([1], np.int64),
        "end": np.array([FRAMES], np.int64),
        "zero": np.array([0], np.int64),
        "flat": np.array([1, -1], np.int64),
    }
    nodes, flat = list[onnx.NodeProto](), list[str]()

    def node(kind: str, given: Sequence[str], made: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, list(given), [made], **attributes))

    for name in inputs:
        state = f"h_policy_{name}"
        node("Slice", (f"{state}_in", "one", "end", "zero"), f"{state}_past")
        node("Unsqueeze", (name, "zero"), f"{state}_now")
        node("Concat", (f"{state}_past", f"{state}_now"), f"{state}_out", axis=0)
        node("Reshape", (f"{state}_out", "flat"), f"{state}_flat")
        flat.append(f"{state}_flat")
    node("Concat", (*flat, "last_action_in"), "seen", axis=1)
    node("MatMul", ("seen", "w"), "layer")
    node("Tanh", ("layer",), "last_action_out")
    node("Mul", ("last_action_out", "scale"), "moved")
    node("Add", ("moved", "offset"), "joint_pos")
    node("Mul", ("moved", "kp"), "stiffer")
    node("Add", ("stiffer", "kp"), "joint_pos_kp_gains")
    node("Identity", ("kd",), "joint_pos_kd_gains")
    target = (1, len(DRIVEN))
    save(
        file,
        nodes,
        {**inputs, **{f"{name}_in": shape for name, shape in states.items()}},
        {
            "joint_pos": target,
            "joint_pos_kp_gains": target,
            "joint_pos_kd_gains": target,
            **{f"{name}_out": shape for name, shape in states.items()},
        },
        constants,
    )
