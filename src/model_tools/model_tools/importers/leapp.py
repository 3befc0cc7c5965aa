# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LEAPP: raw SI values go into the graph, targets come out, feedback is wired in the YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from model_tools.errors import ToolError
from model_tools.importers.draft import Draft
from model_tools.importers.leapp_kinds import TARGETS, elements, put_input
from model_tools.importers.model_section import put_model
from model_tools.importers.source import Given, Source
from model_tools.node import Node
from model_tools.onnx_model import OnnxModel, read_onnx
from policy_inference.interfaces import Tensor

NAME = "leapp"
_FEEDBACK = ("feedback_flow", "feedback_connections")


def recognise(source: Source) -> bool:
    """Return whether the file has this format's sections."""
    return source.has("models", "pipeline")


def read(source: Source, given: Given) -> Draft:
    """Return what the file says.

    Raises:
        ToolError: Something is missing or does not fit, or there are several models.
    """
    given.refuse_joints(source, "element_names")
    draft, pipeline = Draft(source.path.name), source.root["pipeline"]
    name, node = _only_model(source.root["models"])
    model = _model(node, source.path, given)
    if (configs := pipeline.get("configs")) and (rate := configs.get("frequency")):
        draft.put("rate_hz", rate.number(), rate.key)
    output, joints, kind = _target(draft, node, pipeline, name)
    draft.put("joints.names", joints, f"element_names of {output}")
    feedback = _feedback(pipeline, name)
    tensors = put_model(draft, model, [(into, out) for into, out in feedback.items()
                                       if out != output])
    _check_names(source, node, model)
    draft.put("action.output", output, "targets in SI units, scaled inside the model")
    draft.put("action.terms", [{"joints": joints, "kind": kind}])
    _check_initial_values(draft, source.path, pipeline, name, feedback)
    for tensor in node["inputs"].elements():
        if (into := tensor["name"].text()) in tensors.observations:
            put_input(draft, tensor, into, is_last_action=into in feedback)
    return draft


def _only_model(models: Node) -> tuple[str, Node]:
    entries = models.items()
    if len(entries) != 1:
        raise ToolError(f"{models.file}: models: expected one, since a bundle runs one model, "
                        f"found {', '.join(name for name, _ in entries) or 'none'}")
    return entries[0]


def _model(node: Node, path: Path, given: Given) -> OnnxModel:
    """Return the model that the file names, which must have the hash that the file states."""
    parameters = node["parameters"]
    model = read_onnx(given.model or path.parent / parameters["model_path"].text())
    stated = parameters.get("sha256sum") or parameters.get("sha256")
    if stated and stated.text() != model.sha256:
        raise ToolError(f"{model.path}: expected sha256 {stated.text()}, as {stated.key} of "
                        f"{path.name} says, found {model.sha256}")
    return model


def _target(
    draft: Draft, node: Node, pipeline: Node, name: str
) -> tuple[str, list[str], str]:
    """Return output, joints and kind of the first joint target; block where there are more."""
    wanted = pipeline["outputs"][name].texts()
    outputs = {output["name"].text(): output for output in node["outputs"].elements()}
    kinds = {output: kind.text() if (kind := outputs[output].get("kind")) else output
             for output in wanted if output in outputs}
    targets = [output for output, kind in kinds.items() if kind in TARGETS]
    if not targets:
        raise pipeline["outputs"].wrong(f"an output of one of the kinds {', '.join(TARGETS)}")
    others = [output for output in wanted if output != targets[0]]
    if others:
        draft.block("action", f"the model also commands {', '.join(others)}, and the contract has "
                    f"one output, here {targets[0]}")
    return targets[0], elements(outputs[targets[0]]), TARGETS[kinds[targets[0]]]


def _feedback(pipeline: Node, name: str) -> dict[str, str]:
    """Return the output for each input that is fed back."""
    flow = next((flow for key in _FEEDBACK if (flow := pipeline.get(key))), None)
    pairs = flow.items() if flow else []
    return {_local(into, name): _local(Node(flows.file, out, flows.key), name)
            for out, flows in pairs for into in flows.elements()}


def _local(tensor: Node, name: str) -> str:
    model, _, local = tensor.text().partition("/")
    if model != name or not local:
        raise tensor.wrong(f"a tensor of the model, like {name}/x")
    return local


def _check_names(source: Source, node: Node, model: OnnxModel) -> None:
    for key, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        stated = [tensor["name"].text() for tensor in node[key].elements()]
        if set(stated) != set(tensors):
            raise ToolError(f"{source.path.name}: {node[key].key}: expected the tensors of "
                            f"{model.path.name} ({', '.join(tensors)}), found {', '.join(stated)}")


def _check_initial_values(
    draft: Draft, path: Path, pipeline: Node, name: str, feedback: dict[str, str]
) -> None:
    """Block where what is fed back begins with something else than zeros."""
    stated = pipeline.get("initial_values")
    if stated is None:
        if feedback:
            draft.remark(f"{', '.join(feedback)}: no initial values are stated; the contract "
                         "begins with zeros")
        return
    try:
        values = load_file(path.parent / stated.text())
    except SafetensorError as error:
        raise stated.wrong(f"a safetensors file ({error})") from error
    moved = _not_zero(name, feedback, values)
    if moved:
        draft.block("action", f"{', '.join(moved)}: first values that are not 0, with which the "
                    "contract begins")


def _not_zero(
    name: str, feedback: dict[str, str], values: Mapping[str, Tensor]
) -> Sequence[str]:
    return [into for into in feedback
            if f"{name}/{into}" in values and values[f"{name}/{into}"].any()]
