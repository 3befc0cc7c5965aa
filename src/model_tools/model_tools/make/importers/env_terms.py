# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The observation terms of an Isaac Lab configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.joints import is_pattern, resolve_names
from model_tools.make.importers.observation import (
    MOTION_COMMAND,
    WITHOUT_WHEELS,
    SourceTerm,
    frames,
    phase_settings,
    scales,
    term_of,
)
from policy_core.bundle.terms import TERMS

_GROUP = "policy"
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
_FEWEST_SORTED = 4
_COMMANDS = ("generated_commands", "velocity_commands")


def policy_terms(
    draft: Draft, root: Node, names: Sequence[str], *, simulator_order: bool
) -> list[SourceTerm]:
    """Return the terms of the group that the policy reads, in the order of the vector.

    Args:
        draft: Collects what a contract cannot express.
        root: The whole configuration.
        names: The policy's joints.
        simulator_order: Whether `names` are all of the robot's, in the simulator's order.
    """
    group = root["observations"][_GROUP]
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
    if not simulator_order:  # in which its zeros are
        found = [
            replace(term, scale=None) if term.function == WITHOUT_WHEELS else term for term in found
        ]
    return found


def put_motion_command(draft: Draft, root: Node, *, simulator_order: bool) -> None:
    """Write the anchor of the motion that the environment tracks, where it tracks one.

    The command has the joints of the motion's file. That is the simulator's order, in which the
    training's own tools write it; where `joints.names` have another one, it is asked for.
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
    """Return whether a command is that of BeyondMimic and its relatives, by its class."""
    return kind.endswith("MotionCommand")


def _refuse_sorted(root: Node, group: Node) -> None:
    """Raise where keys are in alphabetical order, in which YAML tools write what was in another."""
    for node in (root, group):
        names = [name for name, _ in node.items()]
        if len(names) < _FEWEST_SORTED or names != sorted(names):
            return
    raise ToolError(
        f"{root.file}: expected keys in the order of the training, which is that of "
        "the observation, found all in alphabetical order, as a YAML tool leaves them; "
        "use the file that the training wrote"
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
    )


def _function(root: Node, term: Node) -> tuple[str, str]:
    """Return the function's name, and a topic for the values of a command that is no velocity."""
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
    """Raise where a term reads joints, and does not list them by name in an order that it keeps."""
    if TERMS[term_of(term["func"].last_name())].size != "joints":
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
            f"{term.file}: {term.key}: reads joints in the simulator's order, which "
            "this file does not say; give all joints in it with --joints"
        )


def _joints(term: Node, names: Sequence[str]) -> list[str] | None:
    """Return the joints of a term that names some of them."""
    params = term.get("params")
    asset = params.get("asset_cfg") if params else None
    wanted = asset.get("joint_names") if asset else None
    if asset is None or wanted is None:
        return None
    if isinstance(wanted.value, str):
        wanted = Node(wanted.file, [wanted.value], wanted.key)
    return resolve_names(wanted, names, keep_order=asset.flag("preserve_order"))
