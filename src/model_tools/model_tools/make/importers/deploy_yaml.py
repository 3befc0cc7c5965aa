# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unitree's `deploy.yaml`: values in the policy's order, except gains, which are in SDK order.

Clipping precedes scaling, and history is per term, oldest first, unless the observations state
`scale_first` or `use_gym_history`. The file usually has no joint names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.files.onnx_model import OnnxModel
from model_tools.make.importers.action import (
    KINDS,
    CustomAction,
    SourceAction,
    custom_action,
    put_action,
    put_velocity_range,
)
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.observation import (
    SourceTerm,
    TermLayout,
    find_term,
    frames,
    phase_settings,
    put_observation,
    scales,
)
from model_tools.make.importers.source import (
    Given,
    Tensors,
    TrainingSource,
    find_model,
    put_model,
    single_input,
)
from model_tools.make.importers.unitree_joints import (
    motors,
    policy_joints,
    stated_names,
)

NAME = "unitree_deploy_yaml"
_SLICE = re.compile(r"slice\((None|-?\d+), *(None|-?\d+), *(None|-?[1-9]\d*)\)")
_SWITCHES = ("use_gym_history", "scale_first")


def recognise(source: TrainingSource) -> bool:
    return source.has("joint_ids_map", "step_dt", "observations")


def read(source: TrainingSource, given: Given) -> Draft:
    """Return a draft from the file."""
    model, root = find_model(source, given), source.root
    draft = Draft(source.path.name, model)
    draft.put("rate_hz", round(1.0 / root["step_dt"].positive(), 9), "1 / step_dt")
    places, (on_robot, origin) = motors(root), policy_joints(root, given.joints)
    names = stated_names(root, on_robot)
    _put_names(draft, names, on_robot, origin)
    if given.joints is not None:
        in_sdk_order = [name for _, name in sorted(zip(places, on_robot, strict=True))]
        draft.remark(
            f"the joints in policy order are {', '.join(on_robot)}: {origin}; then the SDK's "
            f"order is {', '.join(in_sdk_order)}: check both"
        )
    _put_joints(draft, root, places)
    tensors = put_model(draft)
    actions = [_action(draft, name, action, names) for name, action in root["actions"].items()]
    put_action(draft, tensors.action, actions, "actions, in policy order")
    _put_observations(draft, model, tensors, root["observations"])
    put_velocity_range(draft, root.section("commands"))
    return draft


def _put_names(draft: Draft, names: list[str], on_robot: list[str], origin: str) -> None:
    """Write the policy's joint names, and the robot's where they differ."""
    draft.put("joints.names", names, origin if names == on_robot else "joint_names")
    renamed = {name: other for name, other in zip(names, on_robot, strict=True) if name != other}
    if renamed:
        draft.put("joints.robot_names", renamed, origin)


def _put_joints(draft: Draft, root: Node, places: Sequence[int]) -> None:
    position = root["default_joint_pos"].numbers(len(places), "joints")
    draft.put("joints.default_position", position, "default_joint_pos, in policy order")
    for key in ("stiffness", "damping"):
        gains = root[key].numbers()
        if len(gains) == len(places) <= max(places):
            draft.ask(
                f"joints.{key}",
                f"gain while the policy runs; the file has {len(gains)} "
                f"values for motors up to {max(places)}, so their order is unknown",
            )
            continue
        if len(gains) <= max(places):
            raise ToolError(
                f"{root.file}: {key}: expected at least {max(places) + 1} values (one "
                f"for each joint of the SDK), found {len(gains)}"
            )
        draft.put(
            f"joints.{key}",
            [gains[place] for place in places],
            f"{key}, which is in the order of the SDK, through joint_ids_map",
        )


def _action(
    draft: Draft, name: str, action: Node, names: Sequence[str]
) -> SourceAction | CustomAction:
    if custom := custom_action(name, action, "scale"):
        return custom
    if name not in KINDS:
        draft.block("action", f"{name} is not one of {', '.join(KINDS)}")
    ids = action.get("joint_ids")
    joints = _chosen(ids, names) if ids else list(names)
    clip, offset = action.get("clip"), action.get("offset")
    return SourceAction(
        kind=KINDS.get(name, "position"),
        joints=joints,
        clip=[row.numbers(2) for row in clip.elements()] if clip else None,
        scale=action["scale"].numbers(len(joints), "joints"),
        offset=offset.numbers(len(joints), "joints") if offset else [0.0] * len(joints),
    )


def _chosen(ids: Node, names: Sequence[str]) -> list[str]:
    """Return the joints with these indices, given as a list or as a slice in Python notation."""
    if isinstance(ids.value, slice):
        return list(names[ids.value])
    if isinstance(ids.value, str):
        if (bounds := _SLICE.fullmatch(ids.value)) is None:
            raise ids.wrong("a list of indices, or a slice")
        return list(names[slice(*(None if end == "None" else int(end) for end in bounds.groups()))])
    return [_joint(element, names) for element in ids.elements()]


def _joint(index: Node, names: Sequence[str]) -> str:
    if not 0 <= index.whole() < len(names):
        raise index.wrong(f"an index below {len(names)}")
    return names[index.whole()]


def _put_observations(draft: Draft, model: OnnxModel, tensors: Tensors, node: Node) -> None:
    """Write one observation vector, or one for each group named after a model input."""
    groups = [
        name
        for name, entry in node.items()
        if name in tensors.observations
        and isinstance(entry.value, dict)
        and "params" not in entry.value
    ]
    if groups:
        for name in groups:
            _put_group(draft, name, tensors.observations[name], node[name])
    else:
        _put_group(draft, *single_input(model, tensors), node)


def _put_group(draft: Draft, name: str, width: int | None, group: Node) -> None:
    whole_frames, scale_first = (group.flag(switch) for switch in _SWITCHES)
    terms = [_term(draft, key, term) for key, term in group.items() if key not in _SWITCHES]
    put_observation(
        draft,
        name,
        width,
        terms,
        TermLayout(
            layout="per_frame" if whole_frames else "per_term",
            order="scale_then_clip" if scale_first else "clip_then_scale",
            origin=f"{group.key}, in the order of the file",
        ),
    )


def _term(draft: Draft, name: str, term: Node) -> SourceTerm:
    clip, params = term.get("clip"), term.get("params")
    period_s, reads = phase_settings(params)
    scale = scales(term)
    return SourceTerm(
        name=name,
        function=name,
        joints=_joints(draft, params),
        # The file has one scale per value, which also gives the number of values.
        size=len(scale) if term.get("scale") and find_term(name) == "external" else None,
        scale=scale,
        clip=clip.numbers(2) if clip else None,
        history=frames(term.get("history_length")),
        period_s=period_s,
        reads=reads,
    )


def _joints(draft: Draft, params: Node | None) -> list[str] | None:
    asset = params.get("asset_cfg") if params else None
    ids = asset.get("joint_ids") if asset else None
    return None if ids is None else _chosen(ids, draft.find("joints.names"))
