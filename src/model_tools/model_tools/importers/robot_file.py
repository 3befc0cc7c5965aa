# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a URDF or an MJCF file says about joints: order and limits."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError

_SINGLE_DOF = ("revolute", "continuous", "prismatic")


@dataclass(frozen=True, slots=True, kw_only=True)
class JointFigures:
    """Limits in rad, rad/s and N·m; None where the file does not say."""

    position_min: float | None = None
    position_max: float | None = None
    velocity_limit: float | None = None
    effort_limit: float | None = None


def read_robot(path: Path) -> dict[str, JointFigures]:
    """Return the joints with one degree of freedom in the file's order.

    Raises:
        ToolError: It is neither URDF nor MJCF, or has no such joint.
        OSError: It cannot be read.
    """
    try:
        root = ET.fromstring(path.read_bytes())
    except ET.ParseError as error:
        raise ToolError(f"{path}: expected a URDF or MJCF file, found {error}") from error
    if root.tag not in ("robot", "mujoco"):
        raise ToolError(f"{path}: expected a URDF or MJCF file, found the element {root.tag}")
    joints = _urdf(path, root) if root.tag == "robot" else _mjcf(path)
    if not joints:
        raise ToolError(f"{path}: expected joints with one degree of freedom, found none")
    return joints


def _urdf(path: Path, root: ET.Element) -> dict[str, JointFigures]:
    return {joint.get("name", ""): _urdf_figures(path, joint) for joint in root.iter("joint")
            if joint.get("type") in _SINGLE_DOF}


def _urdf_figures(path: Path, joint: ET.Element) -> JointFigures:
    limit = joint.find("limit")
    names = {"position_min": "lower", "position_max": "upper", "velocity_limit": "velocity",
             "effort_limit": "effort"}
    try:
        return JointFigures(**{field: float(limit.attrib[name]) for field, name in names.items()
                               if limit is not None and name in limit.attrib})
    except ValueError as error:
        raise ToolError(f"{path}: joint {joint.get('name')}: expected numbers as limits, found "
                        f"{error}") from error


def _mjcf(path: Path) -> dict[str, JointFigures]:
    """Let MuJoCo read the file, since its defaults and units depend on classes and compiler."""
    import mujoco

    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise ToolError(f"{path}: expected an MJCF file that MuJoCo loads, found "
                        f"{error}") from error
    single = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    return {model.joint(i).name: _mjcf_figures(model, i) for i in range(model.njnt)
            if model.jnt_type[i] in single}


def _mjcf_figures(model: Any, joint: int) -> JointFigures:
    low, high = model.jnt_range[joint].tolist()
    limited = {"position_min": low, "position_max": high} if model.jnt_limited[joint] else {}
    return JointFigures(**limited, effort_limit=_mjcf_effort(model, joint))


def _mjcf_effort(model: Any, joint: int) -> float | None:
    """Return the smallest of the bounds that MuJoCo knows for the torque of a motor."""
    bounds = [model.jnt_actfrcrange[joint][1].item()] if model.jnt_actfrclimited[joint] else []
    for i in range(model.nu):
        if model.actuator_trnid[i][0] != joint:
            continue
        gear = abs(model.actuator_gear[i][0].item())
        if model.actuator_forcelimited[i]:
            bounds.append(gear * model.actuator_forcerange[i][1].item())
        # The control of a plain motor is its force.
        if model.actuator_ctrllimited[i] and not model.actuator_biasprm[i].any():
            gain = model.actuator_gainprm[i][0].item()
            bounds.append(gear * gain * model.actuator_ctrlrange[i][1].item())
    return min(bounds, default=None)
