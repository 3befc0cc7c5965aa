# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts observation terms with Isaac Lab's names to terms of the contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.action import driven_by_velocity
from model_tools.make.importers.draft import TODO, Draft, todo
from policy_core.bundle.height_scan import ScanGrid
from policy_core.bundle.terms import PERCEPTION, TERMS

_KNOWN = {
    "base_lin_vel": "base_lin_vel",
    "base_ang_vel": "base_ang_vel",
    "projected_gravity": "projected_gravity",
    "velocity_commands": "velocity_command",
    "keyboard_velocity_commands": "velocity_command",
    "velocity_command": "velocity_command",
    "joint_pos": "joint_pos",
    "joint_pos_rel": "joint_pos_rel",
    "joint_pos_rel_without_wheel": "joint_pos_rel",
    "joint_vel": "joint_vel",
    "joint_vel_rel": "joint_vel",
    "last_action": "last_action",
    "gait_phase": "phase",
    **{
        name: name
        for name in (
            "motion_joint_pos",
            "motion_joint_vel",
            "motion_anchor_pos_b",
            "motion_anchor_ori_b",
        )
    },
}
MOTION_COMMAND = "motion_command"
"""Function whose term holds the reference motion's joint positions, then its joint velocities."""
WITHOUT_WHEELS = "joint_pos_rel_without_wheel"
"""robot_lab's joint positions, with zeros for the wheels."""
_PERIODS = ("period", "cycle_time")
_ANY_COMMANDS = ("command", "generated_commands")
"""Names that a source uses for any kind of command."""
_UNCLEAR = {
    **dict.fromkeys(
        _ANY_COMMANDS,
        "velocity_command if {name} is vx, vy and yaw rate (you must then also set "
        "velocity_command.min and max); otherwise external, with topic and size",
    ),
    "command_lin_vel": "velocity_command with parts: [vx, vy] if {name} is that velocity; "
    "otherwise external, with topic and size",
    "command_ang_vel": "velocity_command with parts: [wz] if {name} is the yaw rate; otherwise "
    "external, with topic and size",
    "phase": "phase if {name} is the sine and cosine of a gait phase (add parts: [cos, sin] if the "
    "cosine comes first, and offsets and standing if it has them); otherwise external, with topic "
    "and size",
    **dict.fromkeys(
        ("height_scan", "height_scanner"),
        "height_scan if {name} is the height of the ground at points around the robot (you must "
        "then also state its scan; docs/perception.md lists what training environments mean by "
        "it); otherwise external, with topic and size",
    ),
    "image": "depth or image if {name} shows a camera's images (you must then also state its "
    "section, see docs/perception.md); otherwise external, with topic and size",
    "sin_phase": "phase with parts: [sin] if {name} is the sine of a gait phase (add offsets and "
    "standing if it has them); otherwise external, with topic and size",
    "cos_phase": "phase with parts: [cos] if {name} is the cosine of a gait phase (add offsets and "
    "standing if it has them); otherwise external, with topic and size",
}
"""Questions about ambiguous names."""
_EXTERNAL_SIZES = {
    "root_pos_w": 3,
    "root_quat_w": 4,
}
"""Sizes, by function, of the terms whose size does not depend on the robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTerm:
    """One term in the source; None for values that the source does not state."""

    name: str
    function: str
    """Isaac Lab's function name for the measured quantity."""
    size: int | None = None
    joints: Sequence[str] | None = None
    scale: Sequence[float] | None = (1.0,)
    clip: Sequence[float] | None = None
    history: int = 1
    """Number of frames, including the current tick's."""
    period_s: float | None = None
    reads: Sequence[str] | None = None
    """A phase's parameters other than its period; None if the source does not list them."""
    topic: str = ""
    scan: Mapping[str, Any] | None = None
    """The contract's section of a height scan; None if the source does not state it."""
    image: tuple[str, Mapping[str, Any]] | None = None
    """`depth` or `image`, and its section, without the keys that the source does not state."""
    doubt: str = ""
    """Question about the term's identity, if the source leaves it open."""


