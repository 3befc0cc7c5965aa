# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Isaac Lab's IO descriptor (YAML), the most complete format; gains of explicit drives are 0.

Per-joint values are in the simulator's order, the order of the articulation's `joint_names`.
"""

from __future__ import annotations

import math

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.action import (
    KINDS,
    CustomAction,
    SourceAction,
    custom_action,
    put_action,
)
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.observation import (
    SourceTerm,
    TermLayout,
    frames,
    put_observation,
    scales,
)
from model_tools.make.importers.source import (
    POLICY_GROUP,
    Given,
    TrainingSource,
    find_model,
    put_model,
    single_input,
)

NAME = "isaaclab_io_descriptor"
_IF_SHORT = (
    "Isaac Lab omits terms without a description, such as height_scan, from this file; import "
    "params/env.yaml of the same run"
)
_A_TURN = 2.0 * math.pi


def recognise(source: TrainingSource) -> bool:
    return source.has("actions", "articulations", "observations")


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the descriptor."""
    given.refuse_joints(source, "joint_names")
    model = find_model(source, given)
    draft = Draft(source.path.name, model)
    root = source.root
    draft.put("rate_hz", round(1.0 / root["scene"]["dt"].positive(), 9), "1 / scene.dt")
    robot = _only(root["articulations"])
    _put_joints(draft, robot)
    tensors = put_model(draft)
    actions = [_action(draft, action) for action in root["actions"].elements()]
    put_action(draft, tensors.action, actions, "actions, in the order of the file")
    group = _group(root["observations"])
    name, width = single_input(model, tensors)
    put_observation(
        draft,
        name,
        width,
        [_term(draft, term) for term in group.elements()],
        TermLayout(origin=group.key, if_short=_IF_SHORT),
    )
    return draft


def _only(articulations: Node) -> Node:
    entries = articulations.items()
    if len(entries) != 1:
        raise articulations.wrong("one articulation")
    return entries[0][1]


def _group(observations: Node) -> Node:
    groups = dict(observations.items())
    if len(groups) == 1:
        return next(iter(groups.values()))
    return observations[POLICY_GROUP]


def _put_joints(draft: Draft, robot: Node) -> None:
    names = robot["joint_names"].texts()
    draft.put("joints.names", names, f"{robot.key}.joint_names, the simulator's order")
    position = robot["default_joint_pos"].numbers(len(names), "joints")
    draft.put("joints.default_position", position, f"{robot.key}.default_joint_pos")
    _put_limits(draft, robot, len(names))
    for key in ("stiffness", "damping"):
        _put_gain(draft, robot, key, len(names))


def _put_limits(draft: Draft, robot: Node, count: int) -> None:
    if limits := robot.get("default_joint_pos_limits"):
        rows = [row.numbers(2) for row in limits.elements()]
        if len(rows) != count:
            raise ToolError(
                f"{limits.file}: {limits.key}: expected {count} entries (one per joint), found "
                f"{len(rows)}"
            )
        draft.put("joints.position_min", [low for low, _ in rows], limits.key)
        draft.put("joints.position_max", [high for _, high in rows], limits.key)
        if any(max(abs(low), abs(high)) > _A_TURN for low, high in rows):
            draft.remark(
                f"{limits.key} lets joints turn more than once, as if the simulation had no "
                "limits; give the robot's limits with --set, as joints.position_min and "
                "joints.position_max"
            )
    for key, name in (("velocity_limit", "vel"), ("effort_limit", "effort")):
        if limit := robot.get(f"default_joint_{name}_limits"):
            draft.put(f"joints.{key}", limit.numbers(count, "joints"), limit.key)


def _put_gain(draft: Draft, robot: Node, key: str, count: int) -> None:
    """Write a gain unless it is 0, as it is for explicit drives and actuator networks."""
    gain = robot[f"default_joint_{key}"]
    values = gain.numbers(count, "joints")
    if any(values):
        draft.put(f"joints.{key}", values, gain.key)
    else:
        unit = "N·m/rad" if key == "stiffness" else "N·m·s/rad"
        draft.ask(
            f"joints.{key}",
            f"gain while the policy runs, {unit}; it is 0 in the simulator, where an actuator "
            "model computed the torque",
        )


def _action(draft: Draft, action: Node) -> SourceAction | CustomAction:
    name = action["full_path"].last_name()
    if custom := custom_action(name, action, "joint_names"):
        return custom
    joints = action["joint_names"].texts()
    if name not in KINDS:
        draft.block("action", f"{name} of {action.key} is not one of {', '.join(KINDS)}")
    clip = action.get("clip")
    return SourceAction(
        kind=KINDS.get(name, "position"),
        joints=joints,
        scale=_each(action.get("scale"), 1.0, len(joints)),
        offset=_each(action.get("offset"), 0.0, len(joints)),
        clip=[row.numbers(2) for row in clip.elements()] if clip else None,
    )


def _each(value: Node | None, default: float, count: int) -> list[float]:
    if value is None:
        return [default] * count
    if isinstance(value.value, list):
        return value.numbers(count, "joints")
    return [value.number()] * count


def _term(draft: Draft, term: Node) -> SourceTerm:
    function, overloads = term["full_path"].last_name(), term["overloads"]
    joints = term.get("joint_names")
    _check_modifiers(draft, term)
    _check_offsets(draft, term, function)
    return SourceTerm(
        name=term["name"].text(),
        function=function,
        size=term["shape"].last_axis(),
        joints=joints.texts() if joints else None,
        scale=scales(overloads),
        clip=clip.numbers(2) if (clip := overloads.get("clip")) else None,
        history=frames(overloads.get("history_length")),
    )


def _check_modifiers(draft: Draft, term: Node) -> None:
    extras = term.get("extras")
    if extras and extras.get("modifiers"):
        draft.block("observations", f"modifiers of {term['name'].text()}")


def _check_offsets(draft: Draft, term: Node, function: str) -> None:
    """Refuse nonzero default velocities, and positions relative to a non-default pose."""
    velocities = term.get("joint_vel_offsets")
    if velocities and any(velocities.numbers()):
        raise velocities.wrong("default velocities of 0 (the contract supports no others)")
    positions = term.get("joint_pos_offsets")
    if positions and function == "joint_pos_rel":
        default = dict(
            zip(draft.find("joints.names"), draft.find("joints.default_position"), strict=True)
        )
        joints = term["joint_names"].texts()
        if [default.get(joint) for joint in joints] != positions.numbers(len(joints), "joints"):
            raise positions.wrong("the articulation's default positions")
