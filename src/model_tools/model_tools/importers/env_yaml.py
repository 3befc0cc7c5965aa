# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`env.yaml` of an Isaac Lab run folder: the configuration before the robot was loaded.

Values per joint are patterns over the robot's joints. Their names and order are those of the USD
file; only a policy whose action lists its joints by name and keeps their order says them here.
Position limits are not in this file.
"""

from __future__ import annotations

from collections.abc import Sequence

from model_tools.errors import ToolError
from model_tools.importers.action import KINDS, SourceAction, put_action
from model_tools.importers.actuators import put_actuators
from model_tools.importers.draft import Draft
from model_tools.importers.env_terms import policy_terms
from model_tools.importers.joints import is_pattern, resolve_names, resolve_values
from model_tools.importers.model_section import put_model, single_input
from model_tools.importers.observation import Layout, put_observation
from model_tools.importers.ranges import put_velocity_range
from model_tools.importers.source import Given, Source, model_of
from model_tools.node import Node

NAME = "isaaclab_env_yaml"


def recognise(source: Source) -> bool:
    """Return whether the file has the sections of a manager-based environment."""
    return source.has("sim", "decimation", "scene", "observations", "actions")


def read(source: Source, given: Given) -> Draft:
    """Return what the configuration says.

    Raises:
        ToolError: Something is missing or does not fit, or the joints were not given.
    """
    draft, model, root = Draft(source.path.name), model_of(source, given), source.root
    period_s = root["sim"]["dt"].positive() * root["decimation"].positive()
    draft.put("rate_hz", round(1.0 / period_s, 9), "1 / (sim.dt x decimation)")
    actions = root.section("actions")
    names = _joint_names(actions, given)
    draft.put("joints.names", names, "given by the user" if given.joints
              else "actions.*.joint_names, which keep their order")
    robot = root["scene"]["robot"]
    _put_default(draft, robot["init_state"], names)
    put_actuators(draft, robot["actuators"], names)
    tensors = put_model(draft, model)
    put_action(draft, tensors.action, [_action(draft, entry, names) for entry in actions],
               "actions, patterns resolved")
    name, width = single_input(model, tensors)
    terms = policy_terms(draft, root, names, simulator_order=given.joints is not None)
    put_observation(draft, name, width, terms, Layout(origin="observations.policy"))
    put_velocity_range(draft, root.section("commands"))
    return draft


def _joint_names(actions: Sequence[Node], given: Given) -> list[str]:
    """Return the joints in the simulator's order, or as the actions list them."""
    if given.joints is not None:
        return given.joints.in_simulator_order()
    names = [name for action in actions for name in action["joint_names"].texts()]
    kept = all(action.flag("preserve_order") for action in actions)
    if not names or not kept or any(map(is_pattern, names)):
        raise ToolError("actions: expected the robot's joints, which this file names by patterns "
                        "or without their order; give all of them in the simulator's order with "
                        "--joints")
    return names


def _put_default(draft: Draft, state: Node, names: Sequence[str]) -> None:
    velocities = state.get("joint_vel")
    if velocities and any(resolve_values(velocities, names).values()):
        raise velocities.wrong("default velocities of 0, the only ones that the contract has")
    positions = state["joint_pos"]
    values = resolve_values(positions, names)
    draft.put("joints.default_position", [values.get(name, 0.0) for name in names],
              f"{positions.key}, patterns resolved; 0 where none matches, as Isaac Lab has it")


def _action(draft: Draft, action: Node, names: Sequence[str]) -> SourceAction:
    kind = action["class_type"].last_name()
    if kind not in KINDS:
        draft.block("action", f"{kind} of {action.key} is none of {', '.join(KINDS)}")
    joints = resolve_names(action["joint_names"], names, keep_order=action.flag("preserve_order"))
    scale = resolve_values(action["scale"], joints) if action.get("scale") else {}
    return SourceAction(
        kind=KINDS.get(kind, "position"), joints=joints,
        scale=[scale.get(joint, 1.0) for joint in joints],
        offset=_offset(draft, action, joints), clip=_clip(action, joints),
    )


def _offset(draft: Draft, action: Node, joints: Sequence[str]) -> list[float]:
    if action.flag("use_default_offset"):
        positions = dict(zip(draft.find("joints.names"), draft.find("joints.default_position"),
                             strict=True))
        return [positions[joint] for joint in joints]
    values = resolve_values(action["offset"], joints) if action.get("offset") else {}
    return [values.get(joint, 0.0) for joint in joints]


def _clip(action: Node, joints: Sequence[str]) -> list[list[float]] | None:
    """Return the ends of each joint's target; Isaac Lab leaves joints without a pattern free."""
    clip = action.get("clip")
    if clip is None:
        return None
    ends = [resolve_values(Node(clip.file, {pattern: row.numbers(2)[side]
                                            for pattern, row in clip.items()}, clip.key), joints)
            for side in (0, 1)]
    if len(ends[0]) != len(joints):
        raise clip.wrong("a pattern for each joint of the action")
    return [[ends[0][joint], ends[1][joint]] for joint in joints]
