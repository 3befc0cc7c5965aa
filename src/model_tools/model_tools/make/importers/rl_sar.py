# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""rl_sar's `config.yaml` for a policy, and `base.yaml` for its robot in a folder above.

Everything is in policy order; for each joint, `joint_mapping` gives its index in `joint_names` of
`base.yaml`. Wheels (`wheel_indices`) are commanded by velocity; their observed positions are 0.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, load_foreign_yaml
from model_tools.files.onnx_model import OnnxModel
from model_tools.make.importers.action import SourceAction, put_action
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.observation import (
    MOTION_COMMAND,
    SourceTerm,
    TermLayout,
    put_observation,
)
from model_tools.make.importers.source import (
    ONNX_SUFFIX,
    Given,
    TrainingSource,
    find_model,
    put_model,
    single_input,
)

NAME = "rl_sar"
_BASE = "base.yaml"
_KEYS = ("observations", "rl_kp", "rl_kd", "action_scale")
_FUNCTIONS = {
    "lin_vel": ("base_lin_vel", "lin_vel_scale"),
    "ang_vel": ("base_ang_vel", "ang_vel_scale"),
    "gravity_vec": ("projected_gravity", ""),
    "commands": ("velocity_commands", "commands_scale"),
    "dof_pos": ("joint_pos_rel_without_wheel", "dof_pos_scale"),
    "dof_vel": ("joint_vel", "dof_vel_scale"),
    "actions": ("last_action", ""),
    "whole_body_tracking/motion_command": (MOTION_COMMAND, ""),
    "whole_body_tracking/motion_anchor_ori_b": ("motion_anchor_ori_b", ""),
}
"""Isaac Lab's name for each observation, and the key of its scale."""


