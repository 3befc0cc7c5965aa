# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read the tensors, metadata and weights of any ONNX model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # untyped package
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from model_tools.errors import ToolError
from model_tools.files.file_types import refuse_checkpoint
from policy_core.bundle.contract import Integers
from policy_core.interfaces import Tensor

DYNAMIC = -1
_GATHER = ("Gather", "GatherND")
CHECKPOINT_SHA256 = "checkpoint_sha256"
"""Metadata key for the hash of the checkpoint that `export` converted."""
OBS_STATS = "obs_stats"
"""Metadata key for the statistics that normalize observations before the model. The value is the
contract's `normalisation` as JSON, which names the file that `export` wrote next to the model.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTensor:
    """A tensor's shape, with -1 for axes without a fixed size, and the NumPy name of its type."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        """Return text such as `float32[1, 45]`."""
        axes = ", ".join("?" if axis == DYNAMIC else str(axis) for axis in self.shape)
        return f"{self.dtype}[{axes}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxModel:
    """A model's parsed structure; weights in other files are not loaded."""

    path: Path
    sha256: str
    inputs: dict[str, ModelTensor]
    outputs: dict[str, ModelTensor]
    metadata: dict[str, str]
    proto: Any
    content: bytes = field(repr=False)
    """Content of the file."""

    @property
    def external_files(self) -> list[str]:
        """Names of the files that contain weights outside the model file."""
        return sorted({location for tensor in _tensors(self.proto) for location in _places(tensor)})

    def require_beside(self) -> None:
        """Check that all weight files are in or below the model's folder; no other may be read."""
        away = [name for name in self.external_files if not is_beside(self.path, name)]
        if away:
            raise ToolError(
                f"{self.path}: expected all weights in its folder, found a reference to"
                f" {', '.join(away)}; export the model again"
            )

    @property
    def precision(self) -> str:
        """`fp32`, `fp16` or `int8`, from the weight types and the quantization nodes."""
        types = {t.data_type for t in self.proto.graph.initializer if len(t.dims) >= 2}
        quantised = any(node.op_type == "QuantizeLinear" for node in self.proto.graph.node)
        if quantised or types & {TensorProto.INT8, TensorProto.UINT8}:
            return "int8"
        return "fp16" if types == {TensorProto.FLOAT16} else "fp32"

    @property
    def integers(self) -> Integers | None:
        """Signedness of an int8 model's weights and activations; None for other models."""
        if self.precision != "int8":
            return None
        signed = any(t.data_type == TensorProto.INT8 for t in self.proto.graph.initializer)
        return "signed" if signed else "unsigned"

    @property
    def producer(self) -> str:
        """Tool that wrote the model, and its version; empty if not stated."""
        return f"{self.proto.producer_name} {self.proto.producer_version}".strip()

    def rows_chosen_by(self, name: str) -> int | None:
        """Return the number of rows in the largest constant table that an input indexes, or None.

        For example, the frames of a motion, indexed by a tick count.
        """
        graph, indices, found = self.proto.graph, {name}, list[int]()
        tables = {tensor.name: tensor.dims for tensor in graph.initializer}
        tables |= {
            node.output[0]: each.t.dims
            for node in graph.node
            if node.op_type == "Constant"
            for each in node.attribute
            if each.name == "value"
        }
        for node in graph.node:
            if node.op_type in _GATHER and indices & set(node.input[1:]):
                dims = tables.get(node.input[0], ())
                axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
                found += [dims[axis]] if dims else []
            elif indices & set(node.input):
                indices |= set(node.output)
        return max(found, default=None)

    def constant(self, output: str) -> Tensor | None:
        """Return the values of an output that is the same in every run; None for any other output.

        For example, a gain that training wrote into the graph.
        """
        made_by = {name: node for node in self.proto.graph.node for name in node.output}
        initialisers = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        name = output
        while (node := made_by.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        found = initialisers.get(name)
        if node is not None and node.op_type == "Constant":
            found = next((each.t for each in node.attribute if each.name == "value"), None)
        if found is None or uses_external_data(found):
            return None
        return self._values(found)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the names and values of the weights inside the model file."""
        for tensor in self.proto.graph.initializer:
            if not uses_external_data(tensor):
                yield tensor.name, self._values(tensor)

    def require_finite(self) -> None:
        """Raise an error unless the weights inside the model file are finite."""
        bad = [
            name
            for name, values in self.weights()
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all()
        ]
        if bad:
            raise ToolError(
                f"{self.path}: {', '.join(bad)}: expected finite weights, found NaN or "
                "infinity; the training diverged, export an earlier checkpoint"
            )

    def _values(self, tensor: onnx.TensorProto) -> Tensor:
        try:
            return numpy_helper.to_array(tensor)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(
                self.path,
                f"weights {tensor.name} that cannot be read ({type(error).__name__}: {error})",
            ) from error


def read_onnx(path: Path) -> OnnxModel:
    content = path.read_bytes()
    refuse_checkpoint(path, io.BytesIO(content))
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ToolError(
            f"{path}: expected an ONNX model, found a different format, or a truncated file"
        ) from error
    if not proto.graph.output or not proto.opset_import:
        raise ToolError(
            f"{path}: expected an ONNX model, found a file without graph, outputs or opset: "
            "another format, or a truncated file"
        )
    constants = {tensor.name for tensor in proto.graph.initializer}
    return OnnxModel(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        proto=proto,
        content=content,
        inputs={v.name: _tensor(path, v) for v in proto.graph.input if v.name not in constants},
        outputs={v.name: _tensor(path, v) for v in proto.graph.output},
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def is_beside(model: Path, name: str) -> bool:
    """Return whether a weights file is in the model's folder, or below it."""
    folder = model.parent.resolve()
    return bool(name) and folder in (folder / name).resolve().parents


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    if isinstance(message, TensorProto):
        yield message
        return
    for kind, value in message.ListFields():
        if kind.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(each)


def _places(tensor: onnx.TensorProto) -> list[str]:
    if not uses_external_data(tensor):
        return []
    return [entry.value for entry in tensor.external_data if entry.key == "location"]


def _tensor(path: Path, info: Any) -> ModelTensor:
    kind = info.type.tensor_type
    axes = (axis.dim_value if axis.HasField("dim_value") else DYNAMIC for axis in kind.shape.dim)
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError as error:
        raise _damaged(path, f"{info.name}, which is not a numeric tensor") from error
    return ModelTensor(shape=tuple(axes), dtype=dtype)


def _damaged(path: Path, found: str) -> ToolError:
    return ToolError(
        f"{path}: expected a complete ONNX model, found {found}; copy or export it again"
    )
