# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads joint data from a robot's file or `figures.yaml`, and fills the gaps in a source."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.make.importers.action import driven_by_velocity
from model_tools.make.importers.draft import TODO, Draft, text
from policy_core.bundle.resolve import robot_names
from robot_sim.errors import SimError
from robot_sim.figures import BodyFigures, LeggedRobot, figures_file, load_robot
from robot_sim.legs import make_estimation

_SINGLE_DOF = ("revolute", "continuous", "prismatic")
_FIELDS = ("position_min", "position_max", "velocity_limit", "effort_limit")
_UNREACHED = {"position_min": -1e6, "position_max": 1e6}
"""Position limits of a wheel, rad."""
_ROBOT_NAMES = "joints.robot_names"
_BESIDE_JOINTS = (
    *("sensors", "keys", "equalities", "tendons", "excludes", "pairs", "skins", "flexes"),
    *("sites", "geoms", "meshes", "hfields", "materials", "textures"),
)
"""Parts to remove from a MuJoCo spec; those that refer to others come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointFigures:
    """Limits in rad, rad/s and N·m; None if the file does not state them.

    Attributes:
        parent: The next movable joint toward the base; None if there is none.
    """

    parent: str | None = None
    position_min: float | None = None
    position_max: float | None = None
    velocity_limit: float | None = None
    effort_limit: float | None = None


def read_robot(path: Path) -> dict[str, JointFigures]:
    """Return the single-DOF joints in the file's order.

    Args:
        path: URDF or MJCF file, name of a robot in robot_sim, such as go2, or a folder with a
            `figures.yaml`.
    """
    if figures_file(path).is_file():
        return _figures(_legged(path).bodies)
    root = _parsed(path.read_bytes(), str(path))
    if root.tag not in ("robot", "mujoco"):
        raise ToolError(
            f"{path}: expected a URDF or MJCF file, found the root element <{root.tag}>"
        )
    return _some(_urdf(root, str(path)) if root.tag == "robot" else _mjcf(path), str(path))


def read_urdf(text: str, origin: str) -> dict[str, JointFigures]:
    """Return the single-DOF joints of a URDF from `origin`, in the URDF's order."""
    root = _parsed(text.encode(), origin)
    if root.tag != "robot":
        raise ToolError(f"{origin}: expected a URDF, found the root element <{root.tag}>")
    return _some(_urdf(root, origin), origin)


def is_urdf(path: Path) -> bool:
    """Return whether the file is a URDF."""
    return _parsed(path.read_bytes(), str(path)).tag == "robot"


def breadth_first(robot: Mapping[str, JointFigures], *, by_name: bool = True) -> list[str]:
    """Return the joints level by level from the base: the order of PhysX and thus of Isaac Lab.

    PhysX keeps the order of siblings in the USD. Isaac Sim's URDF importer sorts them by name (it
    holds the joints in a `std::map`), so that, for example, a Go2 has FL, FR, RL, RR, whatever the
    order in its URDF. Its MJCF importer keeps the file's order.

    Args:
        robot: The joints, in the file's order.
        by_name: Sort siblings by name; otherwise, they are in the file's order.
    """
    names = sorted(robot) if by_name else [*robot]
    order = [name for name in names if robot[name].parent is None]
    for parent in order:
        order += [name for name in names if robot[name].parent == parent]
    return order + [name for name in names if name not in order]


def _parsed(content: bytes, origin: str) -> ET.Element:
    try:
        return ET.fromstring(content)
    except ET.ParseError as error:
        raise ToolError(
            f"{origin}: expected a URDF or MJCF file, found invalid XML ({error})"
        ) from error


def _some(joints: dict[str, JointFigures], origin: str) -> dict[str, JointFigures]:
    if not joints:
        raise ToolError(f"{origin}: expected joints with one degree of freedom, found none")
    return joints


def _figures(bodies: Sequence[BodyFigures]) -> dict[str, JointFigures]:
    """Return the joints of the bodies in a `figures.yaml`, which lists parent bodies first."""
    above: dict[str, str | None] = {"": None}
    found = {}
    for body in bodies:
        parent, joint = above[body.parent], body.joint
        above[body.name] = parent if joint is None else joint.name
        if joint is not None:
            found[joint.name] = JointFigures(
                parent=parent,
                position_min=joint.lower,
                position_max=joint.upper,
                velocity_limit=joint.speed_radps,
                effort_limit=joint.effort_nm,
            )
    return found


