# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LEAPP's kinds of tensors as terms of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_tools.importers.draft import Draft, todo
from model_tools.node import Node
from policy_inference.bundle.terms import TERMS

TARGETS = {
    "target/joint/position": "position",
    "joint_pos_targets": "position",
    "target/joint/velocity": "velocity",
    "joint_vel_targets": "velocity",
    "target/joint/effort": "effort",
    "joint_effort_targets": "effort",
}
_JOINT_TERMS = {"state/joint/position": "joint_pos", "state/joint/velocity": "joint_vel"}
_VECTORS: dict[str, dict[tuple[str, ...], str]] = {
    "state/body/angular_velocity": {("x", "y", "z"): "base_ang_vel"},
    "state/body/linear_velocity": {("x", "y", "z"): "base_lin_vel"},
    "command/body/velocity": {("lin_vel_x", "lin_vel_y", "ang_vel_z"): "velocity_command"},
    "state/body/rotation": {
        ("x", "y", "z", "w"): "base_quat_xyzw", ("qx", "qy", "qz", "qw"): "base_quat_xyzw",
        ("w", "x", "y", "z"): "base_quat_wxyz", ("qw", "qx", "qy", "qz"): "base_quat_wxyz",
    },
}  # fmt: skip
"""Terms by the order of their elements, by kind; of those with one order, some or others too."""


def elements(tensor: Node) -> list[str]:
    """Return the names of a tensor's values, empty where they are not stated.

    `element_names` has a list for each axis; axes without names have an empty one or none.
    """
    stated = tensor.get("element_names")
    axes = stated.elements() if stated else []
    return axes[-1].texts() if axes else []


def put_input(draft: Draft, tensor: Node, name: str, *, is_last_action: bool) -> None:
    """Write the observation of one model input: a single term of raw values."""
    kind = stated.text() if (stated := tensor.get("kind")) else ""
    if is_last_action:
        entry: dict[str, Any] = {"term": "last_action"}
    elif kind in _JOINT_TERMS:
        entry = _joint_term(draft, kind, elements(tensor))
    elif kind in _VECTORS:
        entry = _vector(draft, tensor, kind)
    else:
        entry = _external(draft, tensor, f"of the kind {kind or 'unknown'}")
    draft.put(("observations", name, "terms"), [entry], tensor.key)


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
        return {"term": todo(f"{' or '.join(known)}, by the order of its values")}
    return _external(draft, tensor, f"in the order {', '.join(order)}, which is not that of "
                     f"{' or '.join(known)}")


def _parts(terms: Mapping[tuple[str, ...], str], order: Sequence[str]) -> list[str]:
    """Return the contract's names of some of a vector's values, empty where they have none."""
    names, term = next(iter(terms.items()))
    part_of = dict(zip(names, TERMS[term].parts, strict=False))
    fitting = set(order) <= part_of.keys() and len(set(order)) == len(order)
    return [part_of[name] for name in order] if fitting else []


def _external(draft: Draft, tensor: Node, reason: str) -> dict[str, Any]:
    name = tensor["name"].text()
    draft.remark(f"the input {name} is {reason}: its values are expected on the topic {name}")
    return {"term": "external", "topic": name, "size": tensor["shape"].last_axis()}
