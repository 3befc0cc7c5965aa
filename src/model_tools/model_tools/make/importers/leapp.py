# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LEAPP: the graph takes raw SI values and returns targets; the YAML describes the feedback."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import read_tensors
from model_tools.files.foreign import Node
from model_tools.files.onnx_model import OnnxModel, is_beside, read_onnx
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.source import Given, TrainingSource, put_model
from policy_core.bundle.terms import TERMS

NAME = "leapp"
_FEEDBACK = ("feedback_flow", "feedback_connections")
TARGETS = {
    "target/joint/position": "position",
    "joint_pos_targets": "position",
    "target/joint/velocity": "velocity",
    "joint_vel_targets": "velocity",
    "target/joint/effort": "effort",
    "joint_effort_targets": "effort",
}
_GAINS = {"kp": "stiffness", "kd": "damping"}
_ARTICULATION = (
    ("position", "default_joint_pos", ("joints.default_position", "stand.position")),
    ("stiffness", "default_joint_stiffness", ("joints.stiffness", "stand.stiffness")),
    ("damping", "default_joint_damping", ("joints.damping", "stand.damping")),
)
_COMMAND, _VELOCITY = "command/body/velocity", ("lin_vel_x", "lin_vel_y", "ang_vel_z")
COMMAND_TOPIC = "commanded_values"
INITIAL_STATE_FILE = "initial_state.npz"
_JOINT_TERMS = {"state/joint/position": "joint_pos", "state/joint/velocity": "joint_vel"}
_VECTORS: dict[str, dict[tuple[str, ...], str]] = {
    "state/body/angular_velocity": {("x", "y", "z"): "base_ang_vel"},
    "state/body/linear_velocity": {("x", "y", "z"): "base_lin_vel"},
    _COMMAND: {_VELOCITY: "velocity_command"},
    "state/body/rotation": {
        ("x", "y", "z", "w"): "base_quat_xyzw",
        ("qx", "qy", "qz", "qw"): "base_quat_xyzw",
        ("w", "x", "y", "z"): "base_quat_wxyz",
        ("qw", "qx", "qy", "qz"): "base_quat_wxyz",
    },
}
"""Terms by kind, then by the order of their elements. If a kind has a single order, a tensor may
also have only some of its elements, or additional ones."""


def recognise(source: TrainingSource) -> bool:
    return source.has("models", "pipeline")


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the file."""
    given.refuse_joints(source, "element_names")
    pipeline = source.root["pipeline"]
    name, node = _only_model(source.root["models"])
    model = _model(node, source.path, given)
    draft = Draft(source.path.name, model)
    if (configs := pipeline.get("configs")) and (rate := configs.get("frequency")):
        draft.put("rate_hz", rate.number(), rate.key)
    output, joints, kind, gains = _target(draft, node, pipeline, name)
    _put_joints(draft, source, node, output, joints)
    feedback = _feedback(pipeline, name)
    tensors = put_model(draft, [(into, out) for into, out in feedback.items() if out != output])
    _check_names(source, node, model)
    draft.put("action.output", output, "targets in SI units, scaled inside the model")
    draft.put("action.terms", [{"joints": joints, "kind": kind}])
    for gain, gain_output in gains.items():
        _put_gain(draft, gain, gain_output, joints)
    _put_initial_values(draft, source.path, pipeline, name, feedback)
    for tensor in node["inputs"].elements():
        if (into := tensor["name"].text()) in tensors.observations:
            put_input(draft, tensor, into, is_last_action=into in feedback)
    return draft


def _only_model(models: Node) -> tuple[str, Node]:
    entries = models.items()
    if len(entries) != 1:
        raise ToolError(
            f"{models.file}: models: expected one model (a bundle runs only one), "
            f"found {', '.join(name for name, _ in entries) or 'none'}"
        )
    return entries[0]


def _model(node: Node, path: Path, given: Given) -> OnnxModel:
    """Return the model that the file names; raise unless it has the stated hash."""
    parameters = node["parameters"]
    model = read_onnx(given.model or path.parent / parameters["model_path"].text())
    stated = parameters.get("sha256sum") or parameters.get("sha256")
    if stated and stated.text() != model.sha256:
        raise ToolError(
            f"{model.path}: expected sha256 {stated.text()} ({stated.key} in "
            f"{path.name}), found {model.sha256}"
        )
    return model


def _target(
    draft: Draft, node: Node, pipeline: Node, name: str
) -> tuple[str, list[str], str, dict[str, str]]:
    """Return the first joint target's output, joints and kind, and the outputs of its gains.

    Any other commanded output blocks the draft.
    """
    wanted = pipeline["outputs"][name].texts()
    outputs = {output["name"].text(): output for output in node["outputs"].elements()}
    kinds = {
        output: kind.text() if (kind := outputs[output].get("kind")) else output
        for output in wanted
        if output in outputs
    }
    targets = [output for output, kind in kinds.items() if kind in TARGETS]
    if not targets:
        raise pipeline["outputs"].wrong(f"an output of one of the kinds {', '.join(TARGETS)}")
    joints = elements(outputs[targets[0]])
    gains = {
        _GAINS[kind]: output
        for output, kind in kinds.items()
        if kind in _GAINS and elements(outputs[output]) == joints
    }
    others = [output for output in wanted if output not in (targets[0], *gains.values())]
    if others:
        draft.block(
            "action",
            f"the model also commands {', '.join(others)}, but the contract has only one output "
            f"(here {targets[0]})",
        )
    return targets[0], joints, TARGETS[kinds[targets[0]]], gains


def _put_joints(
    draft: Draft, source: TrainingSource, node: Node, output: str, driven: Sequence[str]
) -> None:
    """Write the robot's joints from an articulation or measured tensor, or only the driven ones."""
    names, origin = list(driven), f"element_names of {output}"
    for tensor in node["inputs"].elements():
        kind = stated.text() if (stated := tensor.get("kind")) else ""
        if kind in _JOINT_TERMS and {*elements(tensor)} > {*names}:
            names, origin = elements(tensor), f"element_names of {tensor['name'].text()}"
    robot = _articulation(source, names)
    if robot is not None:
        names, origin = robot["joint_names"].texts(), f"{robot.key}.joint_names"
    draft.put("joints.names", names, origin)
    for key, stated_as, sections in _ARTICULATION if robot is not None else ():
        if robot is None or (stated := robot.get(stated_as)) is None:
            continue
        values = stated.numbers(len(names), "joints")
        for section in sections if key == "position" or all(values) else ():
            draft.put(section, values, stated.key)


