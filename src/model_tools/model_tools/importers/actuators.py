# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Gains and limits from the actuator groups of an Isaac Lab configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from model_tools.errors import ToolError
from model_tools.importers.draft import Draft
from model_tools.importers.joints import resolve_names, resolve_values
from model_tools.node import Node

_KEYS = {
    "stiffness": ("stiffness",),
    "damping": ("damping",),
    # Explicit drives have the first, implicit ones the second; where both stand they agree.
    "effort_limit": ("effort_limit", "effort_limit_sim"),
    "velocity_limit": ("velocity_limit", "velocity_limit_sim"),
}


def put_actuators(draft: Draft, groups: Node, names: Sequence[str]) -> None:
    """Write what the groups say of every joint; what one joint lacks is left to be asked for.

    Raises:
        ToolError: A joint belongs to two groups, or a pattern matches nothing.
    """
    members = {key: (group, resolve_names(group["joint_names_expr"], names, keep_order=False))
               for key, group in groups.items() if group.value is not None}
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
        draft.put(f"joints.{field}", {**stated, "TODO": f"values of {', '.join(missing)}"},
                  f"{key}, by group")


def _refuse_doubled(groups: Node, joints: Sequence[str]) -> None:
    doubled = sorted({joint for joint in joints if joints.count(joint) > 1})
    if doubled:
        raise ToolError(f"{groups.file}: {groups.key}: expected each joint in one group, found "
                        f"{', '.join(doubled)} in several")
