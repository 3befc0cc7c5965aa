# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Prepares a model for the vendor's compilers: batch size 1, and inputs with four axes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from model_tools.errors import ToolError
from model_tools.files.bpu_files import AXES, BUILD, four_axes
from policy_core.interfaces import F32, Tensor, TensorSpec

_OPSET = 11
"""Oldest opset that all compilers read."""
_OLD_IR_VERSION = 7
"""Newest ONNX IR version that the older compiler reads."""
_CHECKED_ROWS = 32
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BpuGraph:
    """One model to compile; a policy may consist of several.

    Attributes:
        name: Name of the graph's folder in the workspace, and of the compiled files.
        model: ONNX in fp32.
        inputs, outputs: The model's tensors: float32, with a first axis (batch) of size 1.
        samples: Calibration rows by input, [rows, *shape without the batch axis].
        files: For an ACT graph, by input, the file name of each sample, optionally with a folder;
            empty for other graphs, whose samples are numbered.
        file: Name of the prepared model; NAME.onnx if empty.
    """

    name: str
    model: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Mapping[str, Tensor]
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    file: str = ""

    @property
    def file_name(self) -> str:
        """Name of the prepared model."""
        return self.file or f"{self.name}.onnx"

    @property
    def build_name(self) -> str:
        """Name of the script that compiles the model."""
        return BUILD.format(self.name)

    def check(self) -> None:
        """Raise unless the compilers accept this model's inputs."""
        for spec in self.inputs:
            if spec.dtype != "float32" or len(spec.shape) > AXES or spec.shape[:1] != (1,):
                raise ToolError(
                    f"{self.model}: input {spec.name}: expected float32 with batch size 1 "
                    f"and at most {AXES} axes (the BPU accepts nothing else), found {spec}"
                )
            if ";" in spec.name:
                raise ToolError(
                    f"{self.model}: input {spec.name}: expected a name without ';', "
                    "which separates inputs in the compiler's settings"
                )

    def rows(self, name: str) -> F32:
        """Return the samples of an input, [rows, *compiler's shape] float32."""
        (spec,) = (spec for spec in self.inputs if spec.name == name)
        samples: F32 = np.asarray(self.samples[name], np.float32)
        return samples.reshape(len(samples), *self.shape(spec)[1:])

    def samples_sha256(self) -> str:
        """Return the SHA-256 of all samples in the compiler's format."""
        found = hashlib.sha256()
        for spec in self.inputs:
            for row in self.rows(spec.name):
                found.update(row.tobytes())
        return found.hexdigest()

    def shape(self, spec: TensorSpec) -> tuple[int, ...]:
        """Return the compiler's shape for an input: four axes, except for an ACT graph.

        The vendor's programs on the board give an ACT graph's `states` two axes.
        """
        return spec.shape if self.files else four_axes(spec.shape)


def write_prepared(graph: BpuGraph, last_opset: int, output: Path) -> None:
    """Write the model in a form the compiler can read; compare it to the original on samples."""
    if fits(graph, last_opset):
        shutil.copyfile(graph.model, output)
        return
    model = onnx.load(graph.model)
    opset = _opset(model)
    if not _OPSET <= opset <= last_opset:
        raise ToolError(
            f"{graph.model}: expected an opset that the compiler supports "
            f"({_OPSET}{f' to {last_opset}' if last_opset > _OPSET else ''}), found "
            f"{opset}; export the model again with --opset {_OPSET}"
        )
    _fix_sizes(model, graph)
    for spec in graph.inputs:
        if graph.shape(spec) != spec.shape:
            _reshape_inside(model.graph, spec)
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    difference = _difference(graph, model)
    if difference > _TOLERANCE:
        raise ToolError(
            f"{graph.model}: expected the same function with inputs of four axes and a batch of 1, "
            f"found one that differs by {difference:.2g}; export the model for a batch of 1"
        )
    onnx.save(model, str(output))


def fits(graph: BpuGraph, last_opset: int) -> bool:
    """Return whether the compiler can read the model unchanged."""
    if not graph.files:
        return False
    model = onnx.load(graph.model, load_external_data=False)
    newest = max(_OLD_IR_VERSION, helper.find_min_ir_version_for(list(model.opset_import)))
    sizes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in (*model.graph.input, *model.graph.output)
    }
    return (
        _opset(model) <= last_opset
        and model.ir_version <= newest
        and all(sizes.get(spec.name) == spec.shape for spec in (*graph.inputs, *graph.outputs))
    )


def _opset(model: onnx.ModelProto) -> int:
    return int(
        next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    )


def _fix_sizes(model: onnx.ModelProto, graph: BpuGraph) -> None:
    """Set fixed sizes for inputs and outputs, and remove inferred sizes of other tensors."""
    sizes = {spec.name: spec.shape for spec in (*graph.inputs, *graph.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in sizes:
            shape = helper.make_tensor_type_proto(
                value.type.tensor_type.elem_type, sizes[value.name]
            )
            value.type.CopyFrom(shape)
    del model.graph.value_info[:]


def _difference(graph: BpuGraph, prepared: onnx.ModelProto) -> float:
    """Return the largest output difference from the original on some samples.

    The difference is relative to the largest output of the original, or to 1 if 1 is larger.
    """
    rows = {spec.name: graph.rows(spec.name)[:_CHECKED_ROWS] for spec in graph.inputs}
    shapes = {spec.name: spec.shape for spec in graph.inputs}
    count = len(next(iter(rows.values())))
    ours = [{name: array[[row]] for name, array in rows.items()} for row in range(count)]
    theirs = [{name: array.reshape(shapes[name]) for name, array in feed.items()} for feed in ours]
    found = _outputs(prepared.SerializeToString(), ours)
    expected = _outputs(graph.model.read_bytes(), theirs)
    largest = max(1.0, *(float(np.abs(array).max()) for array in expected))
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)) / largest


def _outputs(content: bytes, feeds: list[dict[str, F32]]) -> list[F32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [array for feed in feeds for array in session.run(None, feed)]


def _reshape_inside(graph: onnx.GraphProto, spec: TensorSpec) -> None:
    """Give an input four axes, and reshape it back for its consumers."""
    inside, sizes = f"{spec.name}_as_exported", f"{spec.name}_shape_as_exported"
    _rename(graph, spec.name, inside)
    (value,) = (value for value in graph.input if value.name == spec.name)
    value.type.CopyFrom(
        helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, four_axes(spec.shape))
    )
    graph.initializer.append(numpy_helper.from_array(np.array(spec.shape, np.int64), sizes))
    graph.node.insert(0, helper.make_node("Reshape", [spec.name, sizes], [inside], name=inside))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, old, new)
