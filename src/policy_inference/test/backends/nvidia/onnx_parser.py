# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT's ONNX parser and the network that it fills, as far as a build looks at them.

What it refuses is what onnx-tensorrt refuses (branches 8.5-GA, 8.6-GA, 10.1-GA).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # carries no types
from onnx import TensorProto, numpy_helper

from .flavours import Flavour
from .gpu import Gpu

DTYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
}
PLUGIN_OPERATORS = {"InstanceNormalization"}


class Dims:
    """Sizes of a tensor: a sequence, which is no tuple and equal to none."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = tuple(sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sizes)

    def __getitem__(self, place: int) -> int:
        return self._sizes[place]


@dataclass
class Network:
    flavour: Flavour
    gpu: Gpu
    explicit_batch: bool
    typed: bool
    model: onnx.ModelProto = field(default_factory=onnx.ModelProto)

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, place: int) -> Any:
        value = self.model.graph.input[place]
        axes = value.type.tensor_type.shape.dim
        shape = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes]
        return SimpleNamespace(name=value.name, shape=Dims(shape))

    @property
    def num_layers(self) -> int:
        return len(self.model.graph.node)

    def get_layer(self, place: int) -> Any:
        node, types = self.model.graph.node[place], self._types()
        outputs = [SimpleNamespace(dtype=types.get(name)) for name in node.output]
        return SimpleNamespace(
            type=node.op_type, num_outputs=len(outputs), get_output=outputs.__getitem__
        )

    def _types(self) -> dict[str, str | None]:
        graph = onnx.shape_inference.infer_shapes(self.model).graph
        return {
            value.name: DTYPES.get(value.type.tensor_type.elem_type)
            for value in (*graph.value_info, *graph.input, *graph.output)
        }

    def dtypes(self) -> set[str | None]:
        return set(self._types().values())

    def quantised(self) -> bool:
        return any(node.op_type == "QuantizeLinear" for node in self.model.graph.node)

    def open_inputs(self) -> set[str]:
        inputs = [self.get_input(place) for place in range(self.num_inputs)]
        return {tensor.name for tensor in inputs if -1 in tensor.shape}


class OnnxParser:
    """Fills a network, or says what it does not understand."""

    def __init__(self, flavour: Flavour, _: Any, network: Network, logger: Any) -> None:
        self._flavour, self._network = flavour, network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, place: int) -> Any:
        return SimpleNamespace(desc=lambda: self._errors[place])

    def parse(self, content: bytes) -> bool:
        """Parse a model; weights in other files are not found."""
        try:
            model = onnx.load_model_from_string(content)
            onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except DecodeError:
            self._errors.append("Failed to parse the ONNX model.")
        except Exception as error:  # noqa: BLE001  the runtime's exceptions share no other base
            self._errors.append(f"In node 0 (parseGraph): INVALID_GRAPH: {error}")
        else:
            self._errors.extend(filter(None, map(self._objection(model), model.graph.node)))
            if self._flavour.explicit_batch and not self._network.explicit_batch:
                self._errors.append(
                    "In node -1 (importModel): INVALID_VALUE: Assertion failed: "
                    "!ctx.network()->hasImplicitBatchDimension()"
                )
            self._network.model = model
        return not self._errors

    def _objection(self, model: onnx.ModelProto) -> Any:
        constants = {tensor.name: tensor for tensor in model.graph.initializer}

        def of(node: onnx.NodeProto) -> str | None:
            if node.op_type in PLUGIN_OPERATORS and not self._network.gpu.plugins:
                return (
                    f"{node.name}: Assertion failed: plugin != nullptr: {node.op_type} plugin "
                    "was not found in the plugin registry!"
                )
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                return None
            data, scale, *shift = (constants.get(name) for name in node.input)
            if not self._flavour.since_10 and not shift:
                return f"{node.name}: This version of TensorRT requires 3 inputs"
            if any(tensor is not None and numpy_helper.to_array(tensor).any() for tensor in shift):
                return f"{node.name}: TensorRT only supports symmetric quantization."
            if scale is not None and (numpy_helper.to_array(scale) <= 0).any():
                return f"{node.name}: Scale coefficients must all be positive"
            if data is not None and data.data_type == TensorProto.INT32:
                return f"{node.name}: only activation types allowed as input to this layer."
            if (
                data is not None
                and data.data_type == TensorProto.INT8
                and not self._flavour.since_10
            ):
                return f"{data.name}: invalid weights type of Int8"
            return None

        return of