def _articulation(source: TrainingSource, names: Sequence[str]) -> Node | None:
    """Return the articulation with all these joints; AGILE lists it next to the models."""
    agile = source.root.get("agile")
    stated = agile.get("articulations") if agile else None
    entries = stated.items() if stated else []
    return next(
        (robot for _, robot in entries if {*names} <= {*robot["joint_names"].texts()}), None
    )


def _put_gain(draft: Draft, gain: str, output: str, joints: Sequence[str]) -> None:
    """Write a gain that the model outputs; a constant sets both bounds."""
    key = f"action.gains.{gain}"
    draft.put(f"{key}.output", output, "output by the model")
    values = draft.model.constant(output)
    if values is None or values.size != len(joints):
        for end, bound in (("min", "lowest"), ("max", "highest")):
            draft.ask(f"{key}.{end}", f"{bound} {gain} that the model may send to the drives")
        return
    bounds = values.reshape(-1).tolist()
    draft.put(f"{key}.min", bounds, "the model outputs these at all times")
    draft.put(f"{key}.max", bounds)


def _feedback(pipeline: Node, name: str) -> dict[str, str]:
    flow = next((flow for key in _FEEDBACK if (flow := pipeline.get(key))), None)
    pairs = flow.items() if flow else []
    return {
        _local(into, name): _local(Node(flows.file, out, flows.key), name)
        for out, flows in pairs
        for into in flows.elements()
    }


def _local(tensor: Node, name: str) -> str:
    model, _, local = tensor.text().partition("/")
    if model != name or not local:
        raise tensor.wrong(f"a tensor of the model (like {name}/x)")
    return local


def _check_names(source: TrainingSource, node: Node, model: OnnxModel) -> None:
    for key, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        stated = [tensor["name"].text() for tensor in node[key].elements()]
        if set(stated) != set(tensors):
            raise ToolError(
                f"{source.path.name}: {node[key].key}: expected the tensors of "
                f"{model.path.name} ({', '.join(tensors)}), found {', '.join(stated)}"
            )


