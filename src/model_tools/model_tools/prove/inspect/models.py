# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inspects model files: ONNX, checkpoints, and RKNN models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.baked import baked_actions, baked_normaliser
from model_tools.files.control_flow import require_bounded_turns
from model_tools.files.onnx_model import DYNAMIC, OnnxModel, read_onnx
from model_tools.make.checkpoints import require_torch
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.verified import sha256_file
from policy_core.onnx_file import merge_command
from policy_inference.backends.rknn_file import read_rknn

_LAYERS = ("Gemm", "MatMul", "Tanh")
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_KNOWN_RKNN_FORMAT = 6


def inspect_onnx(path: Path) -> InspectionReport:
    model, report = read_onnx(path), InspectionReport(kind="ONNX model", path=path)
    graph, opsets = model.proto.graph, {o.domain: o.version for o in model.proto.opset_import}
    opsets = {domain or "ai.onnx": version for domain, version in opsets.items()}
    report.hash(model.sha256)
    report.row("written by", model.producer or "not stated")
    report.row("opset", ", ".join(f"{domain} {version}" for domain, version in opsets.items()))
    report.tensors({"input": model.inputs, "output": model.outputs}, str)
    counts = Counter(node.op_type for node in graph.node)
    report.row("operators", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    weights = sum(int(np.prod(t.dims)) for t in graph.initializer)
    report.row("weights", f"{weights:,} values, {model.precision}")
    report.values.update(
        opset=opsets,
        operators=counts,
        weights=weights,
        precision=model.precision,
        metadata=model.metadata,
    )
    for key, value in model.metadata.items():
        report.row(f"metadata {key}", value)
    _suspect_inputs(model, report)
    for name, values in model.weights():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            share = 1.0 - np.isfinite(values).mean()
            report.suspect(f"weight {name} holds NaN or infinite values ({share:.1%})")
    if model.external_files:
        report.suspect(
            f"weights are in {', '.join(model.external_files)}, which the hash of the "
            "model does not cover and the runtime refuses; import merges them, and so does "
            f"{merge_command(model.path)}"
        )
    try:
        require_bounded_turns(model)
    except ToolError as error:
        report.refuse(str(error))
    if domains := sorted({node.domain for node in graph.node} - set(_DOMAINS)):
        report.suspect(f"operators of {', '.join(domains)}, which runtimes do not support")
    if normaliser := baked_normaliser(model):
        report.suspect(
            f"{normaliser}: a normalizer or offsets are baked in; do not normalize again"
        )
    for found in baked_actions(model):
        if found.nodes:
            report.suspect(found.advice)
        elif found.network.startswith(_LAYERS):
            report.row(
                "scale, offset",
                f"none is visible after {found.network}, which computes {found.output}; any "
                "that are folded into its weights cannot be seen",
            )
    return report


def _suspect_inputs(model: OnnxModel, report: InspectionReport) -> None:
    plain = [name for name in model.inputs if not name.endswith("_in")]
    if len(plain) > 1:
        report.suspect(f"{len(plain)} inputs besides recurrent states: {', '.join(plain)}")
    for name in plain:
        shape = model.inputs[name].shape
        if len(shape) > 1 and shape[0] > 1:
            report.suspect(f"the input {name} has a fixed batch of {shape[0]}; a robot needs 1")
        if DYNAMIC in shape[1:]:
            report.suspect(f"the input {name} has dynamic axes besides the batch")


def inspect_checkpoint(path: Path) -> InspectionReport:
    require_torch()
    from model_tools.make.checkpoints.load import read_checkpoint, read_contents

    checkpoint, report = (
        read_checkpoint(path),
        InspectionReport(kind="training checkpoint", path=path),
    )
    found = read_contents(checkpoint)
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
            report.suspect(
                f"{name}: a standard deviation (or variance) of {smallest:g}; that value never "
                "changed"
            )
    return report


def inspect_rknn(path: Path) -> InspectionReport:
    model, report = read_rknn(path), InspectionReport(kind="RKNN model", path=path)
    report.hash(sha256_file(path))
    report.values.update(
        targets=model.targets, toolkit=model.toolkit, format_version=model.format_version
    )
    report.row("target", ", ".join(model.targets))
    report.row("made by", f"RKNN Toolkit2 {model.toolkit} from {model.source or 'unknown model'}")
    report.row("format version", model.format_version)
    report.tensors(
        {"input": model.inputs, "output": model.outputs},
        lambda tensor: f"{tensor.precision}{list(tensor.shape)}",
    )
    if model.format_version != _KNOWN_RKNN_FORMAT:
        report.suspect(
            f"format version {model.format_version}; only {_KNOWN_RKNN_FORMAT} has been tested"
        )
    if not model.inputs or not model.outputs:
        report.suspect("the file names no inputs or no outputs")
    return report
