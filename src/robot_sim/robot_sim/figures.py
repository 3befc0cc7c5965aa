# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's data, read from its folder, which is the only place specific to that robot.

The folder holds `figures.yaml`; `robots/lite3` and `robots/g1` show every key for legged robots.
Units are m, kg, kg m^2, rad, N m and rad/s; in the base, x is forward, y left, z up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import numpy as np
import numpy.typing as npt

from policy_core.bundle.schema import Reader, load_yaml
from policy_core.errors import BundleError
from robot_sim.errors import SimError

FiguresT = TypeVar("FiguresT")
Array = npt.NDArray[np.float64]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Pose = Literal["lying", "standing"]
ROBOTS = Path(__file__).parent / "robots"
"""Folders of the robots in this package, each named after its robot."""
FILE = "figures.yaml"
MATERIALS = ("skin", "dark", "metal", "accent", "rubber")
KINDS = ("box", "sphere", "capsule", "cylinder")
LEVEL_QUAT: Quat = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HingeFigures:
    """A driven hinge through the origin of the body that it moves.

    Attributes:
        name: Joint name on topics.
        axis: Axis in the body's frame.
        lower, upper: Limits, rad.
        effort_nm: Rated torque.
        speed_radps: Rated speed.
        armature_kgm2: Inertia of the rotor and gears, at the joint.
    """

    name: str
    axis: Vec3
    lower: float
    upper: float
    effort_nm: float
    speed_radps: float
    armature_kgm2: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFigures:
    """A rigid body. Without a joint, it is fixed to its parent; only the base moves freely.

    Attributes:
        name: Name of the body.
        parent: The body that carries it; empty only for the base.
        pos: Origin of the body frame in the parent's frame, m.
        quat_wxyz: Orientation of the body frame in the parent's frame, with the joint at zero.
        mass_kg: Mass of the body.
        com: Center of mass, m.
        inertia: Inertia about the center of mass, in the body's axes, kg m^2: xx, yy, zz, and xy,
            xz, yz if not 0.
        joint: The hinge that moves the body, if any.
    """

    name: str
    parent: str = ""
    pos: Vec3 = (0.0, 0.0, 0.0)
    quat_wxyz: Quat = LEVEL_QUAT
    mass_kg: float
    com: Vec3
    inertia: tuple[float, ...]
    joint: HingeFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foot:
    """Rubber spheres at the end of a leg, where the ground reaction force is measured.

    Attributes:
        name: LEG_foot.
        body: The body to which the foot is fixed.
        pos: Position in that body's frame, m.
        radius_m: Radius of each sphere.
        mass_kg: Mass of all spheres; 0 if the body's mass includes them.
        spheres: Centers of several spheres, m; a single one lies at `pos`.
    """

    name: str
    body: str
    pos: Vec3
    radius_m: float
    mass_kg: float = 0.0
    spheres: tuple[Vec3, ...] = ((0.0, 0.0, 0.0),)

    @property
    def leg(self) -> str:
        return self.name.removesuffix("_foot")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPose:
    """Base height at which the robot just touches the floor, and joint positions by limb, rad."""

    height_m: float
    joints: tuple[tuple[float, ...], ...]
    quat_wxyz: Quat = LEVEL_QUAT

    @property
    def joint_pos(self) -> Array:
        """Positions [n] in the order of all joint arrays, rad."""
        return np.array([each for limb in self.joints for each in limb], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poses:
    """Start poses: lying, and the pose from which the robot's policies start."""

    lying: StartPose
    standing: StartPose


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A shape of one body, or of the same body in every limb, specified for the front left limb.

    Attributes:
        body: Name of a body; `hip` also means every body named NAME_hip.
        kind: One of KINDS.
        places: A point, or the two end points of a capsule or cylinder.
        size: Half-extents of a box, otherwise the radius.
        material: One of MATERIALS; empty for invisible shapes.
        mirror: Axes whose signs change: `x` in bodies behind the base, `y` on its right.
    """

    body: str
    kind: str
    places: tuple[Vec3, ...]
    size: tuple[float, ...]
    material: str = ""
    mirror: tuple[str, ...] = ()

    def covers(self, body: str) -> bool:
        """Return whether a body of this name has the shape."""
        return body == self.body or body.endswith(f"_{self.body}")


@dataclass(frozen=True, kw_only=True)
class LeggedRobot:
    """All data about a legged robot that the model and the world use.

    Attributes:
        bodies: Bodies in depth-first order: each body's parent is the preceding body or an ancestor
            of it.
        feet: One foot per leg.
        fallen_height_m: Height of the base above the ground below which the robot has fallen.
        hulls: Shapes that can touch the floor, besides the feet.
        looks: Visible shapes.
        imu: Position of the IMU in the base frame, m.
        starts: The pose in which its policy takes control.
    """

    name: str
    bodies: tuple[BodyFigures, ...]
    feet: tuple[Foot, ...]
    poses: Poses
    fallen_height_m: float
    hulls: tuple[Shape, ...]
    looks: tuple[Shape, ...] = ()
    imu: Vec3 = (0.0, 0.0, 0.0)
    starts: str = "lying"

    def __post_init__(self) -> None:
        """Check the rules that the types cannot express."""
        self._check_tree()
        if self.starts not in get_args(Pose):
            raise SimError(f"starts: expected one of {get_args(Pose)}, found {self.starts!r}")
        for pose in get_args(Pose):
            found, expected = len(self.start(pose).joint_pos), len(self.joint_names)
            if found != expected:
                raise SimError(f"poses.{pose}.joints: expected {expected} values, found {found}")
        names = [body.name for body in self.bodies]
        for foot in self.feet:
            if foot.body not in names:
                raise SimError(f"feet: expected a body, found {foot.body!r}")
        for shape in (*self.hulls, *self.looks):
            if not any(map(shape.covers, names)):
                raise SimError(f"body: expected one of {', '.join(names)}, found {shape.body!r}")
            if len(shape.places) not in (1, 2):
                raise SimError(f"places: expected 1 or 2, found {len(shape.places)}")
            if shape.kind not in KINDS:
                raise SimError(f"kind: expected one of {', '.join(KINDS)}, found {shape.kind!r}")
        for shape in self.looks:
            if shape.material not in MATERIALS:
                raise SimError(
                    f"looks: material: expected one of {', '.join(MATERIALS)}, found "
                    f"{shape.material!r}"
                )

    def _check_tree(self) -> None:
        """Check the order of the bodies: it must be depth-first, as in MuJoCo."""
        path: list[str] = []
        for number, body in enumerate(self.bodies):
            if body.parent not in (path or [""]):
                expected = " or ".join(path) or "no parent"
                raise SimError(
                    f"bodies[{number}].parent: expected {expected}, found {body.parent!r}"
                )
            path = [*path[: path.index(body.parent) + 1], body.name] if path else [body.name]
            if len(body.inertia) not in (3, 6):
                raise SimError(
                    f"bodies[{number}].inertia: expected 3 or 6 numbers, found {len(body.inertia)}"
                )
        if not self.joint_names or not self.feet:
            raise SimError("expected joints and feet, found a robot without them")

    @property
    def base(self) -> BodyFigures:
        return self.bodies[0]

    @cached_property
    def joints(self) -> tuple[HingeFigures, ...]:
        """Joints of all bodies, in the order of all joint arrays [n]."""
        return tuple(body.joint for body in self.bodies if body.joint is not None)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints: the order of all joint arrays [n]."""
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def foot_names(self) -> tuple[str, ...]:
        """Names of the feet, LEG_foot, in the order of the legs."""
        return tuple(foot.name for foot in self.feet)

    @cached_property
    def range_rad(self) -> Array:
        """Lower and upper limits of the joints [n, 2], rad."""
        return np.array([(joint.lower, joint.upper) for joint in self.joints], dtype=np.float64)

    @cached_property
    def effort_limit_nm(self) -> Array:
        """Rated torques [n], N m."""
        return np.array([joint.effort_nm for joint in self.joints], dtype=np.float64)

    @cached_property
    def standing_rad(self) -> Array:
        """The pose [n] that policies start from and return to, rad."""
        return self.poses.standing.joint_pos

    def start(self, pose: str) -> StartPose:
        if pose not in get_args(Pose):
            raise SimError(f"pose: expected one of {', '.join(get_args(Pose))}, found '{pose}'")
        found: StartPose = getattr(self.poses, pose)
        return found

    def part(self, joint_name: str) -> str:
        """Return the name that a joint has in every leg, such as `HipX` for FL_HipX_joint."""
        name = joint_name.removesuffix("_joint")
        for foot in self.feet:
            name = name.removeprefix(f"{foot.leg}_")
        return name


def load_robot(robot: str | Path) -> LeggedRobot:
    return load_figures(LeggedRobot, robot)


def load_figures(kind: type[FiguresT], robot: str | Path) -> FiguresT:
    """Return a robot's data.

    Args:
        kind: Dataclass for the file's content: numbers, strings, tuples of these, and dataclasses.
        robot: Name of a folder in ROBOTS, or any folder; see `figures_file`.
    """
    file = figures_file(robot)
    known = robot_names(kind)
    if not file.is_file() or (file.parent.parent == ROBOTS and file.parent.name not in known):
        raise SimError(
            f"{robot}: expected {', '.join(known)}, or a robot's folder with {FILE}, found "
            f"{_instead(file)}"
        )
    return read_figures(kind, file)


def figures_file(robot: str | Path) -> Path:
    """Return the path of a robot's data file, which need not exist.

    Args:
        robot: Name of a folder in ROBOTS, otherwise a folder relative to the current one. A string
            with a slash, such as `./go2`, is never a name in ROBOTS.
    """
    named = ROBOTS / robot / FILE
    if os.sep not in str(robot) and named.is_file():
        return named
    return Path(robot).expanduser().absolute() / FILE


def _instead(file: Path) -> str:
    """Return a description of what was found instead of a robot's data, with the remedy."""
    found = file.parent
    if found.is_dir():
        return "a different kind of robot" if file.is_file() else f"{found} without that file"
    if not found.is_file():
        return f"no folder {found}"
    if found.name == FILE:
        return f"figures.yaml itself; give its folder: {found.parent}"
    return (
        "a file; the simulator does not load MJCF or URDF; `model_tools import`, `complete` and "
        "`compare` do, with --robot-model"
    )


def robot_names(kind: type[Any] = LeggedRobot) -> list[str]:
    required = {each.name for each in fields(kind) if each.default is MISSING}
    return sorted(
        file.parent.name
        for file in ROBOTS.glob(f"*/{FILE}")
        if required <= set(re.findall(r"^(\w+):", file.read_text("utf-8"), re.MULTILINE))
    )


class _FigureReader(Reader):
    """Reads figures; its only rule is that a tuple has the length that its type states."""

    def value(self, kind: Any, value: object, key: str, rules: Mapping[str, Any]) -> Any:
        parts = get_args(kind) if get_origin(kind) is tuple else ()
        length = len(parts) if parts and parts[-1] is not Ellipsis else None
        return super().value(kind, value, key, {"length": length, "schema": {}})


def read_figures(kind: type[FiguresT], file: Path) -> FiguresT:
    """Read a YAML file into a dataclass; see `load_figures`."""
    reader = _FigureReader(str(file))
    try:
        made: FiguresT = reader.section(kind, load_yaml(file))
    except BundleError as error:
        raise SimError(*error.args) from None
    except SimError as error:
        raise SimError(f"{file}: {error}") from None
    if reader.problems:
        raise SimError(*map(str, reader.problems))
    return made


LITE3 = load_robot("lite3")
"""The default robot, for which the suite includes policies."""
