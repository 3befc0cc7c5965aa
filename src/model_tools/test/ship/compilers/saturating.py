# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The int8 arithmetic of x86 processors with AVX2 and without VNNI, imitated in numpy.

There ONNX Runtime multiplies unsigned activations by signed weights with `vpmaddubsw`, which adds
the products of two neighbours in 16 bits and saturates; signed activations are made unsigned
before. Products of unsigned weights are added in 32 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from policy_core.interfaces import F32

_LEAST, _LARGEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max
Values = dict[str, npt.NDArray[Any]]


def saturating_outputs(model: onnx.ModelProto, obs: F32) -> F32:
    """Compute the first output of a Q/DQ model with Gemm nodes as such a processor does.

    Args:
        model: Its one input is `obs`.
        obs: A batch of one.
    """
    values: Values = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    values["obs"] = obs
    producers = {node.output[0]: node for node in model.graph.node}
    found: Any
    for node in model.graph.node:
        inputs = {name: values[name] for name in node.input if name}
        if node.op_type == "Gemm":
            left, right = (producers[name] for name in node.input[:2])
            found = _product(values, left, right) + inputs[node.input[2]]
        else:
            given: Any = ReferenceEvaluator(node, opsets={"": 17}).run(None, inputs)
            (found,) = given
        values[node.output[0]] = np.asarray(found)
    return np.asarray(values[model.graph.output[0].name], np.float32)


def _product(values: Values, left: onnx.NodeProto, right: onnx.NodeProto) -> F32:
    """Multiply what two DequantizeLinear nodes give: [1, k] by [k, n]."""
    (factor, scale, zero), (weights, scales, zeros) = (
        [
            values[name].astype(np.float32 if at == 1 else np.int32)
            for at, name in enumerate(node.input)
        ]
        for node in (left, right)
    )
    if values[left.input[0]].dtype == np.int8:
        factor, zero = factor + 128, zero + 128
    products = factor.reshape(-1, 1) * weights
    if values[right.input[0]].dtype == np.int8:
        products = np.concatenate([products, np.zeros((len(products) % 2, products.shape[1]), int)])
        products = np.clip(products[::2] + products[1::2], _LEAST, _LARGEST)
    corrections = zero * weights.sum(axis=0) + zeros * factor.sum() - zero * zeros * factor.size
    return np.asarray((products.sum(axis=0) - corrections) * scale * scales, np.float32)[np.newaxis]
