# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Get a body's poses, and the chain to a motion's anchor, from the robot's description."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.make.importers.robot_file import bare_model
from policy_core.interfaces import F64
from robot_sim.figures import figures_file, load_robot

_DIGITS = 9
_LEVEL: F64 = np.array([1.0, 0.0, 0.0, 0.0])
"""Identity orientation: w, x, y, z."""


def anchor_chain(robot: Path, body: str) -> list[dict[str, Any]]:
    """Return the offsets and joints from the base to a body, in the form of `motion.anchor.chain`.

    The base is the root body; MuJoCo reads the file.

    Args:
        robot: URDF or MJCF file, name of a robot in robot_sim, such as g1, or a folder with
            figures.
        body: Name of the body.
    """
    import mujoco

    model = _model(robot)
    way = _way(robot, model, body)
    chain, position, quat = list[dict[str, Any]](), np.zeros(3), _LEVEL
    for i in way[1:]:
        position, quat = _after(position, quat, model.body_pos[i], model.body_quat[i])
        first = int(model.body_jntadr[i])
        for joint in range(first, first + int(model.body_jntnum[i])):
            name = model.joint(joint).name
            if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE:
                raise ToolError(
                    f"{robot}: expected only hinge joints between {model.body(way[0]).name} and "
                    f"{body}, found the joint {name}; choose an anchor above it"
                )
            position, quat = _after(position, quat, model.jnt_pos[joint], _LEVEL)
            axis = _listed(model.jnt_axis[joint])
            chain.append({"joint": name, **_offset(position, quat), "axis": axis})
            position, quat = -model.jnt_pos[joint], _LEVEL
    if np.any(position) or not np.allclose(np.abs(quat), _LEVEL):
        chain.append(_offset(position, quat))
    return chain


def find_base(robot: Path) -> str:
    """Return the name of the robot's root body."""
    model = _model(robot)
    roots = [model.body(i).name for i in range(1, model.nbody) if not model.body_parentid[i]]
    if len(roots) != 1:
        raise ToolError(f"{robot}: expected one root body, found {', '.join(roots)}")
    return str(roots[0])


def body_poses(
    robot: Path, body: str, names: Sequence[str], joint_pos: F64, base_pos: F64, base_quat: F64
) -> tuple[F64, F64]:
    """Return positions [frames, 3] and orientations [frames, 4], w first, of a body for each frame.

    Args:
        robot: Same as for `anchor_chain`.
        body: Name of the body.
        names: Names of the joints.
        joint_pos: Joint positions [frames, joints], rad; joints that are not in `names` are at 0.
        base_pos: Positions of the base [frames, 3], m.
        base_quat: Orientations of the base [frames, 4], w first.
    """
    import mujoco

    model = _model(robot)
    data, base = mujoco.MjData(model), _way(robot, model, body)[0]
    known = {model.joint(i).name: i for i in range(model.njnt)}
    if missing := [name for name in names if name not in known]:
        raise ToolError(
            f"{robot}: expected the joints of the motion, found none named {', '.join(missing)}"
        )
    places = [int(model.jnt_qposadr[known[name]]) for name in names]
    pos, quat = np.zeros((len(joint_pos), 3)), np.zeros((len(joint_pos), 4))
    inverse, place, turn = np.zeros(4), np.zeros(3), np.zeros(4)
    for frame, angles in enumerate(joint_pos):
        data.qpos[places] = angles
        mujoco.mj_kinematics(model, data)
        mujoco.mju_negQuat(inverse, data.xquat[base])
        mujoco.mju_rotVecQuat(place, data.body(body).xpos - data.xpos[base], inverse)
        mujoco.mju_mulQuat(turn, inverse, data.body(body).xquat)
        pos[frame], quat[frame] = _after(base_pos[frame], base_quat[frame], place, turn)
    return pos, quat


def _way(robot: Path, model: Any, body: str) -> list[int]:
    names = [model.body(i).name for i in range(1, model.nbody)]
    if body not in names:
        raise ToolError(
            f"{robot}: expected the body {body} (the motion's anchor), found only "
            f"{', '.join(names)}"
        )
    way = [int(model.body(body).id)]
    while model.body_parentid[way[0]]:
        way.insert(0, int(model.body_parentid[way[0]]))
    return way


def _model(robot: Path) -> Any:
    """Return a MuJoCo model with only the bodies and joints of the robot."""
    import mujoco

    from robot_sim.model import build_spec

    try:
        if figures_file(robot).is_file():
            return bare_model(build_spec(load_robot(robot)))
        return bare_model(mujoco.MjSpec.from_file(str(robot)))
    except ValueError as error:
        text = " ".join(str(error).split())
        raise ToolError(
            f"{robot}: expected a URDF or MJCF file that MuJoCo loads, found one that it refuses: "
            f"{text}"
        ) from error


def _after(position: F64, quat: F64, offset: F64, turn: F64) -> tuple[F64, F64]:
    """Return a pose composed with an offset and a rotation; quaternions have w first."""
    import mujoco

    rotated, both = np.zeros(3), np.zeros(4)
    mujoco.mju_rotVecQuat(rotated, offset, quat)
    mujoco.mju_mulQuat(both, quat, turn)
    return position + rotated, both


def _offset(position: F64, quat: F64) -> dict[str, Any]:
    found: dict[str, Any] = {"position_m": _listed(position)}
    if not np.allclose(np.abs(quat), _LEVEL):
        found["quat_xyzw"] = _listed(np.roll(quat, -1))
    return found


def _listed(values: F64) -> list[float]:
    return [round(float(value), _DIGITS) + 0.0 for value in values]