def _urdf(root: ET.Element, origin: str) -> dict[str, JointFigures]:
    above = {child: joint for joint in root.iter("joint") if (child := _link(joint, "child"))}
    return {
        joint.get("name", ""): _urdf_figures(origin, joint, above)
        for joint in root.iter("joint")
        if joint.get("type") in _SINGLE_DOF
    }


def _link(joint: ET.Element, side: str) -> str:
    link = joint.find(side)
    return "" if link is None else link.get("link", "")


def _urdf_parent(joint: ET.Element, above: Mapping[str, ET.Element]) -> str | None:
    """Return the next movable joint toward the base; a cycle of links ends the search."""
    for _ in above:
        found = above.get(_link(joint, "parent"))
        if found is None or found.get("type") in _SINGLE_DOF:
            return None if found is None else found.get("name")
        joint = found
    return None


def _urdf_figures(origin: str, joint: ET.Element, above: Mapping[str, ET.Element]) -> JointFigures:
    limit, parent = joint.find("limit"), _urdf_parent(joint, above)
    names = {
        "position_min": "lower",
        "position_max": "upper",
        "velocity_limit": "velocity",
        "effort_limit": "effort",
    }
    try:
        figures = {
            field: float(limit.attrib[name])
            for field, name in names.items()
            if limit is not None and name in limit.attrib
        }
        return JointFigures(parent=parent, **figures)
    except ValueError as error:
        raise ToolError(
            f"{origin}: joint {joint.get('name')}: expected numeric limits, found text that is "
            f"not a number ({error})"
        ) from error


def _mjcf(path: Path) -> dict[str, JointFigures]:
    """Read the file with MuJoCo, since its classes and `compiler` set defaults and units."""
    import mujoco

    try:
        model = bare_model(mujoco.MjSpec.from_file(str(path)))
    except ValueError as error:
        raise ToolError(
            f"{path}: expected an MJCF file that MuJoCo loads, found one that it refuses: {error}"
        ) from error
    return {
        model.joint(i).name: _mjcf_figures(model, i)
        for i in range(model.njnt)
        if model.jnt_type[i] in _mjcf_single()
    }


def bare_model(spec: Any) -> Any:
    """Return a MuJoCo model with only bodies, joints and the joints' actuators.

    Meshes and textures, which often do not come with a robot's file, are not read.
    """
    import mujoco

    for actuator in list(spec.actuators):
        if actuator.trntype not in (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT):
            spec.delete(actuator)
    for kind in _BESIDE_JOINTS:
        for part in list(getattr(spec, kind)):
            spec.delete(part)
    for body in spec.bodies[1:]:  # their geoms would have provided these
        body.explicitinertial, body.fullinertia = True, [math.nan] * 6
        body.mass, body.inertia = 1.0, [1.0, 1.0, 1.0]
    spec.compiler.fusestatic = False
    return spec.compile()


def _mjcf_figures(model: Any, joint: int) -> JointFigures:
    low, high = model.jnt_range[joint].tolist()
    limited = {"position_min": low, "position_max": high} if model.jnt_limited[joint] else {}
    return JointFigures(
        parent=_mjcf_parent(model, joint), effort_limit=_mjcf_effort(model, joint), **limited
    )


def _mjcf_parent(model: Any, joint: int) -> str | None:
    """Return the next single-DOF joint toward the base; joints of one body form a chain."""
    body = model.jnt_bodyid[joint]
    single = [i for i in range(model.njnt) if model.jnt_type[i] in _mjcf_single()]
    here = [i for i in single if model.jnt_bodyid[i] == body and i < joint]
    while not here and body:
        body = model.body_parentid[body]
        here = [i for i in single if model.jnt_bodyid[i] == body]
    return model.joint(here[-1]).name if here else None


def _mjcf_single() -> tuple[int, int]:
    import mujoco

    return int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)


def _mjcf_effort(model: Any, joint: int) -> float | None:
    """Return the smallest of MuJoCo's torque limits for a joint's motor."""
    bounds = [model.jnt_actfrcrange[joint][1].item()] if model.jnt_actfrclimited[joint] else []
    for i in range(model.nu):
        if model.actuator_trnid[i][0] != joint:
            continue
        gear = abs(model.actuator_gear[i][0].item())
        if model.actuator_forcelimited[i]:
            bounds.append(gear * model.actuator_forcerange[i][1].item())
        # A plain motor's control is its torque.
        if model.actuator_ctrllimited[i] and not model.actuator_biasprm[i].any():
            gain = model.actuator_gainprm[i][0].item()
            bounds.append(gear * gain * model.actuator_ctrlrange[i][1].item())
    return min(bounds, default=None)


