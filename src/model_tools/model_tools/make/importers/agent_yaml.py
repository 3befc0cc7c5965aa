# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of observations and actions in the training library's `agent.yaml`.

The library applies them outside the environment, so the environment's files do not state them:
rsl_rl has `clip_actions`, rl_games `params.env.clip_observations` and `params.env.clip_actions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, load_foreign_yaml
from model_tools.make.importers.draft import Draft, Path
from model_tools.make.importers.source import POLICY_GROUP

FILE_NAME = "agent.yaml"
_CLIPS = ("clip_actions", "clip_action", "clip_observations", "clip_obs")
_RL_GAMES = "params.env"
_RESCALED = "params.config.clip_actions"
_ACTOR_SETS = ("policy", "actor")
"""rsl_rl's sets of observation groups that its actor reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentClips:
    """Largest absolute values that the training library passes on; None if it does not clip.

    Attributes:
        observation: Bound of the whole observation, after the environment's scale and history.
        action: Bound of the network's output, before the environment's scale and offset. The
            environment also observes the last action after this clip.
        unknown: Keys whose effect the contract cannot state, with their values.
    """

    observation: float | None = None
    action: float | None = None
    unknown: tuple[str, ...] = ()


def find_agent_file(source: FilePath) -> FilePath | None:
    """Return the run's `agent.yaml`, given any other file of its run folder."""
    folders = (source.parent, source.parent.parent / "params")
    return next((file for folder in folders if (file := folder / FILE_NAME).is_file()), None)


def read_clips(root: Node) -> AgentClips:
    """Return the clips in an `agent.yaml` of rsl_rl, rl_games or another library."""
    found = {node.key: node for node in _clips(root)}
    config = params.get("config") if (params := root.get("params")) else None
    if config is not None and "clip_actions" not in config.mapping():
        found[_RESCALED] = Node(root.file, True, _RESCALED)  # rl_games' default
    action = found.pop("clip_actions", None) or found.pop(f"{_RL_GAMES}.clip_actions", None)
    observation = found.pop(f"{_RL_GAMES}.clip_observations", None)
    bound = None if action is None else action.positive()
    rescaled = found.get(_RESCALED)
    if rescaled is not None and rescaled.value is True and bound == 1.0:
        del found[_RESCALED]  # rl_games clips to -1 and 1, then multiplies by the bound
    return AgentClips(
        observation=None if observation is None else observation.positive(),
        action=bound,
        unknown=tuple(f"{key}: {node.value}" for key, node in found.items()),
    )


def _clips(node: Node) -> Iterator[Node]:
    """Yield each clip in the file that is in effect."""
    if isinstance(node.value, list):
        for element in node.elements():
            yield from _clips(element)
    if not isinstance(node.value, dict):
        return
    for name, entry in node.items():
        if name not in _CLIPS:
            yield from _clips(entry)
        elif entry.value is not None and entry.value is not False:
            yield entry


def put_clips(draft: Draft, file: FilePath) -> None:
    """Write the clips of an `agent.yaml` to a draft that has its action and observations."""
    root = Node(str(file), load_foreign_yaml(file))
    _require_group(root)
    clips = read_clips(root)
    origin = f"{file.name} of the training"
    if clips.unknown:
        draft.block(
            "action",
            f"{file}: {'; '.join(clips.unknown)}: state its effect in `clip` and `scale` of the "
            "action and observation, then --drop action.TODO",
        )
    if clips.observation is not None:
        for name in _observed_inputs(draft):
            _bound(draft, ("observations", name, "clip"), clips.observation, origin)
    if clips.action is not None:
        for path in _action_terms(draft):
            _narrow(draft, path, clips.action)
        for path, term in draft.terms():
            if term.get("term") == "last_action":
                _clip_last_action(draft, path, term, clips.action)
    bounds = {"observations": clips.observation, "actions": clips.action}
    if stated := [f"{what} are clipped to ±{bound:g}" for what, bound in bounds.items() if bound]:
        draft.remark(f"{' and '.join(stated)}, as in {file}")


def _require_group(root: Node) -> None:
    """Raise ToolError if the actor reads other observation groups than the one that is imported."""
    if (sets := root.get("obs_groups")) is None:
        return
    for name in _ACTOR_SETS:
        if (read := sets.get(name)) is not None and read.value != [POLICY_GROUP]:
            raise read.wrong(
                f"[{POLICY_GROUP}], the observation group that is imported (export the policy with "
                "the groups of its actor in that one)"
            )


def ask_clips(draft: Draft) -> None:
    """Ask for the clips, since the run's `agent.yaml` was not found."""
    where = f"in {FILE_NAME} of the training run; --agent FILE reads it"
    for name in _observed_inputs(draft):
        draft.ask(
            ("observations", name, "clip"),
            f"params.env.clip_observations {where}; null if it has none, as with rsl_rl",
        )
    for path in _action_terms(draft):
        draft.ask(
            (*path, "clip"), f"[-c, c] for clip_actions: c {where}; null if it has none or null"
        )


def _observed_inputs(draft: Draft) -> list[str]:
    """Return the inputs whose terms the environment's observation fills."""
    inputs = draft.find("observations")
    return [
        name
        for name, entry in (inputs.items() if isinstance(inputs, dict) else ())
        if isinstance(entry, dict) and entry.get("terms") != [{"term": "tick"}]
    ]


def _action_terms(draft: Draft) -> list[Path]:
    terms = draft.find("action.terms")
    return [("action", "terms", i) for i in range(len(terms) if isinstance(terms, list) else 0)]


def _bound(draft: Draft, key: Path, bound: float, origin: str) -> None:
    stated = draft.find(key)
    draft.put(key, bound if stated is None else min(bound, stated), origin)


def _narrow(draft: Draft, path: Path, bound: float) -> None:
    """Narrow a term's clip to the bound; the library clips before the environment does."""
    low, high = draft.find((*path, "clip")) or (-bound, bound)
    if low > bound or high < -bound:
        raise ToolError(
            f"{draft.source}: actions: expected targets within reach of clip_actions {bound:g} in "
            f"{FILE_NAME}, found the output clip {low:g} to {high:g}"
        )
    draft.put((*path, "clip"), [max(low, -bound), min(high, bound)])


def _clip_last_action(draft: Draft, path: Path, term: dict[str, Any], bound: float) -> None:
    scale, order = term.get("scale", 1.0), draft.find((*path[:2], "order"))
    if order == "scale_then_clip" and not isinstance(scale, int | float):
        draft.block("observations", f"last_action after clip_actions: {bound:g}, then scaled")
        return
    is_scaled = order == "scale_then_clip"
    _narrow(draft, path, bound * abs(scale) if is_scaled else bound)