def recognise(source: TrainingSource) -> bool:
    """Return whether the file has one section, named like its folder, with this format's keys."""
    sections = source.root.value if isinstance(source.root.value, dict) else {}
    return len(sections) == 1 and all(
        isinstance(section, dict) and all(key in section for key in _KEYS)
        for section in sections.values()
    )


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the two files."""
    policy = _only(source.root)
    root = _with_base(source.path, policy)
    model = _model(source, policy, given)
    draft = Draft(source.path.name, model)
    period_s = root["dt"].positive() * root["decimation"].positive()
    draft.put("rate_hz", round(1.0 / period_s, 9), "1 / (dt x decimation)")
    names = _names(draft, source, root, given)
    wheels = [_place(place, names) for place in root.section("wheel_indices")]
    _put_joints(draft, policy, names)
    tensors = put_model(draft)
    put_action(
        draft, tensors.action, _actions(root, names, wheels), "action_scale and default_dof_pos"
    )
    _put_observation(draft, model, single_input(model, tensors), root, names, wheels)
    return draft


def _with_base(file: Path, policy: Node) -> Node:
    """Return the keys of the policy, completed with those of its robot.

    The policy's section is named after the path of the policy's folder: for go2/himloco, the
    robot's file is in the folder go2.
    """
    folders = file.resolve().parents
    base = folders[min(policy.key.count("/"), len(folders) - 1)] / _BASE
    if not base.is_file():
        return policy
    robot = _only(Node(base.name, load_foreign_yaml(base)))
    return Node(policy.file, {**robot.mapping(), **policy.mapping()}, policy.key)


def _only(root: Node) -> Node:
    sections = root.items()
    if len(sections) != 1:
        raise root.wrong("one section, named like the folder")
    return sections[0][1]


def _model(source: TrainingSource, policy: Node, given: Given) -> OnnxModel:
    stated = policy.get("model_name")
    if given.model is not None or stated is None:
        return find_model(source, given)
    name = stated.text()
    beside = source.path.parent / name
    if Path(name).name == name and beside.suffix == ONNX_SUFFIX and beside.is_file():
        return find_model(source, replace(given, model=beside))
    frames = len(policy.section("observations_history")) or 1
    sizes = (
        f"obs_dim: {policy['num_observations'].whole() * frames} and "
        f"act_dim: {policy['num_of_dofs'].whole()}"
    )
    raise ToolError(
        f"{source.path.name}: expected the model in ONNX with --model, found {name}; convert "
        f"the TorchScript file: model_tools export {shlex.quote(name)} --config network.yaml "
        f"--trust-code --output policy.onnx, where network.yaml has {sizes}"
    )


def _names(draft: Draft, source: TrainingSource, root: Node, given: Given) -> list[str]:
    if stated := root.get("joint_names"):
        given.refuse_joints(source, "joint_names")
        on_robot = stated.texts()
    elif given.joints is not None:
        on_robot = given.joints.in_listed_order("joint_mapping (indices of the robot's motors)")
    else:
        raise ToolError(
            f"{source.path}: expected the robot's {_BASE} (with joint_names) in a parent folder, "
            "found none; copy it there, or give the joints in the robot's order with "
            "--joints"
        )
    places = root["joint_mapping"].elements()
    names = [on_robot[_place(place, on_robot)] for place in places]
    if len(set(names)) != len(places):
        raise root["joint_mapping"].wrong("each joint once")
    draft.put("joints.names", names, "joint_names of the robot, through joint_mapping")
    return names


def _place(index: Node, names: Sequence[str]) -> int:
    if not 0 <= index.whole() < len(names):
        raise index.wrong(f"an index below {len(names)}")
    return index.whole()


def _put_joints(draft: Draft, policy: Node, names: Sequence[str]) -> None:
    """Write the values from the policy's own file; the robot's file has a different order."""
    for source, key in (
        ("default_dof_pos", "joints.default_position"),
        ("torque_limits", "joints.effort_limit"),
        ("rl_kp", "joints.stiffness"),
        ("rl_kd", "joints.damping"),
        ("fixed_kp", "stand.stiffness"),
        ("fixed_kd", "stand.damping"),
    ):
        if stated := policy.get(source):
            draft.put(key, stated.numbers(len(names), "joints"), source)


def _actions(root: Node, names: Sequence[str], wheels: Sequence[int]) -> list[SourceAction]:
    """Return an action for each run of consecutive wheels or of consecutive other joints."""
    count = len(names)
    scale = root["action_scale"].numbers(count, "joints")
    offset = root["default_dof_pos"].numbers(count, "joints")
    clip = _clips(root, count)
    runs = itertools.groupby(range(count), key=lambda place: place in wheels)
    return [
        SourceAction(
            kind="velocity" if are_wheels else "position",
            joints=[names[i] for i in places],
            scale=[scale[i] for i in places],
            offset=[0.0 if are_wheels else offset[i] for i in places],
            output_clip=[clip[i] for i in places] if clip else None,
        )
        for are_wheels, places in ((wheel, list(run)) for wheel, run in runs)
    ]


def _clips(root: Node, count: int) -> list[list[float]]:
    """Return the lowest and highest output of each joint; empty if outputs are not clipped."""
    lower, upper = root.get("clip_actions_lower"), root.get("clip_actions_upper")
    if lower is None or upper is None or not lower.elements() or not upper.elements():
        return []
    pairs = zip(lower.numbers(count, "joints"), upper.numbers(count, "joints"), strict=True)
    return [list(pair) for pair in pairs]


def _put_observation(
    draft: Draft,
    model: OnnxModel,
    tensor: tuple[str, int | None],
    root: Node,
    names: Sequence[str],
    wheels: Sequence[int],
) -> None:
    places = [place.whole() for place in root.section("observations_history")] or [0]
    newest_first = places == list(range(len(places)))
    if not newest_first and places[::-1] != list(range(len(places))):
        raise root["observations_history"].wrong(
            "every frame once, with the newest (0) first or last"
        )
    priority = root.get("observations_history_priority")
    if priority is not None and priority.text() not in ("time", "term"):
        raise priority.wrong("time or term")
    by_term = priority is not None and priority.text() == "term"
    terms = [
        _term(draft, root, each, names, wheels, len(places))
        for each in root["observations"].elements()
    ]
    layout = TermLayout(
        layout="per_term" if by_term else "per_frame",
        origin="observations, in the order of the file",
        frame_order="newest_first" if newest_first else "oldest_first",
        init="zero",  # as in rl_sar
    )
    put_observation(draft, *tensor, terms, layout)
    if clip := root.get("clip_obs"):
        draft.put(("observations", tensor[0], "clip"), clip.positive(), "clip_obs")


def _term(
    draft: Draft,
    root: Node,
    stated: Node,
    names: Sequence[str],
    wheels: Sequence[int],
    history: int,
) -> SourceTerm:
    name = stated.text()
    function, key = _FUNCTIONS.get(name, (name, ""))
    scale = root[key].values() if key else [1.0]
    if name == "dof_pos" and not wheels:
        function = "joint_pos_rel"
    clip = _observed_clip(draft, root, len(names)) if function == "last_action" else None
    return SourceTerm(name=name, function=function, scale=scale, clip=clip, history=history)


def _observed_clip(draft: Draft, root: Node, count: int) -> list[float] | None:
    """Return the clip of the observed action; the contract has one clip for all joints."""
    clips = _clips(root, count)
    if any(clip != clips[0] for clip in clips):
        draft.block(
            "observations",
            "the policy observes its actions after clip_actions_lower and clip_actions_upper, "
            "which differ by joint; last_action would not be clipped; --drop observations.TODO if "
            "the outputs stay within these bounds",
        )
        return None
    return clips[0] if clips else None