def ask_robot_names(draft: Draft, robot: Mapping[str, JointFigures], origin: str) -> bool:
    """Ask what the robot calls joints that its file lacks; return whether any are still open."""
    if draft.find(_ROBOT_NAMES) is None:
        missing = [name for name in draft.find("joints.names") if name not in robot]
        if missing:
            draft.ask(
                _ROBOT_NAMES,
                f"the robot's name for {', '.join(missing)}, as a mapping from names or patterns, "
                f"such as {{left_.*: '{{name}}_joint'}}; {origin} has {', '.join(robot)}",
            )
    stated = draft.find(_ROBOT_NAMES)
    return isinstance(stated, Mapping) and TODO in stated


def put_robot_limits(draft: Draft, robot: Mapping[str, JointFigures], origin: str) -> None:
    """Write each limit that the robot file states for all the policy's joints."""
    names = _on_robot(draft)
    missing = [name for name in names if name not in robot]
    if missing:
        raise ToolError(
            f"{origin}: expected the policy's joints, found none named {', '.join(missing)}; the "
            f"robot has {', '.join(robot)}"
        )
    wheels = driven_by_velocity(draft)
    for field in _FIELDS:
        unlimited = _UNREACHED.get(field)
        values = [
            unlimited if found is None and own in wheels else found
            for own, found in zip(
                draft.find("joints.names"),
                [getattr(robot[name], field) for name in names],
                strict=True,
            )
        ]
        if None not in values and draft.find(f"joints.{field}") is None:
            draft.put(f"joints.{field}", values, origin)


def put_estimation(draft: Draft, robot: Path | None) -> None:
    """Let the estimator provide base_lin_vel, from the legs and IMU in a `figures.yaml`."""
    if robot is None or not figures_file(robot).is_file():
        raise ToolError(
            "--estimator: expected a --robot with figures for legs and IMU (go2, g1, lite3 or a "
            f"folder), found {robot or 'none'}"
        )
    terms = [path for path, term in draft.terms() if term.get("term") == "base_lin_vel"]
    if not terms:
        raise ToolError("--estimator: expected a base_lin_vel term, found none")
    if isinstance(renamed := draft.find(_ROBOT_NAMES), Mapping) and TODO in renamed:
        draft.ask("estimation", f"answer {_ROBOT_NAMES}, then import again with --estimator")
        return
    own = dict(zip(_on_robot(draft), draft.find("joints.names"), strict=True))
    estimation = _plain(asdict(make_estimation(_legged(robot))))
    for link in (link for leg in estimation["legs"] for link in leg["chain"] if "joint" in link):
        link["joint"] = own.get(link["joint"], link["joint"])
    draft.put("estimation", estimation, f"{robot.name}; error as in docs/estimation.md")
    for path in terms:
        draft.put((*path, "source"), "estimator")


def is_estimated(draft: Draft) -> bool:
    """Return whether an answer says that base_lin_vel is estimated, by legs that are still unknown.

    Raises:
        ToolError: An answer says that the robot has no source of it.
    """
    sources = {text(path): term.get("source") for path, term in draft.terms()}
    for key, source in sources.items():
        if source == "none":
            raise ToolError(
                f"{key}.source: expected estimator or measured, found none: a robot without any "
                "source of base_lin_vel cannot run this policy; train it without this term"
            )
    return "estimator" in sources.values() and draft.find("estimation") is None


def _legged(robot: Path) -> LeggedRobot:
    try:
        return load_robot(robot)
    except SimError as error:
        raise ToolError(f"--robot {error}") from error


def _plain(value: Any) -> Any:
    """Convert contract values to plain YAML types, omitting None."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _on_robot(draft: Draft) -> tuple[str, ...]:
    names, renamed = draft.find("joints.names"), draft.find(_ROBOT_NAMES) or {}
    if not isinstance(renamed, Mapping) or not all(isinstance(n, str) for n in renamed.values()):
        raise ToolError(
            f"{_ROBOT_NAMES}: expected a mapping from the policy's joint names or patterns to the "
            f"robot's joint names, found {renamed!r}"
        )
    try:
        return robot_names(names, renamed)
    except ValueError as error:
        expected, found = error.args
        raise ToolError(f"{_ROBOT_NAMES}: expected {expected}, found {found}") from error
