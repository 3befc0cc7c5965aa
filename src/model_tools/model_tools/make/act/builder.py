# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Builds an ONNX graph node by node from a checkpoint's tensors.

A value is an array if it is known at export; otherwise, it is the name of a tensor. Each network is
therefore written only once, and everything that depends only on constants (fixed tokens, position
embeddings) becomes an initializer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from model_tools.errors import ToolError
from policy_core.interfaces import F32, Tensor

Value = str | Tensor
Positions = npt.NDArray[np.int64]
PRODUCER = "model_tools"
LAYER_NORM_OPSET = 17
_IR_VERSIONS = {
    range(11): 6,
    range(11, 15): 7,
    range(15, 19): 8,
    range(19, 21): 9,
    range(21, 23): 10,
}
"""ONNX IR version by opset: old enough for runtimes from the time of the opset; for opset 11, the
newest that D-Robotics' tools accept."""
PREFIX = "model."
_UNUSED, _COUNTERS = ("vae_encoder",), "num_batches_tracked"
"""Name prefixes and suffix of tensors that only training needs."""


class GraphBuilder:
    """Collects the nodes and initializers of a graph."""

    def __init__(self, name: str, opset: int) -> None:
        self.name, self.opset = name, opset
        self._nodes = list[onnx.NodeProto]()
        self._constants = dict[str, Tensor]()
        self._by_id = dict[int, tuple[Tensor, str]]()
        self._inputs = dict[str, tuple[int, ...]]()
        self._counts = Counter[str]()

    def input(self, name: str, shape: Sequence[int]) -> str:
        """Declare a float32 input; return its name."""
        self._inputs[name] = tuple(shape)
        return name

    def op(self, kind: str, *values: Value, **attributes: Any) -> Value:
        """Add an operator and return its only output, computed now if all values are arrays."""
        if not any(isinstance(value, str) for value in values):
            return self._folded(kind, [np.asarray(value) for value in values], attributes)
        output = self._new(kind)
        names = [
            value if isinstance(value, str) else self._constant(kind, value) for value in values
        ]
        self._nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def model(
        self, outputs: Mapping[str, tuple[Value, Sequence[int]]], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Return the model with these outputs, each with its value and shape, by name."""
        for name, (value, _) in outputs.items():
            given = value if isinstance(value, str) else self._constant(name, value)
            self._nodes.append(helper.make_node("Identity", [given], [name], name=f"to_{name}"))
        self._without_last_identities(list(outputs))
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [_info(name, shape) for name, shape in self._inputs.items()],
            [_info(name, shape) for name, (_, shape) in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            producer_name=PRODUCER,
            ir_version=next(ir for opsets, ir in _IR_VERSIONS.items() if self.opset in opsets),
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _folded(self, kind: str, values: list[Tensor], attributes: Mapping[str, Any]) -> Tensor:
        names = [f"x{i}" for i in range(len(values))]
        node = helper.make_node(kind, names, ["y"], **attributes)
        graph = helper.make_graph(
            [node],
            kind,
            [],
            [helper.make_empty_tensor_value_info("y")],
            [
                numpy_helper.from_array(np.ascontiguousarray(value), name)
                for name, value in zip(names, values, strict=True)
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        (found,) = ReferenceEvaluator(model).run(None, {})
        return np.asarray(found)

    def _constant(self, kind: str, value: Tensor) -> str:
        """Return the name of an initializer; an array that is used twice is stored only once."""
        if id(value) not in self._by_id:
            name = self._new(f"{kind}_constant")
            self._constants[name] = np.ascontiguousarray(value)
            # Keep a reference to the array, so that its id stays unique.
            self._by_id[id(value)] = value, name
        return self._by_id[id(value)][1]

    def _new(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}_{self._counts[kind]}"

    def _without_last_identities(self, outputs: Sequence[str]) -> None:
        """Rename a node's output to the graph output, if no other node reads it."""
        for name in outputs:
            last = next(node for node in self._nodes if node.output[0] == name)
            source = next((node for node in self._nodes if node.output[0] == last.input[0]), None)
            readers = [node for node in self._nodes if last.input[0] in node.input]
            if source is not None and len(readers) == 1:
                source.output[0] = name
                self._nodes.remove(last)


def _info(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


class Weights:
    """A network's tensors, by name without the network's prefix; records which ones were used."""

    def __init__(self, file: Path, tensors: Mapping[str, Tensor], prefix: str = PREFIX) -> None:
        """Keep the tensors whose names begin with `prefix`; `file` is for messages."""
        self._file, self._prefix = file, prefix
        self._tensors = {
            name.removeprefix(prefix): array
            for name, array in tensors.items()
            if name.startswith(prefix)
        }
        self._taken = set[str]()

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return name in self._tensors

    def take(self, name: str, *shape: int) -> F32:
        place, found = f"{self._file}: {self._prefix}{name}", self._tensors.get(name)
        if found is None:
            raise ToolError(
                f"{place}: expected a tensor {list(shape)} (from config.json), found "
                "none; the two files do not belong together, or the file is incomplete"
            )
        if found.shape != shape:
            raise ToolError(
                f"{place}: expected {list(shape)} (from config.json), found "
                f"{list(found.shape)}; the two files do not belong together"
            )
        if not np.issubdtype(found.dtype, np.floating):
            raise ToolError(
                f"{place}: expected floating-point numbers, found {found.dtype}; a "
                "quantized file has a different format; export the one that training saved"
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(found, np.float32)
        if not np.isfinite(values).all():
            raise ToolError(
                f"{place}: expected finite values, found NaN or infinity; the training diverged, "
                "export an earlier checkpoint"
            )
        self._taken.add(name)
        return values

    def wrong(self, name: str, expected: str, found: str) -> ToolError:
        """Return the error for a tensor that does not hold `expected`."""
        return ToolError(
            f"{self._file}: {self._prefix}{name}: expected {expected}, found {found}; the "
            "file is damaged, or the training diverged"
        )

    def require_all_taken(self) -> None:
        """Raise unless the network used every tensor."""
        left = [
            self._prefix + name
            for name in sorted(self._tensors)
            if name not in self._taken
            and not name.startswith(_UNUSED)
            and not name.endswith(_COUNTERS)
        ]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise ToolError(
                f"{self._file}: expected only the tensors of the network in config.json, found "
                f"{', '.join(left[:3])}{more} as well; the two files do not belong together"
            )


def linear(
    graph: GraphBuilder,
    weights: Weights,
    x: Value,
    name: str,
    given: int,
    size: int,
    *,
    bias: bool = True,
) -> Value:
    """Return the output [..., size] of a linear layer for x [..., given]."""
    weight = np.ascontiguousarray(weights.take(f"{name}.weight", size, given).T)
    made = graph.op("MatMul", x, weight)
    return graph.op("Add", made, weights.take(f"{name}.bias", size)) if bias else made


def number(value: float) -> F32:
    """Return a number in the form that operators accept."""
    return np.array(value, np.float32)


def shape(*sizes: int) -> Positions:
    """Return sizes or indices in the form that operators accept."""
    return np.array(sizes, np.int64)
