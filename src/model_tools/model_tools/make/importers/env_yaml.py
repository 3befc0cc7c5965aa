# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`env.yaml` of an Isaac Lab run folder: the configuration before the robot was loaded.

Per-joint values are patterns over the robot's joints, whose names and order are in the USD file.
The configuration states names and order only if the action lists its joints by name and preserves
their order. Position limits are not in this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.action import (
    KINDS,
    CustomAction,
    SourceAction,
    custom_action,
    put_action,
    put_velocity_range,
)
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.joints import (
    is_pattern,
    resolve_names,
    resolve_values,
)
from model_tools.make.importers.observation import (
    MOTION_COMMAND,
    WITHOUT_WHEELS,
    SourceTerm,
    TermLayout,
    find_term,
    frames,
    phase_settings,
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
from model_tools.make.importers.unitree_joints import short_name
from policy_core.bundle.terms import TERMS

NAME = "isaaclab_env_yaml"
_KEYS = {
    "stiffness": ("stiffness",),
    "damping": ("damping",),
    # Explicit drives have the first key, implicit ones the second; if both are present, they agree.
    "effort_limit": ("effort_limit", "effort_limit_sim"),
    "velocity_limit": ("velocity_limit", "velocity_limit_sim"),
}

_SETTINGS = (
    "concatenate_terms",
    "concatenate_dim",
    "enable_corruption",
    "history_length",
    "flatten_history_dim",
)
_VELOCITY_COMMANDS = (
    "UniformVelocityCommand",
    "NormalVelocityCommand",
    "UniformLevelVelocityCommand",
)
_ENDLESS_M = 1e6
"""Isaac Lab's default `max_distance` of rays."""
_MISS = (
    "value of a ray that hits nothing, before clip and scale of the term; the training has minus "
    "infinity and no clip"
)
_DEPTHS = {
    "depth": "depth",
    "distance_to_image_plane": "depth",
    "distance_to_camera": "distance",
}
"""Isaac Lab's depth data types, and what they measure."""
_FEWEST_SORTED = 4
_COMMANDS = ("generated_commands", "velocity_commands")


def recognise(source: TrainingSource) -> bool:
    return source.has("sim", "decimation", "scene", "observations", "actions")


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the configuration."""
    model, root = find_model(source, given), source.root
    if root["sim"].get("mujoco"):
        raise ToolError(
            f"{source.path.name}: expected an Isaac Lab configuration, found one from mjlab "
            "(sim.mujoco); import the .onnx that mjlab exports, whose metadata name the joints"
        )
    draft = Draft(source.path.name, model)
    period_s = root["sim"]["dt"].positive() * root["decimation"].positive()
    draft.put("rate_hz", round(1.0 / period_s, 9), "1 / (sim.dt x decimation)")
    actions = root.section("actions")
    names = _joint_names(actions, given)
    draft.put(
        "joints.names",
        names,
        "given by the user" if given.joints else "actions.*.joint_names, which keep their order",
    )
    if given.joints is not None:
        draft.remark(given.joints.describe_order(names))
    robot = root["scene"]["robot"]
    _put_default(draft, robot["init_state"], names)
    _put_actuators(draft, robot["actuators"], names)
    tensors = put_model(draft)
    put_action(
        draft,
        tensors.action,
        [_action(draft, entry, names) for entry in actions],
        "actions, patterns resolved",
    )
    name, width = single_input(model, tensors)
    terms = _policy_terms(draft, root, names, simulator_order=given.joints is not None)
    put_observation(draft, name, width, terms, TermLayout(origin="observations.policy"))
    _put_motion_command(draft, root, simulator_order=given.joints is not None)
    put_velocity_range(draft, root.section("commands"))
    return draft


def _joint_names(actions: Sequence[Node], given: Given) -> list[str]:
    """Return the joints in the simulator's order, or as the actions list them."""
    if given.joints is not None:
        names = given.joints.in_simulator_order()
        if robot := short_name(names):
            raise ToolError(
                "--joints: expected the joints' names in the simulator's order, or a URDF or "
                f"MJCF file, found {robot!r}, which is supported only for deploy.yaml"
            )
        return names
    stated = [found for action in actions if (found := action.get("joint_names"))]
    names = [name for each in stated for name in each.texts()]
    kept = all(action.flag("preserve_order") for action in actions)
    if not names or not kept or any(map(is_pattern, names)):
        raise ToolError(
            "actions: expected the robot's joints in order, found patterns, or names whose order "
            "is not stated; give all joints in the simulator's order with --joints"
        )
    return names


def _put_default(draft: Draft, state: Node, names: Sequence[str]) -> None:
    velocities = state.get("joint_vel")
    if velocities and any(resolve_values(velocities, names).values()):
        raise velocities.wrong("default velocities of 0 (the contract supports no others)")
    positions = state["joint_pos"]
    values = resolve_values(positions, names)
    draft.put(
        "joints.default_position",
        [values.get(name, 0.0) for name in names],
        f"{positions.key}, patterns resolved; 0 where none matches, as in Isaac Lab",
    )


def _action(draft: Draft, action: Node, names: Sequence[str]) -> SourceAction | CustomAction:
    kind = action["class_type"].last_name()
    if custom := custom_action(kind, action, "joint_names"):
        return custom
    if kind not in KINDS:
        draft.block("action", f"{kind} of {action.key} is not one of {', '.join(KINDS)}")
    joints = resolve_names(action["joint_names"], names, keep_order=action.flag("preserve_order"))
    scale = resolve_values(action["scale"], joints) if action.get("scale") else {}
    return SourceAction(
        kind=KINDS.get(kind, "position"),
        joints=joints,
        scale=[scale.get(joint, 1.0) for joint in joints],
        offset=_offset(draft, action, kind, joints),
        clip=_clip(action, joints),
    )


def _offset(draft: Draft, action: Node, kind: str, joints: Sequence[str]) -> list[float]:
    """Return the target for an output of 0.

    The default offset of a velocity action is the default velocities, which are 0.
    """
    if action.flag("use_default_offset"):
        if KINDS.get(kind) == "velocity":
            return [0.0] * len(joints)
        positions = dict(
            zip(draft.find("joints.names"), draft.find("joints.default_position"), strict=True)
        )
        return [positions[joint] for joint in joints]
    values = resolve_values(action["offset"], joints) if action.get("offset") else {}
    return [values.get(joint, 0.0) for joint in joints]


def _clip(action: Node, joints: Sequence[str]) -> list[list[float]] | None:
    """Return the limits of each joint's target; None if targets are not clipped."""
    clip = action.get("clip")
    if clip is None:
        return None
    ends = [
        resolve_values(
            Node(
                clip.file,
                {pattern: row.numbers(2)[side] for pattern, row in clip.items()},
                clip.key,
            ),
            joints,
        )
        for side in (0, 1)
    ]
    if len(ends[0]) != len(joints):
        raise clip.wrong("a pattern for each joint of the action")
    return [[ends[0][joint], ends[1][joint]] for joint in joints]


def _put_actuators(draft: Draft, groups: Node, names: Sequence[str]) -> None:
    """Write the actuator groups' values for each joint.

    If only some joints have a value, add a TODO for the rest.
    """
    members = {
        key: (group, resolve_names(group["joint_names_expr"], names, keep_order=False))
        for key, group in groups.items()
        if group.value is not None
    }
    _refuse_doubled(groups, [joint for _, joints in members.values() for joint in joints])
    for field, keys in _KEYS.items():
        values: dict[str, float] = {}
        for group, joints in members.values():
            values |= _values(group, keys, joints)
        _put(draft, field, values, names, groups.key)


def _values(group: Node, keys: Iterable[str], joints: Sequence[str]) -> dict[str, float]:
    stated = next((value for key in keys if (value := group.get(key))), None)
    return {} if stated is None else resolve_values(stated, joints)


def _put(
    draft: Draft, field: str, values: Mapping[str, float], names: Sequence[str], key: str
) -> None:
    missing = [name for name in names if name not in values]
    if not missing:
        draft.put(f"joints.{field}", [values[name] for name in names], f"{key}, by group")
    elif len(missing) < len(names):
        stated = {name: values[name] for name in names if name in values}
        draft.put(
            f"joints.{field}",
            {**stated, "TODO": f"values of {', '.join(missing)}"},
            f"{key}, by group",
        )


def _refuse_doubled(groups: Node, joints: Sequence[str]) -> None:
    doubled = sorted({joint for joint in joints if joints.count(joint) > 1})
    if doubled:
        raise ToolError(
            f"{groups.file}: {groups.key}: expected each joint in one group, found "
            f"{', '.join(doubled)} in several"
        )


def _policy_terms(
    draft: Draft, root: Node, names: Sequence[str], *, simulator_order: bool
) -> list[SourceTerm]:
    """Return the terms of the group that the policy reads, in the vector's order.

    Args:
        draft: Draft that collects settings that a contract cannot express.
        root: The whole configuration.
        names: The policy's joints.
        simulator_order: True if `names` are all joints of the robot, in the simulator's order.
    """
    group = root["observations"][POLICY_GROUP]
    _refuse_sorted(root, group)
    common = group.get("history_length")
    terms = [
        (name, term)
        for name, term in group.items()
        if name not in _SETTINGS and term.value is not None
    ]
    if not simulator_order:
        for _, term in terms:
            _refuse_simulator_order(term)
    found = [_term(draft, root, name, term, names, common) for name, term in terms]
    if _keeps_history(group):
        draft.block(
            "observations",
            "flatten_history_dim is false, so the input is a list of whole frames: state it in "
            "`history` (docs/bundle.md), then --drop observations.TODO",
        )
    for _, term in terms:
        if _keeps_history(term):
            raise Node(term.file, False, f"{term.key}.flatten_history_dim").wrong(
                "true, since a contract has no terms of two dimensions"
            )
    if not simulator_order:  # only that order determines where the wheels' zeros are
        found = [
            replace(term, scale=None) if term.function == WITHOUT_WHEELS else term for term in found
        ]
    return found


def _keeps_history(settings: Node) -> bool:
    return settings.mapping().get("flatten_history_dim") is False and (
        settings.mapping().get("history_length") not in (None, 0)
    )


def _put_motion_command(draft: Draft, root: Node, *, simulator_order: bool) -> None:
    """Write the anchor of the motion that the environment tracks, if any.

    The motion command has the joints in the order of the motion file, which the training's own
    tools write in the simulator's order. If `joints.names` is in another order, the motion's order
    becomes a question.
    """
    for path, term in draft.terms():
        if not simulator_order and str(term["term"]).startswith("motion_joint_"):
            draft.put(
                (*path, "joints"),
                todo("joints in the order of the motion's file, which this file does not state"),
            )
    for command in root.section("commands"):
        anchor = command.get("anchor_body_name")
        if anchor and _is_motion(command["class_type"].last_name()):
            draft.put("motion.anchor.body", anchor.text(), anchor.key)


def _is_motion(kind: str) -> bool:
    """Return whether a command's class is BeyondMimic's motion command or one derived from it."""
    return kind.endswith("MotionCommand")


def _refuse_sorted(root: Node, group: Node) -> None:
    """Raise if all keys are sorted, since a YAML tool that sorts keys loses the original order."""
    for node in (root, group):
        names = [name for name, _ in node.items()]
        if len(names) < _FEWEST_SORTED or names != sorted(names):
            return
    raise ToolError(
        f"{root.file}: expected keys in the training's order (which is the observation's order), "
        "found alphabetical order (YAML tools sort keys); use the file that the training run "
        "wrote"
    )


def _term(
    draft: Draft, root: Node, name: str, term: Node, names: Sequence[str], common: Node | None
) -> SourceTerm:
    if term.get("modifiers"):
        draft.block("observations", f"modifiers of {name}")
    clip = term.get("clip")
    function, topic = _function(root, term)
    period_s, reads = phase_settings(term.get("params"))
    return SourceTerm(
        name=name,
        function=function,
        topic=topic,
        joints=_joints(term, names),
        scale=scales(term),
        clip=clip.numbers(2) if clip else None,
        history=frames(common or term.get("history_length")),
        period_s=period_s,
        reads=reads,
        scan=_scan(root, term) if function == "height_scan" else None,
        image=_image(draft, root, term) if function == "image" else None,
    )


def _scan(root: Node, term: Node) -> dict[str, Any] | None:
    """Return the scan of a height scanner; None if its rays are not a grid.

    Isaac Lab's term is the sensor's height minus the ground's height and an offset. The sensor's
    own offset moves the points only in x and y, and does not change this height.
    """
    params = term["params"]
    config = params.get("sensor_cfg")
    sensor = root["scene"].get(config["name"].text()) if config else None
    pattern = sensor.get("pattern_cfg") if sensor else None
    if sensor is None or pattern is None or pattern["func"].last_name() != "grid_pattern":
        return None
    step_m = pattern["resolution"].number()
    ordering, turns = pattern.get("ordering"), sensor.get("ray_alignment")
    alignment = turns.text() if turns else "yaw" if sensor.flag("attach_yaw_only") else "base"
    offset = params.get("offset")
    start_m, longest = sensor["offset"]["pos"].numbers(3), sensor.get("max_distance")
    # Rays start at the sensor's offset; a ray that hits nothing has infinite length.
    ends = longest is not None and longest.number() < _ENDLESS_M
    clip = term.get("clip")
    return {
        "grid": {
            "size_m": pattern["size"].numbers(2),
            "resolution_m": [step_m, step_m],
            "centre_m": start_m[:2],
            "order": "y_fastest" if ordering and ordering.text() == "yx" else "x_fastest",
            "x": "ascending",
            "y": "ascending",
        },
        "origin_m": todo(
            f"where {sensor['prim_path'].text()} is in the frame of the base, m; [0, 0, 0] if it "
            "is the base"
        ),
        "alignment": alignment,
        **({"heading": "rotated_x"} if alignment == "yaw" else {}),
        "value": "frame_minus_ground",
        "offset_m": offset.number() if offset else 0.5,
        "reach_m": longest.number() - start_m[2] if longest and ends else None,
        "miss": (clip.numbers(2)[0] if clip else todo(_MISS)) if ends else None,
        "invalid": todo(
            "replacement for a point that the robot's map does not know: value (with "
            "invalid_value), nearest, mean or fault; in training, all were known"
        ),
    }


def _image(draft: Draft, root: Node, term: Node) -> tuple[str, dict[str, Any]] | None:
    """Return the kind of term and its section for a camera's image; None for other data."""
    params = term["params"]
    config = params.get("sensor_cfg")
    camera = root["scene"].get(config["name"].text()) if config else None
    kind = params.get("data_type")
    name = kind.text() if kind else "rgb"
    if camera is None or name not in ("rgb", *_DEPTHS):
        return None
    # Isaac Lab itself converts to depth on request, and normalizes by default.
    is_orthogonal = params.flag("convert_perspective_to_orthogonal")
    is_normalised = params.get("normalize") is None or params.flag("normalize")
    period_s = camera.get("update_period")
    rate_hz = 1.0 / period_s.number() if period_s and period_s.number() else draft.find("rate_hz")
    size = [int(camera[side].number()) for side in ("height", "width")]
    section: dict[str, Any] = {
        "camera_size": size,
        "size": size,
        "steps": [],
        "stack": {"offsets": [0], "unit": "frames", "fill": "repeat"},
        "rate_hz": rate_hz,
    }
    if name == "rgb":
        return "image", section | {
            "channels": "rgb",
            "layout": "channels_last",
            "scaled_to": [0.0, 1.0] if is_normalised else [0.0, 255.0],
            "centre": "image" if is_normalised else "none",
        }
    return "depth", section | {
        "measure": "depth" if is_orthogonal else _DEPTHS[name],
        **({"invalid_m": 0.0, "too_far_m": 0.0} if is_normalised else {}),
        "values": "metres",
    }


def _function(root: Node, term: Node) -> tuple[str, str]:
    """Return the term's function name, and a topic for a command that is not a velocity."""
    function = term["func"].last_name()
    if function not in _COMMANDS:
        return function, ""
    command = term["params"]["command_name"].text()
    kind = root["commands"][command]["class_type"].last_name()
    if kind in _VELOCITY_COMMANDS:
        return "velocity_commands", ""
    if _is_motion(kind):
        return MOTION_COMMAND, ""
    return kind, f"{command}_command"


def _refuse_simulator_order(term: Node) -> None:
    """Raise if a term reads joints without listing their names in a preserved order."""
    if TERMS[find_term(term["func"].last_name())].size != "joints":
        return
    params = term.get("params")
    asset = params.get("asset_cfg") if params else None
    listed = asset.get("joint_names") if asset else None
    if (
        asset is None
        or listed is None
        or not isinstance(listed.value, list)
        or not asset.flag("preserve_order")
        or any(map(is_pattern, listed.texts()))
    ):
        raise ToolError(
            f"{term.file}: {term.key}: reads joints in the simulator's order, which this file "
            "does not state; give all joints in that order with --joints"
        )


def _is_list_of_indices(value: object) -> bool:
    """Return whether joints are given one by one; all of them are a slice of three nulls."""
    return isinstance(value, list) and any(isinstance(each, int) for each in value)


def _joints(term: Node, names: Sequence[str]) -> list[str] | None:
    params = term.get("params")
    asset = params.get("asset_cfg") if params else None
    if asset is None:
        return None
    if (wanted := asset.get("joint_names")) is None:
        indices = asset.get("joint_ids")
        if indices is not None and _is_list_of_indices(indices.value):
            raise indices.wrong("all joints, or joint_names in place of their indices")
        return None
    if isinstance(wanted.value, str):
        wanted = Node(wanted.file, [wanted.value], wanted.key)
    return resolve_names(wanted, names, keep_order=asset.flag("preserve_order"))
