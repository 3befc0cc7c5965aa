# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX metadata: comma-separated lists (rsl_rl and relatives) or JSON (holosoma).

The metadata contain the names of the observation terms, but no measured quantities, scales or rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_tools.errors import ToolError
from model_tools.files.baked import baked_actions
from model_tools.files.foreign import Node
from model_tools.files.onnx_model import OnnxModel
from model_tools.make.importers.action import SourceAction, put_action, put_velocity_range
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.observation import (
    MOTION_COMMAND,
    SourceTerm,
    TermLayout,
    put_observation,
)
from model_tools.make.importers.robot_file import put_robot_limits, read_urdf
from model_tools.make.importers.source import (
    Given,
    TrainingSource,
    find_model,
    put_model,
    single_input,
)
from policy_core.bundle.terms import TERMS

NAME = "onnx_metadata"
_KEYS = {
    "names": ("joint_names", "dof_names"),
    "stiffness": ("joint_stiffness", "kp"),
    "damping": ("joint_damping", "kd"),
    "position": ("default_joint_pos",),
}
_SCALE, _URDF = "action_scale", "robot_urdf"
_LENGTHS = "observation_history_lengths"
_ANCHOR, _BODIES, _COMMAND = "anchor_body_name", "body_names", "command"
"""Metadata keys of a motion (BeyondMimic's exporter and relatives), and the name of the motion's
term.
"""
_DOUBTS = {"joint_pos": "joint_pos_rel, if the default position is subtracted; else joint_pos"}
_FUNCTIONS = {"actions": "last_action"}


def recognise(source: TrainingSource) -> bool:
    """Return whether a file is an ONNX model with joint names in its metadata."""
    return source.model is not None and any(source.has(key) for key in _KEYS["names"])


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the metadata."""
    model, root = find_model(source, given), source.root
    given.refuse_joints(source, _first(root, "names").key)
    draft = Draft(source.path.name, model)
    names = _list(_first(root, "names")).texts()
    draft.put("joints.names", names, _first(root, "names").key)
    for field, key in (
        ("position", "default_position"),
        ("stiffness", "stiffness"),
        ("damping", "damping"),
    ):
        _put_values(draft, root, field, f"joints.{key}", names)
    if run := root.get("run_path"):
        draft.put("provenance.source", run.text(), run.key)
    if anchor := root.get(_ANCHOR):
        draft.put("motion.anchor.body", anchor.text(), anchor.key)
    tensors = put_model(draft)
    _put_action(draft, model, root, tensors.action, names)
    _put_observation(draft, root, *single_input(model, tensors))
    if ranges := root.get("command_ranges"):
        put_velocity_range(draft, [ranges.json()])
    if urdf := root.get(_URDF):
        _put_limits(draft, urdf)
    return draft


def require_same_joints(draft: Draft) -> None:
    """Raise unless a model's metadata, if any, names the draft's joints in the same order."""
    model = draft.model
    root = Node(model.path.name, model.metadata)
    if not any(name in model.metadata for name in _KEYS["names"]):
        return
    stated, names = _list(_first(root, "names")), draft.find("joints.names")
    if stated.texts() != names:
        raise ToolError(
            f"{draft.source}: expected the joints of {model.path.name} ({stated.key}: "
            f"{', '.join(stated.texts())}), found {', '.join(names)}"
        )


def stated_names(metadata: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the joint names and body names in a model's metadata; each may be empty."""
    root = Node("metadata", metadata)
    joints = next((root[key] for key in _KEYS["names"] if key in metadata), None)
    bodies = root[_BODIES] if _BODIES in metadata else None
    return _list(joints).texts() if joints else [], _list(bodies).texts() if bodies else []


def _first(root: Node, field: str) -> Node:
    return next((root[key] for key in _KEYS[field] if key in root.mapping()), root)


def _put_values(draft: Draft, root: Node, field: str, key: str, names: Sequence[str]) -> None:
    if any(name in root.mapping() for name in _KEYS[field]):
        stated = _first(root, field)
        draft.put(key, _list(stated).numbers(len(names), "joints"), stated.key)


