# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is computed around a policy's network inside the graph: normaliser, scale, offset."""

from __future__ import annotations

from typing import Any

from model_tools.onnx_model import OnnxModel

_AFFINE = ("Sub", "Div", "Mul", "Add")
_PASSING = ("Identity", "Cast", "Reshape", "Clip", "Squeeze", "Unsqueeze", "Flatten")


def baked_normaliser(model: OnnxModel) -> str:
    """Name the nodes that shift and scale an input before the network; empty if there are none.

    A subtraction or a division by constants, one for each value, is what normalisers do.
    """
    constants = _constants(model)
    for name in model.inputs:
        chain = _chain(model.proto.graph.node, name, constants)
        if {"Sub", "Div"} & set(chain) or {"Mul", "Add"} <= set(chain):
            return f"{' and '.join(chain)} right after the input {name}"
    return ""


def baked_action(model: OnnxModel) -> str:
    """Name the nodes that scale and shift an output after the network; empty if there are none."""
    producers = {out: node for node in model.proto.graph.node for out in node.output}
    constants = _constants(model)
    for name in model.outputs:
        chain, bias = list[str](), name
        while (node := producers.get(bias)) is not None and node.op_type in (*_AFFINE, *_PASSING):
            sources = [source for source in node.input if source not in constants]
            if len(sources) != 1:
                break
            chain += [node.op_type] if node.op_type in _AFFINE else []
            bias = sources[0]
        before = producers.get(bias)
        # The bias of a layer that is exported as MatMul and Add is no offset of the action.
        plain = before is not None and before.op_type == "MatMul" and chain == ["Add"]
        if chain and before is not None and not plain:
            return f"{' and '.join(reversed(chain))} right before the output {name}"
    return ""


def _chain(nodes: Any, name: str, constants: set[str]) -> list[str]:
    """Return the affine operators that follow a tensor until something else comes."""
    chain = list[str]()
    while True:
        users = [node for node in nodes if name in node.input]
        if len(users) != 1 or users[0].op_type not in (*_AFFINE, *_PASSING):
            return chain
        if users[0].op_type in _AFFINE:
            if not constants & set(users[0].input):
                return chain
            chain.append(users[0].op_type)
        name = users[0].output[0]


def _constants(model: OnnxModel) -> set[str]:
    graph = model.proto.graph
    computed = {node.output[0] for node in graph.node if node.op_type == "Constant"}
    return {tensor.name for tensor in graph.initializer} | computed
