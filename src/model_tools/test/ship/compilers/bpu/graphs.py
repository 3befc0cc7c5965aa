# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs to compile, made anew for each test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnx import helper, numpy_helper

from model_tools.files.bpu_files import MARCHES
from model_tools.ship.compilers.bpu_graph import BpuGraph
from model_tools.ship.compilers.bpu_workspace import BpuSettings
from policy_core.interfaces import TensorSpec

Nodes = Sequence[onnx.NodeProto]
TRANSFORMER_INPUTS = {"states": (1, 6), "laptop/features": (1, 4, 2, 3), "phone": (1, 4, 2, 3)}


def bpu_settings(march: str, precision: str = "int8", **changes: Any) -> BpuSettings:
    given = {"calibration": "default", "optimize_level": MARCHES[march].levels[-1], "jobs": 4}
    return BpuSettings(march=march, precision=precision, **{**given, **changes})


def save_nodes(
    file: Path,
    nodes: Nodes,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    opset: int = 17,
    **constants: npt.NDArray[Any],
) -> Path:
    values = [
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in tensors.items()
        ]
        for tensors in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny", values[0], values[1], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(file))
    return file


def bpu_graph(
    name: str, model: Path, inputs: dict[str, Any], outputs: dict[str, Any], rows: int = 40
) -> BpuGraph:
    random = np.random.default_rng(1)
    return BpuGraph(
        name=name,
        model=model,
        inputs=tuple(TensorSpec(name=n, shape=s) for n, s in inputs.items()),
        outputs=tuple(TensorSpec(name=n, shape=s) for n, s in outputs.items()),
        samples={
            n: random.normal(size=(rows, *s[1:])).astype(np.float32) for n, s in inputs.items()
        },
    )


def mlp_graph(
    folder: Path, name: str = "policy", opset: int = 17, batch: int | str = 1
) -> BpuGraph:
    weights = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["obs", "w", "b"], ["product"]),
        helper.make_node("Elu", ["product"], ["actions"]),
    ]
    file = save_nodes(
        folder / f"{name}.onnx",
        nodes,
        {"obs": (batch, 6)},
        {"actions": (batch, 2)},
        opset,
        w=weights,
        b=weights[0],
    )
    return bpu_graph(name, file, {"obs": (1, 6)}, {"actions": (1, 2)})


def lstm_graph(folder: Path) -> BpuGraph:
    """Make a recurrent model with its state as tensors."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "LSTM",
            ["obs", "w", "r", "", "", "h_in", "c_in"],
            ["y", "h_out", "c_out"],
            hidden_size=4,
        ),
        helper.make_node("Squeeze", ["y", "axis"], ["action"]),
    ]
    inputs = {"obs": (1, 1, 6), "h_in": (1, 1, 4), "c_in": (1, 1, 4)}
    outputs = {"action": (1, 1, 4), "h_out": (1, 1, 4), "c_out": (1, 1, 4)}
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in {"w": (1, 16, 6), "r": (1, 16, 4)}.items()
    }
    file = save_nodes(
        folder / "lstm.onnx", nodes, inputs, outputs, 17, **weights, axis=np.array([1], np.int64)
    )
    return bpu_graph("lstm", file, inputs, outputs)


def transformer_graph(folder: Path) -> BpuGraph:
    """Make a model of a vector and two feature maps."""
    flat = [
        helper.make_node("Flatten", [name], [f"flat{i}"])
        for i, name in enumerate(TRANSFORMER_INPUTS)
    ]
    nodes = [
        *flat,
        helper.make_node("Concat", ["flat0", "flat1", "flat2"], ["all"], axis=1),
        helper.make_node("Softmax", ["all"], ["shares"]),
        helper.make_node("Unsqueeze", ["shares", "axes"], ["Actions"]),
    ]
    file = save_nodes(
        folder / "transformer.onnx",
        nodes,
        TRANSFORMER_INPUTS,
        {"Actions": (1, 1, 54)},
        axes=np.array([1], np.int64),
    )
    return bpu_graph("transformer", file, TRANSFORMER_INPUTS, {"Actions": (1, 1, 54)})


def read_config(file: Path) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))
    return loaded