def _put_action(
    draft: Draft, model: OnnxModel, root: Node, output: str | None, names: Sequence[str]
) -> None:
    scales = _scales(root, names)
    put_action(
        draft,
        output,
        [
            SourceAction(
                kind="position",
                joints=names,
                scale=scales or [1.0] * len(names),
                offset=[0.0] * len(names),
            )
        ],
        f"{_SCALE}, in the order of the joint names" if scales else "",
    )
    ask_action(draft, model, output, has_scale=bool(scales))


def ask_action(
    draft: Draft, model: OnnxModel, output: str | None, *, has_scale: bool = False
) -> None:
    """Ask about the only action term, with hints from the graph.

    Args:
        draft: Draft to change; already has the term with its joints.
        model: The model.
        output: Output of the action.
        has_scale: True if the term has a scale; the user is then asked for it only if the graph
            scales too.
    """
    key = ("action", "terms", 0)
    about = "".join(
        f"; {found.advice}"
        for found in baked_actions(model)
        if found.nodes and found.output == output
    )
    draft.put(
        (*key, "kind"),
        todo(
            "position, velocity or effort; if wheels are commanded by velocity, answer "
            "action.terms as [{joints: [.*_leg], kind: position, ...}, {joints: [.*_wheel], "
            "kind: velocity, ...}]"
        ),
    )
    if not has_scale or about:
        draft.put(
            (*key, "scale"),
            todo(
                "the training's factor for the model's output, one number or one for each "
                f"joint{about}"
            ),
        )
    draft.put(
        (*key, "offset"), todo(f"target for an output of 0: default_position, or numbers{about}")
    )


def _scales(root: Node, names: Sequence[str]) -> list[float]:
    if _SCALE not in root.mapping():
        return []
    scales = _list(root[_SCALE]).numbers()
    if len(scales) not in {1, len(names)}:
        raise root[_SCALE].wrong(f"one value or {len(names)} (joints)")
    return scales * (len(names) // len(scales))


def _put_observation(draft: Draft, root: Node, name: str, width: int | None) -> None:
    if terms := root.get("observation_names"):
        names = _list(terms).texts()
        lengths = (
            [max(1, length.whole()) for length in _list(stated).elements()]
            if (stated := root.get(_LENGTHS))
            else [1] * len(names)
        )
        if len(lengths) != len(names):
            raise root[_LENGTHS].wrong(f"{len(names)} values (one for each of {terms.key})")
        functions = _FUNCTIONS
        if _ANCHOR in root.mapping():
            functions = {**functions, _COMMAND: MOTION_COMMAND}
        found = [
            SourceTerm(
                name=each,
                function=functions.get(each, each),
                scale=None,
                history=length,
                doubt=_DOUBTS.get(each, ""),
            )
            for each, length in zip(names, lengths, strict=True)
        ]
        put_observation(draft, name, width, found, TermLayout(origin=terms.key))
        return
    ask_terms(draft, name, width)


def ask_terms(draft: Draft, name: str, width: int | None) -> None:
    """Ask for the terms of a model input."""
    values = "its values" if width is None else f"its {width} values"
    draft.put(
        ("observations", name, "terms"),
        todo(
            f"the terms that fill {values}, in order, as [{{term: base_ang_vel, scale: 0.25}}, "
            f"...], each one of {', '.join(TERMS)}; plus order and history where they differ from "
            "the contract's defaults"
        ),
    )


def _put_limits(draft: Draft, urdf: Node) -> None:
    """Write the robot's limits from the URDF in the metadata; note an unreadable URDF."""
    try:
        text = urdf.json().text() if urdf.text().startswith('"') else urdf.text()
        put_robot_limits(draft, read_urdf(text, urdf.key), urdf.key)
    except ToolError as error:
        draft.remark(f"no limits are taken from the metadata: {error}")


def _list(value: Node) -> Node:
    """Return a list that was written as JSON or as comma-separated text."""
    written = value.text()
    if written.lstrip().startswith("["):
        return value.json()
    items: list[object] = [_number(item.strip()) for item in written.split(",")]
    return Node(value.file, items, value.key)


def _number(item: str) -> object:
    try:
        return float(item)
    except ValueError:
        return item
