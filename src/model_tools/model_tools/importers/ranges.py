# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ranges of velocity commands, under the names that Isaac Lab and its kin give them."""

from __future__ import annotations

from collections.abc import Sequence

from model_tools.importers.draft import Draft
from model_tools.node import Node

_AXES = (("lin_vel_x",), ("lin_vel_y",), ("ang_vel_z", "ang_vel_yaw"))


def put_velocity_range(draft: Draft, commands: Sequence[Node]) -> None:
    """Write the range of the one command that has ranges of all three axes.

    Args:
        draft: Is written to, where a term reads the command, or may do so since terms are open.
        commands: Sections with a key `ranges`, or that are ranges themselves.
    """
    terms = [term["term"] for _, term in draft.terms()]
    if terms and not any(term == "velocity_command" or isinstance(term, dict) for term in terms):
        return
    found = [ends for ends in map(_ends, commands) if ends is not None]
    if len(found) == 1:
        ends, key = found[0]
        draft.put("velocity_command", {"min": [low for low, _ in ends],
                                       "max": [high for _, high in ends]}, key)


def _ends(command: Node) -> tuple[list[list[float]], str] | None:
    if not isinstance(command.value, dict):
        return None
    ranges = command.get("ranges") or command
    axes = [next((axis for name in names if (axis := ranges.get(name))), None) for names in _AXES]
    ends = [axis.numbers(2) for axis in axes if axis is not None]
    return (ends, ranges.key) if len(ends) == len(_AXES) else None
