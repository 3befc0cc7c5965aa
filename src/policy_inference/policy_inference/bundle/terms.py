# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The observation terms that a contract may name, as data.

A term is a slice of the robot's state with an optional offset, so that a whole observation is
one gather and one affine map. Adding a term that reads an existing field is one line in `TERMS`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from policy_inference.bundle.contract import JointContract, Term

Size = Literal["joints", "actions", "external", "phase", "output"] | int
Field = Literal[
    "joint_pos",
    "joint_vel",
    "quat_xyzw",
    "ang_vel_body",
    "lin_vel_body",
    "gravity_body",
    "velocity_command",
    "last_action",
    "last_output",
    "phase",
    "tick",
    "external",
]
_XYZ = ("x", "y", "z")


@dataclass(frozen=True, slots=True, kw_only=True)
class TermSpec:
    """Where the values of a term come from."""

    field: Field
    """Field of the robot's state; per-joint fields may be narrowed by the term's `joints`."""
    size: Size
    """Number of values, or what they are counted by."""
    minus_default: bool = False
    """Whether the default position is subtracted."""
    order: tuple[int, ...] | None = None
    """Places of the values in the field, where the term has them in another order."""
    parts: tuple[str, ...] = ()
    """Names of the field's values, of which a contract may choose some, in its own order."""
    doc: str


TERMS: dict[str, TermSpec] = {
    "base_ang_vel": TermSpec(
        field="ang_vel_body", size=3, parts=_XYZ, doc="Angular velocity, body, rad/s"
    ),
    "base_lin_vel": TermSpec(
        field="lin_vel_body", size=3, parts=_XYZ, doc="Linear velocity, body, m/s"
    ),
    "base_quat_xyzw": TermSpec(field="quat_xyzw", size=4, doc="Rotation body to world, x y z w"),
    "base_quat_wxyz": TermSpec(
        field="quat_xyzw", size=4, order=(3, 0, 1, 2), doc="Rotation body to world, w x y z"
    ),
    "projected_gravity": TermSpec(
        field="gravity_body",
        size=3,
        parts=_XYZ,
        doc="Direction of gravity, body; upright is 0, 0, -1",
    ),
    "velocity_command": TermSpec(
        field="velocity_command",
        size=3,
        parts=("vx", "vy", "wz"),
        doc="Wanted vx, vy in m/s and yaw rate in rad/s, body",
    ),
    "joint_pos": TermSpec(field="joint_pos", size="joints", doc="Joint positions, rad"),
    "joint_pos_rel": TermSpec(
        field="joint_pos", size="joints", minus_default=True, doc="Positions minus default, rad"
    ),
    "joint_vel": TermSpec(field="joint_vel", size="joints", doc="Joint velocities, rad/s"),
    "last_action": TermSpec(field="last_action", size="actions", doc="Previous raw output"),
    "last_output": TermSpec(
        field="last_output",
        size="output",
        doc="Value of the model's other output `output` in the tick before, 0 at the first",
    ),
    "phase": TermSpec(
        field="phase",
        size="phase",
        parts=("sin", "cos"),
        doc="sin, then cos, of 2 pi (t / period_s + offset) of each offset, t since RUN began",
    ),
    "tick": TermSpec(field="tick", size=1, doc="Ticks since RUN began, 0 at the first"),
    "external": TermSpec(
        field="external", size="external", doc="Vector of `size` values from the topic `topic`"
    ),
}


def term_names(term: Term, contract: JointContract) -> Sequence[str]:
    """Return a name for each value of a registered term."""
    spec = TERMS[term.term]
    if spec.size == "joints":
        return term.joints or contract.joints.names
    if spec.size == "actions":
        return [joint for action in contract.action.terms for joint in action.joints]
    if term.parts and spec.parts:
        feet = range(len(term.offsets or (0.0,)))
        return [
            f"{term.term}[{part}{foot if len(feet) > 1 else ''}]"
            for part in term.parts
            for foot in feet
        ]
    return [f"{term.term}[{i}]" for i in range(_size(term, spec, contract))]


def _size(term: Term, spec: TermSpec, contract: JointContract) -> int:
    """Return the number of values of a term that are neither joints' nor actions'."""
    if spec.size == "phase":
        return len(spec.parts) * len(term.offsets or (0.0,))
    if spec.size == "output":
        tensor = contract.model.outputs.get(term.output or "")
        return math.prod(tensor.shape) if tensor else 0
    return term.size or 0 if spec.size == "external" else int(spec.size)


def term_places(term: Term, contract: JointContract) -> Sequence[int]:
    """Return the place of each value of a term, which is valid, in its field of the state."""
    spec, names = TERMS[term.term], contract.joints.names
    if spec.size == "joints":
        return [names.index(name) for name in term.joints or names]
    if term.parts:
        feet = len(term.offsets or (0.0,))
        return [spec.parts.index(part) * feet + foot for part in term.parts for foot in range(feet)]
    return spec.order or range(len(term_names(term, contract)))
