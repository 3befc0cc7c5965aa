# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `onnx` compiler: int8 with Q/DQ nodes, or fp16 with inputs and outputs in float32."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.ship.compilers.compiler import MORE_SAMPLES, CompileOrder, Made
from policy_core.interfaces import Tensor
from policy_inference.backends.onnx import OnnxBackend

_FIRST_OPSET_PER_CHANNEL = 13


class OnnxCompiler:
    """Makes models for the `onnx` back end; vendors' compilers also read the Q/DQ models."""

    backend, suffix = "onnx", ".onnx"
    precisions: Mapping[str, bool] = {"fp16": False, "int8": True}
    targets: tuple[str, ...] = ()
    options: Mapping[str, str] = {}
    remedies: Mapping[str, str] = {"int8": f"{MORE_SAMPLES}; or compile fp16"}

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output` and load it."""
        with refusals_named(order):
            how = (
                write_fp16(order.model, order.output)
                if order.samples is None
                else quantise(order.model, order.output, order.samples)
            )
        OnnxBackend(order.output, order.inputs, order.outputs).close()
        return Made(
            tool=f"onnxruntime {onnxruntime.__version__}",
            how=how,
            integers=read_onnx(order.output).integers,
        )


@contextmanager
def refusals_named(order: CompileOrder) -> Iterator[None]:
    """Convert ONNX Runtime's errors to a ToolError that names the model and the precision."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # the runtime's exceptions share no other base
        raise ToolError(
            f"{order.model}: expected a model that ONNX Runtime "
            f"{onnxruntime.__version__} can convert to {order.precision}, found: "
            f"{error}"
        ) from error


def quantise(
    model: Path, output: Path, samples: Mapping[str, Tensor], *, signed: bool = False
) -> str:
    """Write an int8 model: Q/DQ, symmetric, weights per channel, activation ranges min-max.

    Its integers are unsigned. With signed weights, x86 processors with AVX2 but no VNNI add pairs
    of products in saturating 16-bit arithmetic (`vpmaddubsw`), which can lose up to half of a sum.
    With unsigned weights, ONNX Runtime accumulates in 32 bits on every processor. All values are
    rounded as signed and then shifted, because ONNX Runtime's own unsigned quantization clips the
    largest weight of a channel. Asymmetric ranges round better, but clip more values that
    calibration has not seen.

    Args:
        model: The reference model.
        output: The file to write.
        samples: Calibration rows by model input, [rows, *shape without the batch axis].
        signed: Write an equivalent model for TensorRT: signed integers, weights in float32 before
            Q/DQ pairs of their own, biases in float32.

    Returns:
        The method, in one sentence.
    """
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch, "prepared.onnx")
        quant_pre_process(
            _with_channels(model), str(prepared), skip_optimization=True, skip_symbolic_shape=True
        )
        with _vectors_without_channels():
            quantization.quantize_static(
                str(prepared),
                str(output),
                _Samples(samples),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_constant_first(prepared),
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "AddQDQPairToWeight": signed,
                    "QuantizeBias": not signed,
                },
            )
    made = onnx.load(output)
    if not signed:
        _shift_to_unsigned(made.graph)
        onnx.save(made, output)
    rows, left = len(next(iter(samples.values()))), _not_quantised(made)
    but = f" ({', '.join(left)} in float32)" if left else ""
    kind = "signed" if signed else "unsigned"
    return (
        f"Q/DQ, {kind}, symmetric, weights per channel{but}, activations min-max over {rows} rows"
    )


def _shift_to_unsigned(graph: onnx.GraphProto) -> None:
    """Add 128 to signed constants of Q/DQ nodes: weights and zero points."""
    used = {
        name
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input
    }
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.name in used:
            values = onnx.numpy_helper.to_array(tensor).astype(np.int16) + 128
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.uint8), tensor.name))


def _constant_first(prepared: Path) -> list[str]:
    """Return the matrix products whose first factor is constant, e.g. of a decoder's queries.

    ONNX Runtime supports a scale per channel for the second factor only.
    """
    graph = onnx.load(prepared).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node.name for node in graph.node if node.op_type == "MatMul" and node.input[0] in constants
    ]


@contextmanager
def _vectors_without_channels() -> Iterator[None]:
    """Suppress ONNX Runtime's warnings about each LayerNormalization.

    Its scale is a vector without a channel axis, so a single quantization step is right.
    """

    def others(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return not (
            said.startswith("Axis ")
            and " is out-of-range for weight " in said
            and said.endswith(" with rank 1")
        )

    root = logging.getLogger()
    root.addFilter(others)
    try:
        yield
    finally:
        root.removeFilter(others)


def _not_quantised(model: onnx.ModelProto) -> list[str]:
    """Return the operators with float32 weights, which have no quantized form."""
    weights = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    }
    return sorted(
        {
            node.op_type
            for node in model.graph.node
            if weights & set(node.input) and node.op_type != "QuantizeLinear"
        }
    )


def write_fp16(model: Path, output: Path) -> str:
    """Write a model with weights and activations in float16; return the method."""
    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), output)
    return "weights and activations float16, inputs and outputs float32"


def _with_channels(file: Path) -> onnx.ModelProto:
    """Load a model, name its nodes, and convert it to an opset with Q/DQ scales per channel."""
    model = onnx.load(file)
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}.{place}"
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= _FIRST_OPSET_PER_CHANNEL:
        return model
    return onnx.version_converter.convert_version(model, _FIRST_OPSET_PER_CHANNEL)


class _Samples(quantization.CalibrationDataReader):  # type: ignore[misc]  # carries no types
    def __init__(self, samples: Mapping[str, Tensor]) -> None:
        count = len(next(iter(samples.values())))
        self._rows: Iterator[dict[str, Tensor]] = (
            {name: array[np.newaxis, row] for name, array in samples.items()}
            for row in range(count)
        )

    def get_next(self) -> dict[str, Tensor] | None:
        """Return the next row, or None after the last."""
        return next(self._rows, None)
