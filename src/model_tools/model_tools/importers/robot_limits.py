# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Limits of joints from a robot file, where the source has none."""

from __future__ import annotations

from collections.abc import Mapping

from model_tools.errors import ToolError
from model_tools.importers.draft import Draft
from model_tools.importers.robot_file import JointFigures

_FIELDS = ("position_min", "position_max", "velocity_limit", "effort_limit")


def put_robot_limits(draft: Draft, robot: Mapping[str, JointFigures], origin: str) -> None:
    """Write the limits that all joints of the policy have in the robot file.

    Raises:
        ToolError: A joint is not in the file.
    """
    names = draft.find("joints.names")
    missing = [name for name in names if name not in robot]
    if missing:
        raise ToolError(f"{origin}: expected the policy's joints, found none named "
                        f"{', '.join(missing)}; it has {', '.join(robot)}")
    for field in _FIELDS:
        values = [getattr(robot[name], field) for name in names]
        if None not in values and draft.find(f"joints.{field}") is None:
            draft.put(f"joints.{field}", values, origin)
