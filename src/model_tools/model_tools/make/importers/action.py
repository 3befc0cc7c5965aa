# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts Isaac Lab-style action terms and velocity command ranges to the contract."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.draft import Draft, flow_text, todo
from policy_core.bundle.resolve import name_pattern

KINDS = {
    "JointPositionAction": "position",
    "JointVelocityAction": "velocity",
    "JointEffortAction": "effort",
}
OUT_OF_REACH = 50.0
"""No joint moves this far (rad; eight turns), so a target clip beyond this has no effect."""
_AXES = (("lin_vel_x",), ("lin_vel_y",), ("ang_vel_z", "ang_vel_yaw"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAction:
    """A joint action, as in Isaac Lab: target = clip(offset + scale x output), per joint."""

    kind: str
    joints: Sequence[str]
    scale: Sequence[float]
    offset: Sequence[float]
    clip: Sequence[Sequence[float]] | None = None
    """Minimum and maximum *target* of each joint."""
    output_clip: Sequence[Sequence[float]] | None = None
    """Minimum and maximum output of each joint, before scale and offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomAction:
    """An action defined by the training's own code; only its class name and keys are known."""

    name: str
    keys: Sequence[str]


def custom_action(name: str, action: Node, *needed: str) -> CustomAction | None:
    """Return the action if its class is unknown and it lacks a needed key; otherwise None."""
    keys = tuple(action.mapping())
    if name in KINDS or all(key in keys for key in needed):
        return None
    return CustomAction(name=name, keys=keys)


def put_action(
    draft: Draft,
    output: str | None,
    actions: Sequence[SourceAction | CustomAction],
    origin: str,
) -> None:
    """Write the action's output and terms to a draft that has default positions and tensors."""
    if output is not None:
        draft.put("action.output", output)
    draft.ask("action.output", "model output that commands the joints")
    known = [action for action in actions if isinstance(action, SourceAction)]
    terms = [term for action in known for term in _terms(draft, action)]
    own = [action for action in actions if isinstance(action, CustomAction)]
    if own:
        draft.put("action.terms", todo(_own_code(own, terms)))
        return
    draft.put("action.terms", terms, origin)
    _check_width(draft, output, sum(len(action.joints) for action in known))


def driven_by_velocity(draft: Draft) -> set[str]:
    """Return the joints that the action commands by velocity, such as wheels."""
    terms, names = draft.find("action.terms"), draft.find("joints.names")
    stated = [
        key
        for term in (terms if isinstance(terms, list) else ())
        if isinstance(term, dict) and term.get("kind") == "velocity"
        for key in term.get("joints", ())
    ]
    return {name for name in names if any(name == key or _matches(key, name) for key in stated)}


def _matches(key: Any, name: str) -> bool:
    """Return whether a pattern matches a name; false if invalid, which the loader refuses."""
    try:
        return bool(name_pattern(str(key)).fullmatch(name))
    except ValueError:
        return False


def _own_code(own: Sequence[CustomAction], others: Sequence[dict[str, Any]]) -> str:
    """Return the question about actions that only the training's own code defines."""
    found = "; ".join(f"{each.name} (keys {', '.join(each.keys) or 'none'})" for each in own)
    also = f"; the other actions are {flow_text(list(others))}" if others else ""
    return (
        "meaning of the output's values, in order, as [{joints: [...], kind: position, scale: "
        f"0.25, offset: default_position}}, ...]; the training uses a custom action, {found}{also}"
    )


def _check_width(draft: Draft, output: str | None, joints: int) -> None:
    shape = draft.find(("model", "outputs", output, "shape")) if output is not None else None
    if isinstance(shape, list) and math.prod(shape) != joints:
        raise ToolError(
            f"{draft.source}: actions: expected {math.prod(shape)} joints for the "
            f"model's output {output} {shape}, found {joints}"
        )


def _terms(draft: Draft, action: SourceAction) -> Iterator[dict[str, Any]]:
    """Yield a term for each run of joints with the same clip of the raw output.

    The contract clips the output, whereas Isaac Lab clips the target, so equal target clips become
    different output clips where offsets differ.
    """
    clips = _raw_clips(draft, action)
    rows = enumerate(zip(action.joints, clips, strict=True))
    for clip, group in itertools.groupby(rows, key=lambda row: row[1][1]):
        places = [place for place, _ in group]
        joints = [action.joints[i] for i in places]
        term: dict[str, Any] = {"joints": joints, "kind": action.kind}
        scale = [action.scale[i] for i in places]
        if set(scale) != {1.0}:
            term["scale"] = scale[0] if len(set(scale)) == 1 else scale
        term |= _offset(draft, action.kind, joints, [action.offset[i] for i in places])
        yield term | ({} if clip is None else {"clip": list(clip)})


def _raw_clips(draft: Draft, action: SourceAction) -> list[tuple[float, float] | None]:
    if action.output_clip is not None:
        return [(low, high) for low, high in action.output_clip]
    if action.clip is None:
        return [None] * len(action.joints)
    if len(action.clip) != len(action.joints):
        raise ToolError(
            f"{draft.source}: actions: expected a clip for each of "
            f"{len(action.joints)} joints, found {len(action.clip)}"
        )
    if action.kind == "position" and all(
        abs(end) >= OUT_OF_REACH for ends in action.clip for end in ends
    ):
        draft.remark(
            f"the clip of targets at {action.clip[0][0]:g} to {action.clip[0][1]:g} rad "
            "is left out: no joint reaches it"
        )
        return [None] * len(action.joints)
    if not all(action.scale):
        raise ToolError(
            f"{draft.source}: actions: expected a scale other than 0 where targets are "
            "clipped, found 0"
        )
    clips: list[tuple[float, float] | None] = []
    for ends, scale, offset in zip(action.clip, action.scale, action.offset, strict=True):
        low, high = sorted((end - offset) / scale for end in ends)
        clips.append((round(low, 9), round(high, 9)))
    return clips


def _offset(
    draft: Draft, kind: str, joints: Sequence[str], offset: Sequence[float]
) -> dict[str, Any]:
    """Return a term's `offset` entry: `default_position` or numbers; empty if all are 0."""
    names, default = draft.find("joints.names"), draft.find("joints.default_position")
    positions = dict(zip(names, default, strict=True)) if isinstance(default, list) else {}
    if kind == "position" and [positions.get(joint) for joint in joints] == list(offset):
        return {"offset": "default_position"}
    if not any(offset):
        return {}
    return {"offset": offset[0] if len(set(offset)) == 1 else list(offset)}


def put_velocity_range(draft: Draft, commands: Sequence[Node]) -> None:
    """Write the range of the only command that has ranges for all three axes.

    Args:
        draft: Draft to change if a term reads the command, or may read it because terms are still
            unknown.
        commands: Sections with a `ranges` key, or the ranges themselves.
    """
    terms = [term["term"] for _, term in draft.terms()]
    if terms and not any(term == "velocity_command" or isinstance(term, dict) for term in terms):
        return
    found = [ends for ends in map(_ends, commands) if ends is not None]
    if len(found) == 1:
        ends, key = found[0]
        draft.put(
            "velocity_command",
            {"min": [low for low, _ in ends], "max": [high for _, high in ends]},
            key,
        )


def _ends(command: Node) -> tuple[list[list[float]], str] | None:
    if not isinstance(command.value, dict):
        return None
    ranges = command.get("ranges") or command
    axes = [next((axis for name in names if (axis := ranges.get(name))), None) for names in _AXES]
    ends = [axis.numbers(2) for axis in axes if axis is not None]
    return (ends, ranges.key) if len(ends) == len(_AXES) else None
