# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX models whose tensors are named and shaped as a test wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Axes = Sequence[int | str]


def save_policy(
    file: Path,
    width: int,
    joints: int,
    *,
    batch: int | str = 1,
    metadata: Mapping[str, str] | None = None,
    extra_inputs: Mapping[str, Axes] | None = None,
    extra_outputs: Mapping[str, Sequence[int]] | None = None,
    weight: float = 0.5,
) -> Path:
    """Save ``actions = obs @ w``; further inputs are unused, further outputs are zeros."""
    constants = [numpy_helper.from_array(np.full((width, joints), weight, np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    for name, shape in (extra_outputs or {}).items():
        constants.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"{name}_zeros"))
        nodes.append(helper.make_node("Identity", [f"{name}_zeros"], [name]))
    return save(
        file,
        nodes,
        {"obs": (batch, width), **(extra_inputs or {})},
        {"actions": (batch, joints), **(extra_outputs or {})},
        constants,
        metadata,
    )


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    constants: Sequence[onnx.TensorProto] = (),
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Save a graph of float32 tensors."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [_info(name, shape) for name, shape in inputs.items()],
        [_info(name, shape) for name, shape in outputs.items()],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(file))
    return file


def _info(name: str, shape: Axes) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
