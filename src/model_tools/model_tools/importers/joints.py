# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Names of joints: patterns resolved as Isaac Lab does, and what a robot file says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.importers.robot_file import read_robot
from model_tools.node import Node


def given_joints(given: str) -> list[str]:
    """Return the joints of `--joints`: names with commas between, or a URDF or MJCF file's order.

    Raises:
        ToolError: A name stands twice, or the file has no joints.
    """
    if (file := joints_file(given)) is not None:
        return list(read_robot(file))
    names = [name.strip() for name in given.split(",")]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or not all(names):
        raise ToolError(f"--joints: expected each name once, found {', '.join(doubled) or given!r}")
    return names


def joints_file(given: str | None) -> Path | None:
    """Return the robot's file where `--joints` names one."""
    return Path(given) if given and given.endswith((".urdf", ".xml", ".mjcf")) else None


def resolve_names(patterns: Node, names: Sequence[str], *, keep_order: bool) -> list[str]:
    """Return the names that match one of the patterns.

    Args:
        patterns: List of names or regular expressions that must match a whole name.
        names: Joints in the simulator's order.
        keep_order: Whether the patterns' order counts, as against that of `names`.

    Raises:
        ToolError: A pattern matches nothing, or two match one name.
    """
    wanted = patterns.texts()
    key_of = _key_of_each(patterns, wanted, names)
    if keep_order:
        return [name for pattern in wanted for name, key in key_of.items() if key == pattern]
    return list(key_of)


def resolve_values(value: Node, names: Sequence[str]) -> dict[str, float]:
    """Return the numbers by name that a number, or a map from pattern to number, gives.

    Names that no pattern matches are left out.

    Raises:
        ToolError: A pattern matches nothing, or two match one name.
    """
    if isinstance(value.value, (int, float)):
        return dict.fromkeys(names, value.number())
    numbers = {pattern: entry.number() for pattern, entry in value.items()}
    return {name: numbers[key] for name, key in _key_of_each(value, numbers, names).items()}


def is_pattern(name: str) -> bool:
    """Return whether a text means more than the one name that it spells."""
    return re.escape(name) != name.replace("-", r"\-")


def _key_of_each(node: Node, keys: Sequence[str] | dict[str, float],
                 names: Sequence[str]) -> dict[str, str]:
    """Return for each name that a key matches this key, in the order of the names."""
    compiled = {key: _compiled(node, key) for key in keys}
    matches = {name: [key for key, pattern in compiled.items() if pattern.fullmatch(name)]
               for name in names}
    for key in keys:
        if not any(key in found for found in matches.values()):
            raise ToolError(f"{node.file}: {node.key}: expected patterns that match a joint, found "
                            f"{key!r}, which matches none of {', '.join(names)}; "
                            "give the robot's joints with --joints")
    for name, found in matches.items():
        if len(found) > 1:
            raise ToolError(f"{node.file}: {node.key}: expected one pattern for {name}, found "
                            f"{' and '.join(map(repr, found))}")
    return {name: found[0] for name, found in matches.items() if found}


def _compiled(node: Node, key: str) -> re.Pattern[str]:
    try:
        return re.compile(key)
    except re.error as error:
        raise ToolError(f"{node.file}: {node.key}: expected regular expressions, found {key!r}: "
                        f"{error}") from error
