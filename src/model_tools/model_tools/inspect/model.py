# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An ONNX model: tensors, operators, weights, and what is baked into its graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from model_tools.baked import baked_actions, baked_normaliser
from model_tools.importers.onnx_metadata import stated_action
from model_tools.inspect.report import Report
from model_tools.inspect.signature import suffix_of
from model_tools.onnx_model import DYNAMIC, OnnxModel, read_onnx
from policy_inference.onnx_file import merge_command

KIND = "ONNX model"
_LAYERS = ("Gemm", "MatMul", "Tanh")
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def recognise(path: Path) -> bool:
    """Return whether it is named as an ONNX file; the format begins with nothing of its own."""
    return suffix_of(path) == ".onnx"


def inspect(path: Path) -> Report:
    """Return what is in the model.

    Raises:
        ToolError: It is no model, or cut off.
    """
    report = Report(kind=KIND, path=path)
    describe(read_onnx(path), report)
    return report


def describe(model: OnnxModel, report: Report) -> None:
    """Add what is in the model to the report."""
    graph = model.proto.graph
    report.row("sha256", model.sha256)
    report.row("written by", model.producer or "not stated")
    report.row("opset", ", ".join(f"{o.domain or 'ai.onnx'} {o.version}"
                                  for o in model.proto.opset_import))
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        for name, tensor in tensors.items():
            report.row(kind, f"{name} {tensor}")
    counts = Counter(node.op_type for node in graph.node)
    report.row("operators", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    report.row("weights", f"{sum(int(np.prod(t.dims)) for t in graph.initializer):,} values, "
               f"{model.precision}")
    for key, value in model.metadata.items():
        report.row(f"metadata {key}", value)
    _suspect(model, report)


def _suspect(model: OnnxModel, report: Report) -> None:
    _suspect_inputs(model, report)
    _suspect_weights(model, report)
    if model.external_files:
        report.suspect(f"weights lie in {', '.join(model.external_files)}, which no hash of the "
                       "model covers and the runtime refuses; import merges them, and so does "
                       f"{merge_command(model.path)}")
    domains = sorted({node.domain for node in model.proto.graph.node} - set(_DOMAINS))
    if domains:
        report.suspect(f"operators of {', '.join(domains)}, which runtimes do not know")
    if normaliser := baked_normaliser(model):
        report.suspect(f"{normaliser}: a normaliser or offsets are baked in; "
                       "do not normalise again")
    _describe_action(model, report)


def _describe_action(model: OnnxModel, report: Report) -> None:
    """Say what scales and shifts each output, or that nothing in the graph shows it."""
    for found in baked_actions(model):
        if found.nodes:
            report.suspect(found.advice(*stated_action(model.metadata)))
        elif found.network.startswith(_LAYERS):
            report.row("scale, offset", f"none shows behind {found.network}, which gives "
                       f"{found.output}; what was folded into its weights would not")


def _suspect_inputs(model: OnnxModel, report: Report) -> None:
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


def _suspect_weights(model: OnnxModel, report: Report) -> None:
    for name, values in model.weights():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            share = 1.0 - np.isfinite(values).mean()
            report.suspect(f"the weights {name} hold NaN or infinite values ({share:.1%})")
