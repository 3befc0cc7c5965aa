# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX models whose outputs are easy to compute by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from policy_core.interfaces import F32

Axes = Sequence[int | str]


def weights(inputs: int, outputs: int) -> F32:
    """Return a matrix [inputs, outputs] in which no two rows or columns are equal."""
    return np.linspace(-1.0, 0.5, inputs * outputs, dtype=np.float32).reshape(inputs, outputs)


def save_linear(file: Path, inputs: int, outputs: int, batch: int | str = 1) -> Path:
    """Save ``actions = obs @ weights``."""
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["actions"])]
    return save(
        file,
        nodes,
        {"obs": (batch, inputs)},
        {"actions": (batch, outputs)},
        constants={"w": weights(inputs, outputs)},
    )


def save_quantised(file: Path, inputs: int, outputs: int, scale: float = 0.02) -> Path:
    """Save ``actions = q(obs) @ weights`` where q rounds to 255 multiples of `scale`."""
    nodes = [
        helper.make_node("QuantizeLinear", ["obs", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["rounded"]),
        helper.make_node("MatMul", ["rounded", "w"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        {"obs": (1, inputs)},
        {"actions": (1, outputs)},
        constants={"w": weights(inputs, outputs), "scale": np.float32(scale), "zero": np.int8(0)},
    )


def save_recurrent(file: Path, inputs: int, outputs: int) -> Path:
    """Save ``actions = obs @ weights + h_in`` with ``h_out = actions``."""
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["product"]),
        helper.make_node("Add", ["product", "h_in"], ["actions"]),
        helper.make_node("Identity", ["actions"], ["h_out"]),
    ]
    return save(
        file,
        nodes,
        {"obs": (1, inputs), "h_in": (1, outputs)},
        {"actions": (1, outputs), "h_out": (1, outputs)},
        constants={"w": weights(inputs, outputs)},
    )


def save_endless(file: Path, inputs: int, outputs: int) -> Path:
    """Save ``actions = obs @ weights``, computed in a loop without an end while obs[0] > 0.05."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_out"]),
            helper.make_node("Identity", ["result"], ["result_out"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("goes_on", TensorProto.BOOL, []),
            value("result", TensorProto.FLOAT, [1, outputs]),
        ],
        [
            value("goes_on_out", TensorProto.BOOL, []),
            value("result_out", TensorProto.FLOAT, [1, outputs]),
        ],
    )
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["product"]),
        helper.make_node("Gather", ["obs", "first"], ["column"], axis=1),
        helper.make_node("Squeeze", ["column"], ["number"]),
        helper.make_node("Greater", ["number", "limit"], ["begins"]),
        helper.make_node("Loop", ["", "begins", "product"], ["actions"], body=body),
    ]
    return save(
        file,
        nodes,
        {"obs": (1, inputs)},
        {"actions": (1, outputs)},
        constants={
            "w": weights(inputs, outputs),
            "first": np.array([0], np.int64),
            "limit": np.float32(0.05),
        },
    )


def add_branch(file: Path) -> None:
    """Add an If, whose result is unused, to a saved model."""
    model = onnx.load(str(file))
    made = helper.make_tensor_value_info("branch", TensorProto.FLOAT, [])
    constant = helper.make_node("Constant", [], ["branch"], value_float=1.0)
    bodies = [helper.make_graph([constant], name, [], [made]) for name in ("then", "else")]
    model.graph.node.extend(
        [
            helper.make_node(
                "Constant", [], ["always"], value=numpy_helper.from_array(np.array(True))
            ),
            helper.make_node(
                "If", ["always"], ["unused"], then_branch=bodies[0], else_branch=bodies[1]
            ),
        ]
    )
    onnx.save(model, str(file))


def save_sum(file: Path, inputs: Mapping[str, str], size: int) -> Path:
    """Save ``actions`` = sum of inputs [1, size] of the given numpy dtypes, as float32."""
    nodes = [
        helper.make_node("Cast", [name], [f"{name}_cast"], to=TensorProto.FLOAT) for name in inputs
    ]
    nodes.append(helper.make_node("Sum", [f"{name}_cast" for name in inputs], ["actions"]))
    return save(
        file, nodes, dict.fromkeys(inputs, (1, size)), {"actions": (1, size)}, dtypes=inputs
    )


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    constants: Mapping[str, npt.ArrayLike] | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> Path:
    """Save a graph; tensors are float32 unless `dtypes` names another type."""

    def value(name: str, shape: Axes) -> onnx.ValueInfoProto:
        dtype = np.dtype((dtypes or {}).get(name, "float32"))
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)

    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, shape) for name, shape in inputs.items()],
        [value(name, shape) for name, shape in outputs.items()],
        [
            numpy_helper.from_array(np.asarray(array), name)
            for name, array in (constants or {}).items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(file))
    return file