def _put_initial_values(
    draft: Draft, path: Path, pipeline: Node, name: str, feedback: dict[str, str]
) -> None:
    """Write the initial values of recurrent states; refuse nonzero values for a last action."""
    stated = pipeline.get("initial_values")
    if stated is None:
        if feedback:
            draft.remark(
                f"{', '.join(feedback)}: no initial values are stated; the contract "
                "begins with zeros"
            )
        return
    if not is_beside(path, stated.text()):
        raise stated.wrong(f"a file in the same folder as {path.name}")
    values = read_tensors(path.parent / stated.text())
    first = {into: values[f"{name}/{into}"] for into in feedback if f"{name}/{into}" in values}
    moved = {into: array for into, array in first.items() if array.any()}
    states = {pair["input"] for pair in draft.find("state") or ()}
    if strange := [into for into in moved if into not in states]:
        draft.block(
            "action",
            f"{', '.join(strange)}: initial values other than 0, which the contract does not "
            "support",
        )
    kept = {into: array for into, array in moved.items() if into in states}
    if kept:
        content = io.BytesIO()
        np.savez_compressed(content, **kept)  # type: ignore[arg-type]  # as write_arrays
        draft.keep("initial_state", INITIAL_STATE_FILE, content.getvalue(), stated.text())


def elements(tensor: Node) -> list[str]:
    """Return the names of a tensor's values, empty if not stated.

    `element_names` has a list for each axis; the list of an axis without names is empty or absent.
    """
    stated = tensor.get("element_names")
    axes = stated.elements() if stated else []
    return axes[-1].texts() if axes else []


def put_input(draft: Draft, tensor: Node, name: str, *, is_last_action: bool) -> None:
    """Write the observation of one model input: one raw term, or sometimes two for a command."""
    kind = stated.text() if (stated := tensor.get("kind")) else ""
    if kind == _COMMAND and (terms := _commands(draft, tensor)):
        draft.put(("observations", name, "terms"), terms, tensor.key)
        return
    if is_last_action:
        entry: dict[str, Any] = {"term": "last_action"}
    elif kind in _JOINT_TERMS:
        entry = _joint_term(draft, kind, elements(tensor))
    elif kind in _VECTORS:
        entry = _vector(draft, tensor, kind)
    else:
        entry = _external(draft, tensor, f"of the kind {kind or 'unknown'}")
    draft.put(("observations", name, "terms"), [entry], tensor.key)


def _commands(draft: Draft, tensor: Node) -> list[dict[str, Any]]:
    """Return the terms of a velocity command with additional values; empty if it has none."""
    count, names = tensor["shape"].last_axis() - len(_VELOCITY), elements(tensor)
    if count <= 0 or tuple(names[: len(_VELOCITY)]) not in ((), _VELOCITY):
        return []
    others = names[len(_VELOCITY) :] or [f"value_{i + 1}" for i in range(count)]
    if not names:
        draft.remark(
            f"the input {tensor['name'].text()} does not name its values: they are taken as vx, "
            f"vy, the yaw rate, and {count} more"
        )
    question = (
        "commanded values besides the velocity, in order, as "
        "[{name: height, unit: m, min: 0.4, max: 0.72, default: 0.72}]: " + ", ".join(others)
    )
    entry = {"term": "external", "topic": COMMAND_TOPIC, "size": count}
    return [{"term": "velocity_command"}, {**entry, "commanded": todo(question)}]


def _joint_term(draft: Draft, kind: str, joints: Sequence[str]) -> dict[str, Any]:
    names = draft.find("joints.names")
    if not joints:
        return {"term": _JOINT_TERMS[kind], "joints": todo("joints in the order of the tensor")}
    narrowed = {} if joints == names else {"joints": list(joints)}
    return {"term": _JOINT_TERMS[kind], **narrowed}


def _vector(draft: Draft, tensor: Node, kind: str) -> dict[str, Any]:
    terms, order = _VECTORS[kind], tuple(name.lower() for name in elements(tensor))
    known = list(dict.fromkeys(terms.values()))
    if order in terms or (not order and len(known) == 1):
        return {"term": terms.get(order, known[0])}
    if parts := _parts(terms, order):
        return {"term": known[0], "parts": parts}
    if not order:
        return {"term": todo(f"{' or '.join(known)}, depending on the order of its values")}
    return _external(
        draft, tensor, f"in the order {', '.join(order)}, which is not that of {' or '.join(known)}"
    )


def _parts(terms: Mapping[tuple[str, ...], str], order: Sequence[str]) -> list[str]:
    """Return the contract's names for some of a vector's values; empty if there are none."""
    names, term = next(iter(terms.items()))
    part_of = dict(zip(names, TERMS[term].parts, strict=False))
    fitting = set(order) <= part_of.keys() and len(set(order)) == len(order)
    return [part_of[name] for name in order] if fitting else []


def _external(draft: Draft, tensor: Node, reason: str) -> dict[str, Any]:
    name = tensor["name"].text()
    draft.remark(f"the input {name} is {reason}: its values are expected on the topic {name}")
    return {"term": "external", "topic": name, "size": tensor["shape"].last_axis()}
