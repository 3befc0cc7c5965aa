# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Normalizer, scale and offset that a graph computes around the policy network.

A graph shows multiplications and additions, but not their purpose: a Mul after a Tanh may be the
action scale from training, or a bound to which training then applied its own scale. Scale and
offset are judged separately.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from model_tools.files.onnx_model import OnnxModel, is_beside
from policy_core.interfaces import F64

_AFFINE = ("Sub", "Div", "Mul", "Add")
_PASSING = ("Identity", "Cast", "Reshape", "Clip", "Squeeze", "Unsqueeze", "Flatten")
_KEEPING = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""Operators that preserve the values of a constant."""
_SAME, _SAME_NEAR_0 = 1e-2, 1e-3
"""Relative and absolute tolerance; training files may state only three digits."""
_UNKNOWN: F64 = np.full(1, np.nan)
_Step = tuple[Any, int, F64]
"""A node, and the index and value of its constant input."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BakedAction:
    """Scale and offset that a graph applies after the network: output = scale x result + offset.

    Attributes:
        output: Name of the model output.
        nodes: The nodes that scale and shift, by operator and name; may be empty.
        network: The network's last node, just before `nodes`.
        scale, offset: Arrays [values], or [1] for all values; NaN for unreadable constants.
    """

    output: str
    nodes: str
    network: str
    scale: F64
    offset: F64

    @property
    def where(self) -> str:
        """Description of the nodes and their place: after the network, just before the output."""
        return f"{self.nodes} right before the output {self.output}, after {self.network}"

    @property
    def is_known(self) -> bool:
        """True if all constants could be read."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.offset).all())

    @property
    def is_scaled(self) -> bool:
        """True if the graph multiplies by a factor other than 1."""
        return not np.all(self.scale == 1.0)

    @property
    def is_shifted(self) -> bool:
        """True if the graph adds an offset other than 0."""
        return not np.all(self.offset == 0.0)

    @property
    def read(self) -> str:
        """Description of the nodes and the effect of their constants."""
        if not self.is_known:
            return f"{self.where} (constants that cannot be read here)"
        return f"{self.where} (multiplied by {span(self.scale)}, {span(self.offset)} added)"

    @property
    def advice(self) -> str:
        """Description of the nodes, and what they imply for a contract."""
        outside = (
            "the contract's scale and offset must match what the training applies outside the "
            "model (1 and 0 if nothing)"
        )
        return "; ".join(filter(None, [self.read, outside, self.feedback_advice]))

    @property
    def feedback_advice(self) -> str:
        """What the baked-in scale and offset imply for the `last_action` term; empty if nothing."""
        if not self.is_scaled and not self.is_shifted:
            return ""
        undone = " and no term undoes the offset" if self.is_shifted else ""
        return (
            "the term last_action is the model's output: if the training feeds back the value "
            f"before these nodes, the term's scale must undo that of the nodes{undone}"
        )


def is_same(found: F64, stated: F64 | None) -> bool:
    """Return whether values equal the stated values, which may have fewer digits."""
    if stated is None or len({len(found), len(stated), 1}) > 2:
        return False
    return bool(np.allclose(found, stated, rtol=_SAME, atol=_SAME_NEAR_0))


def span(values: F64) -> str:
    low, high = f"{values.min() + 0.0:.4g}", f"{values.max() + 0.0:.4g}"
    return low if low == high else f"{low} to {high}"


def baked_normaliser(model: OnnxModel) -> str:
    """Name the nodes that shift and scale an input before the network; "" if there are none.

    Normalizers subtract or divide by constants, one per value.
    """
    constants = _constants(model)
    for name in model.inputs:
        chain = _chain(model.proto.graph.node, name, constants)
        if {"Sub", "Div"} & set(chain) or {"Mul", "Add"} <= set(chain):
            return f"{' and '.join(chain)} right after the input {name}"
    return ""


def baked_actions(model: OnnxModel) -> Iterator[BakedAction]:
    """Yield the scale and offset of each computed output."""
    producers = {out: node for node in model.proto.graph.node for out in node.output}
    constants = _constants(model)
    for output in model.outputs:
        name, affine = output, list[_Step]()
        while (node := producers.get(name)) is not None and node.op_type in (*_AFFINE, *_PASSING):
            sources = [source for source in node.input if source and source not in constants]
            if len(sources) != 1:
                break
            if node.op_type in _AFFINE:
                place = 0 if node.input[1] == sources[0] else 1
                affine.insert(0, (node, place, _values(model, constants[node.input[place]])))
            name = sources[0]
        if node is not None:
            yield _composed(output, node, affine)


def _composed(output: str, network: Any, affine: list[_Step]) -> BakedAction:
    # The bias of a layer exported as MatMul and Add is not an offset of the action.
    if network.op_type == "MatMul" and affine and affine[0][0].op_type == "Add":
        del affine[0]
    scale, offset = np.ones(1), np.zeros(1)
    try:
        for node, place, value in affine:
            scale, offset = _applied(node.op_type, place, value, scale, offset)
    except ValueError:  # shapes that do not give one value per output
        scale, offset = _UNKNOWN, _UNKNOWN
    return BakedAction(
        output=output,
        scale=scale,
        offset=offset,
        network=_named(network),
        nodes=" and ".join(_named(node) for node, _, _ in affine),
    )


def _applied(operator: str, place: int, value: F64, scale: F64, offset: F64) -> tuple[F64, F64]:
    """Return scale and offset after an operator with a constant at this input index."""
    if operator == "Add":
        return scale, offset + value
    if operator == "Sub":
        return (scale, offset - value) if place == 1 else (-scale, value - offset)
    if operator == "Div" and place == 0:  # constant / result is not a scale
        return _UNKNOWN, _UNKNOWN
    with np.errstate(divide="ignore"):
        factor = value if operator == "Mul" else 1.0 / value
    return scale * factor, offset * factor


def _named(node: Any) -> str:
    return f"{node.op_type} {node.name}".strip()


def _chain(nodes: Any, name: str, constants: Container[str]) -> list[str]:
    """Return the chain of affine operators that directly follows a tensor."""
    chain = list[str]()
    while True:
        users = [node for node in nodes if name in node.input]
        if len(users) != 1 or users[0].op_type not in (*_AFFINE, *_PASSING):
            return chain
        if users[0].op_type in _AFFINE:
            if not any(name in constants for name in users[0].input):
                return chain
            chain.append(users[0].op_type)
        name = users[0].output[0]


def _constants(model: OnnxModel) -> dict[str, onnx.TensorProto | None]:
    """Return the constants by name; None for constants computed from other constants."""
    graph = model.proto.graph
    constants: dict[str, onnx.TensorProto | None] = {t.name: t for t in graph.initializer}
    for node in graph.node:  # in order of computation
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant":
            constants[node.output[0]] = _stated(node)
        elif inputs and all(name in constants for name in inputs):
            kept = node.op_type in _KEEPING
            constants[node.output[0]] = constants[inputs[0]] if kept else None
    return constants


def _stated(node: Any) -> onnx.TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor: onnx.TensorProto = attribute.t
            return tensor
        if attribute.name in ("value_float", "value_floats"):
            value = onnx.helper.get_attribute_value(attribute)
            return numpy_helper.from_array(np.atleast_1d(np.asarray(value, np.float32)))
    return None


def _values(model: OnnxModel, tensor: onnx.TensorProto | None) -> F64:
    """Return the values of a constant, flattened; NaN if unreadable."""
    if tensor is None or not _is_here(model, tensor):
        return _UNKNOWN
    try:
        values = numpy_helper.to_array(tensor, base_dir=str(model.path.parent))
        return np.asarray(values, np.float64).reshape(-1)
    except (
        KeyError,
        TypeError,
        ValueError,
        onnx.checker.ValidationError,
    ):  # damaged, or no number
        return _UNKNOWN


def _is_here(model: OnnxModel, tensor: onnx.TensorProto) -> bool:
    if not uses_external_data(tensor):
        return True
    return any(
        is_beside(model.path, entry.value) and (model.path.parent / entry.value).is_file()
        for entry in tensor.external_data
        if entry.key == "location"
    )
