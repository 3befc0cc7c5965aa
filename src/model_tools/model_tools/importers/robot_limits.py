# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot file adds to a source: limits of joints, and that it names them otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from model_tools.errors import ToolError
from model_tools.importers.draft import TODO, Draft
from model_tools.importers.robot_file import JointFigures
from policy_inference.bundle.joint_values import robot_names

_FIELDS = ("position_min", "position_max", "velocity_limit", "effort_limit")
_ROBOT_NAMES = "joints.robot_names"


def ask_robot_names(draft: Draft, robot: Mapping[str, JointFigures], origin: str) -> bool:
    """Ask what the robot calls joints that its file does not name; return whether that is open."""
    if draft.find(_ROBOT_NAMES) is None:
        missing = [name for name in draft.find("joints.names") if name not in robot]
        if missing:
            draft.ask(_ROBOT_NAMES, f"what the robot calls {', '.join(missing)}, by name or "
                      f"pattern, as {{left_.*: '{{name}}_joint'}}; {origin} has "
                      f"{', '.join(robot)}")
    stated = draft.find(_ROBOT_NAMES)
    return isinstance(stated, Mapping) and TODO in stated


def put_robot_limits(draft: Draft, robot: Mapping[str, JointFigures], origin: str) -> None:
    """Write the limits that all joints of the policy have in the robot file.

    Raises:
        ToolError: A joint is not in the file, under the name that the robot has for it.
    """
    names = _on_robot(draft)
    missing = [name for name in names if name not in robot]
    if missing:
        raise ToolError(f"{origin}: expected the policy's joints, found none named "
                        f"{', '.join(missing)}; it has {', '.join(robot)}")
    for field in _FIELDS:
        values = [getattr(robot[name], field) for name in names]
        if None not in values and draft.find(f"joints.{field}") is None:
            draft.put(f"joints.{field}", values, origin)


def _on_robot(draft: Draft) -> tuple[str, ...]:
    """Return what the robot calls the policy's joints, in their order."""
    names, renamed = draft.find("joints.names"), draft.find(_ROBOT_NAMES) or {}
    if not isinstance(renamed, Mapping) or not all(isinstance(n, str) for n in renamed.values()):
        raise ToolError(f"{_ROBOT_NAMES}: expected the robot's name by name or pattern of the "
                        f"policy's joints, found {renamed!r}")
    try:
        return robot_names(names, renamed)
    except ValueError as error:
        expected, found = error.args
        raise ToolError(f"{_ROBOT_NAMES}: expected {expected}, found {found}") from error
