# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Control-flow operators in ONNX models: a loop whose turns depend on an input may never end."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
from onnx import numpy_helper

from model_tools.errors import ToolError
from model_tools.files.onnx_model import OnnxModel

MOST_TURNS = 10_000
"""Largest number of turns of a loop, times those of the loops around it."""
_OPERATORS = ("If", "Loop", "Scan", "SequenceMap")
_Constants = ChainMap[str, Any]
"""Constant tensors by name; those of outer graphs are visible in inner ones."""


def count_control_flow(model: OnnxModel) -> Mapping[str, int]:
    """Return how often the model has each control-flow operator, in all its graphs."""
    graphs = [model.proto.graph, *model.proto.functions]
    nodes = (node for graph in graphs for node in _walk(graph))
    counts = Counter(node.op_type for node in nodes if _has_control_flow(node))
    return {name: counts[name] for name in sorted(counts)}


def require_bounded_turns(model: OnnxModel) -> None:
    """Raise ToolError if a loop's largest number of turns is unknown or above `MOST_TURNS`."""
    if not count_control_flow(model):
        return
    try:
        inferred = onnx.shape_inference.infer_shapes(model.proto)
    except onnx.shape_inference.InferenceError:
        inferred = model.proto
    for problem in _Turns(inferred.functions).find_problems(inferred.graph, ChainMap(), 1):
        raise ToolError(
            f"{model.path}: {problem}; export the model without this loop, or with a constant "
            "number of turns: a loop that depends on an input may never end"
        )


class _Turns:
    """Finds the turns of a model's loops, also in the functions that it calls."""

    def __init__(self, functions: Iterable[Any]) -> None:
        self._functions = {(each.domain, each.name): each for each in functions}
        self._judged = dict[tuple[str, str], int]()
        """Largest number of turns around a call of each function so far: a model may call one many
        times, or itself.
        """

    def find_problems(self, graph: Any, outer: _Constants, outer_turns: int) -> Iterator[str]:
        constants = outer.new_child({tensor.name: tensor for tensor in _initializers(graph)})
        lengths = _find_lengths(graph)
        for node in graph.node:
            if node.op_type == "Constant":
                constants[node.output[0]] = _attribute(node, "value") or node
            elif node.op_type == "Identity" and node.input[0] in constants:
                constants[node.output[0]] = constants[node.input[0]]
            turns: int | None = 1
            if node.op_type == "Loop":
                turns = _read_integer(constants.get(node.input[0]))
            elif node.op_type == "Scan":
                turns = _find_scan_length(node, lengths)
            elif node.op_type != "If" and _has_control_flow(node):
                turns = None
            name = f"{node.op_type} {node.name}".strip()
            if turns is None:
                yield (
                    f"{name}: expected a constant number of turns, found one that depends on an "
                    "input"
                )
            elif turns * outer_turns > MOST_TURNS:
                yield f"{name}: expected at most {MOST_TURNS} turns, found {turns * outer_turns}"
            else:
                for body in _bodies(node):
                    yield from self.find_problems(body, constants, max(1, turns) * outer_turns)
            yield from self._find_in_called(node, outer_turns)

    def _find_in_called(self, node: Any, outer_turns: int) -> Iterator[str]:
        key = node.domain, node.op_type
        if key in self._functions and outer_turns > self._judged.get(key, 0):
            self._judged[key] = outer_turns
            yield from self.find_problems(self._functions[key], ChainMap(), outer_turns)


def _find_scan_length(node: Any, lengths: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the number of turns of a Scan: the length of its scanned inputs; None if unknown."""
    count = next(each.i for each in node.attribute if each.name == "num_scan_inputs")
    axes = next((each.ints for each in node.attribute if each.name == "scan_input_axes"), ())
    found = set[int]()
    for place, name in enumerate(node.input[len(node.input) - count :]):
        shape, axis = lengths.get(name, ()), axes[place] if axes else 0
        found.add(shape[axis] if -len(shape) <= axis < len(shape) else 0)
    return None if 0 in found else max(found, default=None)


def _find_lengths(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a graph's tensors, with 0 for axes whose length is unknown."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in _initializers(graph)}
    for info in (*getattr(graph, "value_info", ()), *(getattr(graph, "input", ()))):
        if hasattr(info, "type"):  # the inputs of a function are only names
            axes = info.type.tensor_type.shape.dim
            shapes[info.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def _initializers(graph: Any) -> Any:
    return getattr(graph, "initializer", ())


def _attribute(node: Any, name: str) -> Any:
    return next((each.t for each in node.attribute if each.name == name), None)


def _read_integer(constant: Any) -> int | None:
    """Return the value of a constant tensor, or of a Constant node with an integer attribute."""
    if constant is None:
        return None
    if isinstance(constant, onnx.NodeProto):
        return next((each.i for each in constant.attribute if each.name == "value_int"), None)
    values = numpy_helper.to_array(constant)
    return int(values.item()) if values.size == 1 else None


def _has_control_flow(node: Any) -> bool:
    """Return whether a node branches or loops: it has graphs, as in ONNX Runtime's BeamSearch."""
    return node.op_type in _OPERATORS or any(True for _ in _bodies(node))


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _walk(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from _walk(body)