def _parts_of_motion(term: SourceTerm) -> list[SourceTerm]:
    if term.history > 1 or (term.scale is not None and len(set(term.scale)) > 1):
        raise ToolError(
            f"{term.name}: expected a motion command with one frame and one scale, found several "
            "frames or scales; write the contract by hand"
        )
    return [
        replace(term, name=f"{term.name}.{part}", function=f"motion_{part}")
        for part in ("joint_pos", "joint_vel")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermLayout:
    """Settings shared by all terms of an input; the defaults are Isaac Lab's."""

    layout: str = "per_term"
    order: str = "clip_then_scale"
    origin: str = ""
    frame_order: str = "oldest_first"
    init: str = "repeat"
    if_short: str = ""
    """Remedy if the source's terms have fewer values than the model's input."""


def put_observation(
    draft: Draft, name: str, width: int | None, terms: Sequence[SourceTerm], layout: TermLayout
) -> None:
    """Write the observation of one model input.

    mjlab's `motion_command` term becomes two terms in the contract.

    Args:
        draft: Draft that already has the joints and the action.
        name: Name of the model's input.
        width: Number of the input's values; None if the model does not state it.
        terms: Terms in the order of the vector.
        layout: Order of the frames, and order of clipping and scaling.
    """
    terms = [
        part
        for term in terms
        for part in (_parts_of_motion(term) if term.function == MOTION_COMMAND else [term])
    ]
    entries = [_entry(draft, term) for term in terms]
    _fit(draft, name, width, terms, entries, layout.if_short)
    for term, entry in zip(terms, entries, strict=True):
        _question(draft, term, entry)
    observation: dict[str, Any] = {"order": layout.order, **_history(terms, entries, layout)}
    key = ("observations", name)
    draft.put(key, observation)
    draft.put((*key, "terms"), entries, layout.origin)


def frames(length: Node | None) -> int:
    """Return a number of frames; in Isaac Lab, 0 or no value means 1."""
    return max(1, length.whole()) if length else 1


def scales(term: Node) -> Sequence[float]:
    """Return the `scale` of a term; 1 if null."""
    return scale.values() if (scale := term.get("scale")) else (1.0,)


def phase_settings(params: Node | None) -> tuple[float | None, list[str] | None]:
    """Return a phase's period (s) and the names of its other parameters; None if not stated."""
    if params is None:
        return None, None
    stated = {key: value for key, value in params.items() if value.value is not None}
    period = next((stated.pop(key) for key in _PERIODS if key in stated), None)
    return None if period is None else period.number(), list(stated)


def find_term(function: str) -> str:
    """Return the contract's term for a function; `external` if the function is unknown."""
    return _KNOWN.get(function, "external")


def _entry(draft: Draft, term: SourceTerm) -> dict[str, Any]:
    # A `phase` function with a period is a gait phase.
    is_phase = term.function == "phase" and term.period_s
    kind = "phase" if is_phase else "height_scan" if term.scan else find_term(term.function)
    entry: dict[str, Any] = {"term": kind}
    if term.image:
        kind, section = term.image
        entry = {"term": kind, "topic": f"{PERCEPTION}{term.name}", kind: dict(section)}
    if term.scan:
        entry |= {"topic": f"{PERCEPTION}{term.name}", "scan": dict(term.scan)}
    if kind == "external":
        entry |= {
            "topic": term.topic or term.name,
            "size": term.size
            or _EXTERNAL_SIZES.get(term.function)
            or todo(f"number of values of {term.name}"),
        }
    if kind == "phase":
        entry["period_s"] = term.period_s or todo("period of the phase, s")
        if kind != find_term(term.function):
            entry["parts"] = todo("order of the two values: [sin, cos] or [cos, sin]")
        if term.reads is None or term.reads:
            also = f"; the term reads {', '.join(term.reads)}" if term.reads else ""
            entry["standing"] = todo(
                "behavior of the phase while the robot is commanded to stand, as "
                "{below: 0.1, phase: "
                f"zero}}, or null if it continues{also}"
            )
    names = draft.find("joints.names")
    if term.joints is not None and term.joints != names and TERMS[kind].size == "joints":
        entry["joints"] = list(term.joints)
    if term.function == WITHOUT_WHEELS:
        entry["scale"] = _scale_without_wheels(draft, term)
    elif term.scale is None:
        entry["scale"] = todo(f"scale of {term.name}, one number or one for each value")
    elif set(term.scale) != {1.0}:
        entry["scale"] = term.scale[0] if len(set(term.scale)) == 1 else list(term.scale)
    if term.clip is not None:
        entry["clip"] = list(term.clip)
    return entry


def _scale_without_wheels(draft: Draft, term: SourceTerm) -> list[float] | dict[str, str]:
    """Return the scale of each joint, 0 for joints that the action commands by velocity.

    robot_lab zeros the values at the wheels' indices in the simulator's order, whatever the term's
    order. If other joints have those indices, or if the order is unknown, ask the user.
    """
    names, wheels = draft.find("joints.names"), driven_by_velocity(draft)
    joints = list(term.joints or names)
    still = [joint for joint in joints if joint in wheels]
    in_place = all(names.index(joint) == joints.index(joint) for joint in still)
    if term.scale is None or not still or not in_place:
        return todo(
            f"scale of {term.name}, one for each of {', '.join(joints)}: 0 where the training has "
            "zeros, at the wheels' places in the simulator's order"
        )
    draft.remark(
        f"the positions of the wheels {', '.join(still)} are 0 in {term.name}, because of their "
        "scale"
    )
    scale = list(term.scale) * (len(joints) if len(term.scale) == 1 else 1)
    return [0.0 if joint in wheels else each for joint, each in zip(joints, scale, strict=True)]


def _question(draft: Draft, term: SourceTerm, entry: dict[str, Any]) -> None:
    """Ask which term this is, or note that its values come from a topic."""
    if term.doubt:
        entry["term"] = todo(term.doubt)
    elif entry["term"] == "external" and _is_unclear(term, entry):
        for key in ("topic", "size"):
            del entry[key]
        entry["term"] = todo(_UNCLEAR[term.function].format(name=term.name))
    elif entry["term"] == "external":
        draft.remark(
            f"the observation term {term.name} ({term.function}) is not one of the contract's: "
            f"its values are expected on the topic {entry['topic']}"
        )


def _is_unclear(term: SourceTerm, entry: dict[str, Any]) -> bool:
    """Return whether an external term may be a term of the contract.

    A command may be such a term only if it has the size of a velocity command.
    """
    is_wide = isinstance(entry["size"], int) and entry["size"] != TERMS["velocity_command"].size
    return term.function in _UNCLEAR and not (term.function in _ANY_COMMANDS and is_wide)


def _history(
    terms: Sequence[SourceTerm], entries: Sequence[dict[str, Any]], layout: TermLayout
) -> dict[str, Any]:
    """Return the `history` section, empty for one frame; unequal lengths are put in the terms."""
    lengths = {term.history for term in terms}
    if lengths == {1}:
        return {}
    common = lengths.pop() if len(lengths) == 1 else 1
    if common == 1:
        if layout.layout != "per_term":
            raise ToolError(
                "history: expected the same length for all terms (the history consists of whole "
                "frames), found several lengths"
            )
        for term, entry in zip(terms, entries, strict=True):
            entry["history_length"] = term.history
    return {
        "history": {
            "length": common,
            "layout": layout.layout,
            "order": layout.frame_order,
            "init": layout.init,
        }
    }


def _fit(
    draft: Draft,
    name: str,
    width: int | None,
    terms: Sequence[SourceTerm],
    entries: Sequence[dict[str, Any]],
    if_short: str,
) -> None:
    """If one term's size is unknown, derive it from the input's width; check the sum of sizes."""
    if width is None:
        return
    sizes = [_size(draft, term, entry) for term, entry in zip(terms, entries, strict=True)]
    known = sum(size for size in sizes if size is not None)
    unknown = [i for i, size in enumerate(sizes) if size is None]
    if len(unknown) == 1 and "size" in entries[unknown[0]]:
        left, rest = divmod(width - known, terms[unknown[0]].history)
        if left > 0 and not rest:
            entries[unknown[0]]["size"] = left
            draft.remark(
                f"{terms[unknown[0]].name} fills the {left} of {width} values of {name} that the "
                "other terms do not fill"
            )
            return
    if known != width and not (unknown and known < width):
        found = ", ".join(
            f"{t.name} {'?' if s is None else s}" for t, s in zip(terms, sizes, strict=True)
        )
        remedy = f"; {if_short}" if if_short and known < width else ""
        raise ToolError(
            f"{draft.source}: observations: expected terms with {width} values in total for the "
            f"model's input {name}, found {known}: {found}{remedy}"
        )


def _action_count(draft: Draft) -> Any:
    """Return the number of action values; if the action terms are unknown, the output's size."""
    terms = draft.find("action.terms")
    if isinstance(terms, list):
        return sum(len(action["joints"]) for action in terms)
    shape = draft.find(("model", "outputs", draft.find("action.output"), "shape"))
    return math.prod(shape) if isinstance(shape, list) else todo("number of actions")


def _size(draft: Draft, term: SourceTerm, entry: Mapping[str, Any]) -> int | None:
    spec = TERMS[entry["term"]]
    size = spec.size
    if size == "joints":
        count: Any = len(entry.get("joints", draft.find("joints.names")))
    elif size == "actions":
        count = _action_count(draft)
    elif size == "phase":
        count = len(spec.parts)
    elif size == "scan":
        count = ScanGrid(**entry["scan"]["grid"]).count
    elif size == "camera":
        count = math.prod(entry[entry["term"]]["size"]) * (3 if entry["term"] == "image" else 1)
    else:
        count = entry["size"] if size == "external" else size
    return None if isinstance(count, dict) and TODO in count else int(count) * term.history
