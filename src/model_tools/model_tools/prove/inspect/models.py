# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of models: ONNX, checkpoints, TorchScript, and what is compiled for one runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.baked import baked_actions, baked_normaliser
from model_tools.files.file_types import PROGRAM, members, suffix_of
from model_tools.files.onnx_model import DYNAMIC, OnnxModel, read_onnx
from model_tools.make.checkpoints import require_torch
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.verified import sha256_of
from policy_core.onnx_file import merge_command
from policy_inference.backends.rknn_file import read_rknn

ONNX = "ONNX model"
_LAYERS = ("Gemm", "MatMul", "Tanh")
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
CHECKPOINT = "training checkpoint"
_CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")
TORCHSCRIPT = "TorchScript program"
RKNN = "RKNN model"
_KNOWN_RKNN_FORMAT = 6
ENGINE = "TensorRT engine"
_ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
_ENGINE_HEAD = 16


def is_onnx(path: Path) -> bool:
    """Return whether it is named as an ONNX file; the format begins with nothing of its own."""
    return suffix_of(path) == ".onnx"


def inspect_onnx(path: Path) -> InspectionReport:
    """Return what is in the model."""
    report = InspectionReport(kind=ONNX, path=path)
    describe_onnx(read_onnx(path), report)
    return report


def describe_onnx(model: OnnxModel, report: InspectionReport) -> None:
    """Add what is in the model to the report."""
    graph = model.proto.graph
    report.hash(model.sha256)
    report.row("written by", model.producer or "not stated")
    report.row(
        "opset", ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.proto.opset_import)
    )
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        report.values[f"{kind}s"] = tensors
        for name, tensor in tensors.items():
            report.row(kind, f"{name} {tensor}")
    counts = Counter(node.op_type for node in graph.node)
    report.row("operators", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    weights = sum(int(np.prod(t.dims)) for t in graph.initializer)
    report.row("weights", f"{weights:,} values, {model.precision}")
    report.values.update(
        opset={o.domain or "ai.onnx": o.version for o in model.proto.opset_import},
        operators=counts,
        weights=weights,
        precision=model.precision,
        metadata=model.metadata,
    )
    for key, value in model.metadata.items():
        report.row(f"metadata {key}", value)
    _suspect(model, report)


def _suspect(model: OnnxModel, report: InspectionReport) -> None:
    _suspect_inputs(model, report)
    _suspect_weights(model, report)
    if model.external_files:
        report.suspect(
            f"weights lie in {', '.join(model.external_files)}, which no hash of the "
            "model covers and the runtime refuses; import merges them, and so does "
            f"{merge_command(model.path)}"
        )
    domains = sorted({node.domain for node in model.proto.graph.node} - set(_DOMAINS))
    if domains:
        report.suspect(f"operators of {', '.join(domains)}, which runtimes do not know")
    if normaliser := baked_normaliser(model):
        report.suspect(
            f"{normaliser}: a normaliser or offsets are baked in; do not normalise again"
        )
    _describe_action(model, report)


def _describe_action(model: OnnxModel, report: InspectionReport) -> None:
    """Say what scales and shifts each output, or that nothing in the graph shows it."""
    for found in baked_actions(model):
        if found.nodes:
            report.suspect(found.advice)
        elif found.network.startswith(_LAYERS):
            report.row(
                "scale, offset",
                f"none shows behind {found.network}, which gives "
                f"{found.output}; what was folded into its weights would not",
            )


def _suspect_inputs(model: OnnxModel, report: InspectionReport) -> None:
    states = [name for name in model.inputs if name.endswith("_in")]
    plain = [name for name in model.inputs if name not in states]
    if len(plain) > 1:
        report.suspect(f"{len(plain)} inputs besides recurrent states: {', '.join(plain)}")
    for name in plain:
        shape = model.inputs[name].shape
        if len(shape) > 1 and shape[0] > 1:
            report.suspect(f"the input {name} has a fixed batch of {shape[0]}; a robot needs 1")
        if DYNAMIC in shape[1:]:
            report.suspect(f"the input {name} has dynamic axes besides the batch")


def _suspect_weights(model: OnnxModel, report: InspectionReport) -> None:
    for name, values in model.weights():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            share = 1.0 - np.isfinite(values).mean()
            report.suspect(f"the weights {name} hold NaN or infinite values ({share:.1%})")


def is_checkpoint(path: Path) -> bool:
    """Return whether torch.save wrote it, or it is named so."""
    return suffix_of(path) in _CHECKPOINT_SUFFIXES


def inspect_checkpoint(path: Path) -> InspectionReport:
    """Return its layout, what could be the actor, and its tensors."""
    require_torch()
    from model_tools.make.checkpoints.load import contents_of, read_checkpoint

    checkpoint, report = read_checkpoint(path), InspectionReport(kind=CHECKPOINT, path=path)
    found = contents_of(checkpoint)
    report.hash(checkpoint.sha256)
    report.row("layout", checkpoint.format)
    report.row("values", f"{found.count:,}")
    report.values.update(layout=checkpoint.format, parameters=found.count)
    for stack in found.actors:
        report.row("could be the actor", stack)
    for network in found.recurrent:
        report.row("recurrent", network)
    for name in found.statistics:
        report.row("running statistics", f"{name}; export needs `normaliser`: bake, keep or none")
    for key, value in found.beside.items():
        report.row(f"beside: {key}", value)
    for tensor in found.tensors:
        report.row("tensor", tensor)
    for name in found.not_finite:
        report.suspect(f"{name} holds NaN or infinite values; the training diverged")
    for name, smallest in found.statistics.items():
        if smallest <= 0.0:
            report.suspect(f"{name}: a spread of {smallest:g}; that value never changed")
    return report


def is_torchscript(path: Path) -> bool:
    """Return whether it is an archive with code."""
    return suffix_of(path) == PROGRAM


def inspect_torchscript(path: Path) -> InspectionReport:
    """Return what is in the archive."""
    report = InspectionReport(kind=TORCHSCRIPT, path=path)
    report.hash(sha256_of(path))
    # Every member lies below one folder, which is named after the file that was first written.
    found = {member.filename.partition("/")[2]: member.file_size for member in members(path)}
    tensors = [size for name, size in found.items() if name.startswith(("data/", "constants/"))]
    report.row("tensors", f"{len(tensors)}, {sum(tensors):,} bytes")
    report.values.update(tensors=len(tensors), tensor_bytes=sum(tensors))
    for name, size in found.items():
        if name.startswith("code/") and name.endswith(".py"):
            report.row("code", f"{name.removeprefix('code/')}, {size:,} bytes")
        elif name.startswith("extra/"):
            report.row("extra file", f"{name.removeprefix('extra/')}, {size:,} bytes")
    report.suspect(
        "a program, which can do anything where it is loaded; it was not loaded here, "
        "and export loads it only with --trust-code"
    )
    return report


def is_rknn(path: Path) -> bool:
    """Return whether it begins as one, or is named as one."""
    return suffix_of(path) == ".rknn"


def inspect_rknn(path: Path) -> InspectionReport:
    """Return what its header says."""
    model, report = read_rknn(path), InspectionReport(kind=RKNN, path=path)
    report.hash(sha256_of(path))
    report.values.update(
        targets=model.targets, toolkit=model.toolkit, format_version=model.format_version
    )
    report.row("target", ", ".join(model.targets))
    report.row("made by", f"RKNN Toolkit2 {model.toolkit} from {model.source or 'what is unknown'}")
    report.row("format version", model.format_version)
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        report.values[f"{kind}s"] = tensors
        for name, tensor in tensors.items():
            report.row(kind, f"{name} {tensor.precision}{list(tensor.shape)}")
    if model.format_version != _KNOWN_RKNN_FORMAT:
        report.suspect(
            f"format version {model.format_version}; only {_KNOWN_RKNN_FORMAT} was tried"
        )
    if not model.inputs or not model.outputs:
        report.suspect("it names no inputs or no outputs")
    return report


def is_engine(path: Path) -> bool:
    """Return whether it is named as an engine; what one begins with is documented nowhere."""
    return suffix_of(path) in _ENGINE_SUFFIXES


def inspect_engine(path: Path) -> InspectionReport:
    """Return what can be seen from outside."""
    with path.open("rb") as file:
        head = file.read(_ENGINE_HEAD)
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise ToolError(f"{path}: expected a TensorRT engine, found a text")
    report = InspectionReport(kind=ENGINE, path=path)
    report.values["size_bytes"] = path.stat().st_size
    report.row("size", f"{path.stat().st_size:,} bytes")
    report.hash(sha256_of(path))
    report.row("begins with", head)
    report.suspect(
        "an engine runs only with the TensorRT version and the GPU type that built it, "
        "and says neither to others; keep its ONNX model beside it, and build it where "
        "it runs"
    )
    return report
