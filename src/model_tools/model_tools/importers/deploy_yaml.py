# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""unitree's `deploy.yaml`: policy order throughout, but gains in the order of the SDK.

Clip comes before scale and history is per term, oldest first, unless the observations say
`scale_first` or `use_gym_history`. Joint names are not in the file as a rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from model_tools.errors import ToolError
from model_tools.importers.action import KINDS, SourceAction, put_action
from model_tools.importers.draft import Draft
from model_tools.importers.model_section import Tensors, put_model, single_input
from model_tools.importers.observation import (
    Layout,
    SourceTerm,
    frames,
    put_observation,
    scales,
    term_of,
)
from model_tools.importers.ranges import put_velocity_range
from model_tools.importers.source import Given, Source, model_of
from model_tools.node import Node
from model_tools.onnx_model import OnnxModel

NAME = "unitree_deploy_yaml"
_SWITCHES = ("use_gym_history", "scale_first")


def recognise(source: Source) -> bool:
    """Return whether the file has this format's keys."""
    return source.has("joint_ids_map", "step_dt", "observations")


def read(source: Source, given: Given) -> Draft:
    """Return what the file says.

    Raises:
        ToolError: Something is missing or does not fit, or the joints were not given.
    """
    draft, model, root = Draft(source.path.name), model_of(source, given), source.root
    draft.put("rate_hz", round(1.0 / root["step_dt"].positive(), 9), "1 / step_dt")
    places = _places(root["joint_ids_map"])
    names = _names(root, given, len(places))
    draft.put("joints.names", names, "joint_names" if "joint_names" in root.mapping()
              else "given by the user, in policy order")
    if "joint_names" not in root.mapping():
        sdk = ", ".join(names[places.index(place)] for place in sorted(places))
        draft.remark(f"the joints in policy order are {', '.join(names)}, as given; then the "
                     f"robot's SDK has them as {sdk}: see that it does")
    _put_joints(draft, root, places)
    tensors = put_model(draft, model)
    actions = [_action(draft, name, action, names) for name, action in root["actions"].items()]
    put_action(draft, tensors.action, actions, "actions, in policy order")
    _put_observations(draft, model, tensors, root["observations"])
    put_velocity_range(draft, root.section("commands"))
    return draft


def _places(ids: Node) -> list[int]:
    """Return the SDK's index of each policy joint."""
    places = [element.whole() for element in ids.elements()]
    if len(set(places)) != len(places) or min(places, default=-1) < 0:
        raise ids.wrong("different indices of SDK joints")
    return places


def _names(root: Node, given: Given, count: int) -> list[str]:
    names = given.joints
    if names is None and (stated := root.get("joint_names")):
        names = stated.texts()
    if names is None:
        raise ToolError(f"{root.file}: expected the names of its {count} joints in policy order, "
                        "which this format leaves out; give them with --joints")
    if len(names) != count:
        raise ToolError(f"{root.file}: joint_ids_map: expected {count} joints, found {len(names)} "
                        f"names: {', '.join(names)}")
    return names


def _put_joints(draft: Draft, root: Node, places: Sequence[int]) -> None:
    position = root["default_joint_pos"].numbers(len(places), "joints")
    draft.put("joints.default_position", position, "default_joint_pos, in policy order")
    for key in ("stiffness", "damping"):
        gains = root[key].numbers()
        if len(gains) <= max(places):
            raise ToolError(f"{root.file}: {key}: expected at least {max(places) + 1} values, one "
                            f"for each joint of the SDK, found {len(gains)}")
        draft.put(f"joints.{key}", [gains[place] for place in places],
                  f"{key}, which is in the order of the SDK, through joint_ids_map")


def _action(draft: Draft, name: str, action: Node, names: Sequence[str]) -> SourceAction:
    if name not in KINDS:
        draft.block("action", f"{name} is none of {', '.join(KINDS)}")
    ids = action.get("joint_ids")
    joints = [_joint(element, names) for element in ids.elements()] if ids else list(names)
    clip, offset = action.get("clip"), action.get("offset")
    return SourceAction(
        kind=KINDS.get(name, "position"), joints=joints,
        clip=[row.numbers(2) for row in clip.elements()] if clip else None,
        scale=action["scale"].numbers(len(joints), "joints"),
        offset=offset.numbers(len(joints), "joints") if offset else [0.0] * len(joints),
    )


def _joint(index: Node, names: Sequence[str]) -> str:
    if not 0 <= index.whole() < len(names):
        raise index.wrong(f"an index below {len(names)}")
    return names[index.whole()]


def _put_observations(draft: Draft, model: OnnxModel, tensors: Tensors, node: Node) -> None:
    """Write one vector, or one for each group that is named like an input of the model."""
    groups = [name for name, entry in node.items() if name in tensors.observations
              and isinstance(entry.value, dict) and "params" not in entry.value]
    if groups:
        for name in groups:
            _put_group(draft, name, tensors.observations[name], node[name])
    else:
        _put_group(draft, *single_input(model, tensors), node)


def _put_group(draft: Draft, name: str, width: int | None, group: Node) -> None:
    whole_frames, scale_first = (group.flag(switch) for switch in _SWITCHES)
    terms = [_term(draft, key, term) for key, term in group.items() if key not in _SWITCHES]
    put_observation(draft, name, width, terms, Layout(
        layout="per_frame" if whole_frames else "per_term",
        order="scale_then_clip" if scale_first else "clip_then_scale",
        origin=f"{group.key}, in the order of the file",
    ))


def _term(draft: Draft, name: str, term: Node) -> SourceTerm:
    clip, params = term.get("clip"), term.get("params")
    period, scale = params.get("period") if params else None, scales(term)
    return SourceTerm(
        name=name, function=name, joints=_joints(draft, params),
        # The file writes one scale for each value, so that it also says how many there are.
        size=len(scale) if term.get("scale") and term_of(name) == "external" else None,
        scale=scale, clip=clip.numbers(2) if clip else None,
        history=frames(term.get("history_length")),
        period_s=period.number() if period else None,
    )


def _joints(draft: Draft, params: Node | None) -> list[str] | None:
    """Return the joints of a term that reads some of them."""
    asset = params.get("asset_cfg") if params else None
    ids = asset.get("joint_ids") if asset else None
    if ids is None or not isinstance(ids.value, list):
        return None
    return [_joint(element, draft.find("joints.names")) for element in ids.elements()]
