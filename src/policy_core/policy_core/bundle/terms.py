# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observation terms that a contract may name, as data.

A term is a slice of the robot state with an optional offset, so a whole observation takes one
gather and one affine map. Each state field defines a term with its values unchanged; every other
term is an entry in `TERMS`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from policy_core.bundle.camera_image import AnyImage
from policy_core.bundle.contract import Graph, JointContract, Term
from policy_core.bundle.state_fields import STATE_FIELDS, StateField

Size = Literal["joints", "actions", "external", "scan", "camera", "phase", "output"] | int
PERCEPTION = "perception/"
"""Prefix of the topics for perception vectors (policy_msgs/Perceived); see `is_perceived`."""
OWN_FIELDS = (
    "last_action",
    "last_output",
    "phase",
    "tick",
    "motion_joint_pos",
    "motion_joint_vel",
    "motion_anchor_pos",
    "motion_anchor_ori",
)
"""State fields that the policy itself computes from tick to tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermSpec:
    """Definition of a term: the state field and the values that it is made of."""

    field: str
    """A name from `STATE_FIELDS` or `OWN_FIELDS`, or `external` for the vector on the term's topic.
    The term's `joints` may select values from per-joint fields.
    """
    size: Size
    """Number of values, or what determines that number, such as `joints`."""
    minus_default: bool = False
    """True to subtract the default position."""
    order: tuple[int, ...] | None = None
    """Index in the field for each value, if the term has a different order."""
    parts: tuple[str, ...] = ()
    """Names of the field's values; a contract may select some of them, in its own order."""
    doc: str


def is_perceived(topic: str) -> bool:
    """Return True if a topic carries perception rather than the robot's own state."""
    return topic.startswith(PERCEPTION)


def _plain(field: StateField) -> TermSpec:
    """Return the term that holds a field's values unchanged."""
    doc = ", ".join(filter(None, (field.doc, field.frame, field.unit)))
    return TermSpec(field=field.name, size=field.size, parts=field.parts, doc=doc)


TERMS: dict[str, TermSpec] = {
    **{field.term: _plain(field) for field in STATE_FIELDS.values() if field.term},
    "base_quat_wxyz": TermSpec(
        field="quat_xyzw", size=4, order=(3, 0, 1, 2), doc="Orientation, body to world, w first"
    ),
    "joint_pos_rel": TermSpec(
        field="joint_pos", size="joints", minus_default=True, doc="Positions minus default, rad"
    ),
    "last_action": TermSpec(field="last_action", size="actions", doc="Previous raw output"),
    "last_output": TermSpec(
        field="last_output",
        size="output",
        doc="Value of the model's other output `output` in the previous tick, 0 in the first",
    ),
    "phase": TermSpec(
        field="phase",
        size="phase",
        parts=("sin", "cos"),
        doc="sin, then cos, of 2 pi (t / period_s + offset) for each offset; t: time since RUN "
        "began",
    ),
    "tick": TermSpec(field="tick", size=1, doc="Ticks since RUN began, 0 in the first"),
    "motion_joint_pos": TermSpec(
        field="motion_joint_pos", size="joints", doc="Positions of the reference motion, rad"
    ),
    "motion_joint_vel": TermSpec(
        field="motion_joint_vel", size="joints", doc="Velocities of the reference motion, rad/s"
    ),
    "motion_anchor_pos_b": TermSpec(
        field="motion_anchor_pos",
        size=3,
        doc="Position of the reference's anchor, in the frame of the robot's anchor, m",
    ),
    "motion_anchor_ori_b": TermSpec(
        field="motion_anchor_ori",
        size=6,
        doc="Orientation of the reference's anchor, in the frame of the robot's anchor: the first "
        "two columns of the rotation matrix, row by row",
    ),
    "external": TermSpec(
        field="external", size="external", doc="Vector of `size` values from the topic `topic`"
    ),
    "height_scan": TermSpec(
        field="external",
        size="scan",
        doc="Height of the ground at the points of `scan`, as defined there, m; from the topic "
        "`topic`",
    ),
    "depth": TermSpec(
        field="external",
        size="camera",
        doc="Pixels of the images of `depth`, row by row, or the output of `encoder`; from the "
        "topic `topic`",
    ),
    "image": TermSpec(
        field="external",
        size="camera",
        doc="Pixels of the color images of `image`, or the output of `encoder`; from the topic "
        "`topic`",
    ),
}


def is_of_motion(term: Term) -> bool:
    """Return True if a registered term contains the reference motion."""
    return TERMS[term.term].field.startswith("motion_")


def is_of_anchor(term: Term) -> bool:
    """Return True if a registered term compares the robot's anchor with the reference motion's."""
    return TERMS[term.term].field.startswith("motion_anchor_")


def term_names(term: Term, contract: JointContract) -> Sequence[str]:
    """Return a name for each value in a registered term."""
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
    """Return the number of values in a term that is neither per joint nor per action value."""
    if spec.size == "phase":
        return len(spec.parts) * len(term.offsets or (0.0,))
    if spec.size == "output":
        tensor = contract.model.outputs.get(term.output or "")
        return math.prod(tensor.shape) if tensor else 0
    if spec.size == "scan":
        return 0 if term.scan is None else term.scan.count
    if spec.size == "camera":
        image = term.camera_image
        return 0 if image is None else perceived_size(image, term.encoder)
    return term.size or 0 if spec.size == "external" else int(spec.size)


def perceived_size(image: AnyImage, encoder: Graph | None) -> int:
    """Return the number of values that a policy receives from a camera's images."""
    if encoder is None:
        return image.count
    return sum(math.prod(tensor.shape) for tensor in encoder.outputs.values())


def term_places(term: Term, contract: JointContract) -> Sequence[int]:
    """Return, for each value of a valid term, its index in the term's state field."""
    spec, names = TERMS[term.term], contract.joints.names
    if spec.size == "joints":
        return [names.index(name) for name in term.joints or names]
    if term.parts:
        feet = len(term.offsets or (0.0,))
        return [spec.parts.index(part) * feet + foot for part in term.parts for foot in range(feet)]
    return spec.order or range(len(term_names(term, contract)))
