# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert an ONNX model to a form that the toolkit accepts; runs in the toolkit's Python or ours.

Toolkit 2.5.0 accepts opsets up to 19, fixed sizes, standard ONNX operators, recurrent layers whose
outputs all have names, and one output per value: if two outputs have the same value, the toolkit
silently drops one. It folds a per-element factor before a Gemm into the weights, assuming that the
weights are stored output by output (`transB=1`); otherwise it fails or, with square weights,
silently computes wrong results. A LayerNormalization must specify its epsilon.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_core.onnx_file import LARGEST_BYTES, require_whole
from policy_core.safe_files import read_at_most

NEWEST_OPSET, _IR_VERSION = 19, 10
_DOMAINS = ("", "ai.onnx")
_RECURRENT = ("GRU", "LSTM", "RNN")


def read_tensors(file: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return an ONNX model's inputs and outputs; -1 for a dynamic axis.

    Raises:
        BackendError: The file is not an ONNX model.
    """
    model = _load(file)
    constants = {tensor.name for tensor in model.graph.initializer}
    return (
        [_spec(value) for value in model.graph.input if value.name not in constants],
        [_spec(value) for value in model.graph.output],
    )


def prepare(source: Path, target: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write the model in the form that the toolkit accepts.

    Args:
        source: ONNX model.
        target: The file to write.
        shapes: Shapes of all inputs and outputs, every axis fixed.

    Raises:
        BackendError: The model cannot be converted; the message says what to change.
    """
    import onnx

    model = _load(source)
    _require_known_operators(source, model)
    model = _with_opset(source, model)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    del model.graph.value_info[:]  # they still have the dynamic batch axis
    for value in (*model.graph.input, *model.graph.output):
        if value.name in shapes:
            _fix(source, value, shapes[value.name])
    _name_outputs(model.graph)
    _separate_outputs(model.graph)
    _transpose_weights(model.graph)
    _state_epsilon(model.graph)
    onnx.save(model, str(target))


def _load(file: Path) -> Any:
    import onnx

    try:
        content = read_at_most(file, LARGEST_BYTES)
        require_whole(file, content)
        model = onnx.load_model_from_string(content)
    except BackendError:
        raise
    except Exception as error:  # protobuf's; not imported just to name it
        raise BackendError(
            f"{file}: expected an ONNX model, found: {error}; copy or export it again"
        ) from error
    if not model.graph.output:
        raise BackendError(
            f"{file}: expected an ONNX model, found a file without outputs; copy or export it again"
        )
    return model


def _spec(value: Any) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return TensorSpec(name=value.name, shape=shape, dtype=dtype)


def _require_known_operators(source: Path, model: Any) -> None:
    foreign = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in model.graph.node
            if node.domain not in _DOMAINS
        }
    )
    if foreign:
        raise BackendError(
            f"{source}: expected only ONNX operators, found "
            f"{', '.join(foreign)}, which the toolkit does not know; export the "
            "model without custom operators"
        )


def _with_opset(source: Path, model: Any) -> Any:
    import onnx

    opset = next((o.version for o in model.opset_import if o.domain in _DOMAINS), 0)
    if opset <= NEWEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, NEWEST_OPSET)
    except Exception as error:  # each operator's converter raises its own
        raise BackendError(
            f"{source}: expected an opset of at most {NEWEST_OPSET} (the newest that RKNN "
            f"Toolkit2 2.5 supports), found {opset}, which cannot be converted: {error}; "
            "export the model with --opset 17"
        ) from error


def _fix(source: Path, value: Any, shape: tuple[int, ...]) -> None:
    axes = value.type.tensor_type.shape.dim
    found = tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes)
    if len(found) != len(shape) or any(f not in (-1, s) for f, s in zip(found, shape, strict=True)):
        raise BackendError(
            f"{source}: {value.name}: expected sizes {list(shape)}, found "
            f"{list(found)}; export the model with the expected sizes, batch 1"
        )
    for axis, size in zip(axes, shape, strict=True):
        axis.dim_value = size


def _name_outputs(graph: Any) -> None:
    """Name the unnamed outputs of recurrent layers."""
    for place, node in enumerate(graph.node):
        if node.op_type in _RECURRENT:
            for output, name in enumerate(node.output):
                node.output[output] = name or f"unused.{place}.{output}"


def _separate_outputs(graph: Any) -> None:
    """Give an output a node of its own if it is a copy of another output."""
    outputs = {value.name for value in graph.output}
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != "Identity" or node.output[0] not in outputs:
            continue
        copied, twin = node.input[0], producers.get(node.input[0])
        if twin is None:
            continue
        others = [
            name if name == copied else f"{name}.{node.output[0]}" if name else ""
            for name in twin.output
        ]
        renamed = [node.output[0] if name == copied else name for name in others]
        name = f"{twin.name}.{node.output[0]}"
        node.CopyFrom(twin)
        node.name = name
        del node.output[:]
        node.output.extend(renamed)


def _transpose_weights(graph: Any) -> None:
    """Store constant weights of Gemm nodes output by output, [outputs, inputs]."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    transposed = dict[str, str]()
    for node in graph.node:
        if node.op_type != "Gemm" or node.input[1] not in constants:
            continue
        given = {each.name: each for each in node.attribute}
        if "transB" in given and given["transB"].i:
            continue
        weights = node.input[1]
        if weights not in transposed:
            transposed[weights] = f"{weights}.transposed"
            values = numpy_helper.to_array(constants[weights]).T.copy()
            graph.initializer.append(numpy_helper.from_array(values, transposed[weights]))
        node.input[1] = transposed[weights]
        if "transB" in given:
            given["transB"].i = 1
        else:
            node.attribute.append(helper.make_attribute("transB", 1))
    _drop_unused(graph, transposed)


def _state_epsilon(graph: Any) -> None:
    """Add ONNX's default epsilon to a LayerNormalization without one."""
    from onnx import helper

    for node in graph.node:
        if node.op_type == "LayerNormalization" and not any(
            each.name == "epsilon" for each in node.attribute
        ):
            node.attribute.append(helper.make_attribute("epsilon", 1e-5))


def _drop_unused(graph: Any, names: Collection[str]) -> None:
    """Remove the named initializers that no node uses anymore."""
    used = {name for node in graph.node for name in node.input}
    kept = [
        tensor for tensor in graph.initializer if tensor.name in used or tensor.name not in names
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
