# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model in an older opset; whether it is still the same function, its caller has to check."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

_AXES_BECAME_INPUT = {"Squeeze": "axes", "Unsqueeze": "axes", "ReduceSum": "axes", "Split": "split"}
_DEFAULT_AXIS_CHANGED = ("Softmax", "LogSoftmax", "Hardmax")


def converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert it with ONNX's own converter, which knows few ways back.

    Raises:
        RuntimeError: It knows none for this model.
    """
    return onnx.version_converter.convert_version(model, opset)


def relabelled(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Declare the older opset, with the attributes that were inputs later on.

    Most operators of policies have changed in nothing but the types that they take since opset 11.
    ONNX's checker refuses those that the older opset does not have.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for entry in found.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    constants = {tensor.name: tensor for tensor in found.graph.initializer}
    constants |= {node.output[0]: attribute.t for node in found.graph.node
                  if node.op_type == "Constant" for attribute in node.attribute
                  if attribute.name == "value"}  # fmt: skip
    for node in found.graph.node:
        _adapt(node, constants)
    return found


def _adapt(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
    given = {attribute.name for attribute in node.attribute}
    name = _AXES_BECAME_INPUT.get(node.op_type)
    if name is not None and len(node.input) == 2 and node.input[1] in constants:
        values = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
        node.attribute.append(helper.make_attribute(name, values))
        del node.input[1]
    if node.op_type in _DEFAULT_AXIS_CHANGED and "axis" not in given:
        node.attribute.append(helper.make_attribute("axis", -1))
