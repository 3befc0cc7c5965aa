# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a robot, from its folder: the one place that knows the robot's name.

A folder holds `figures.yaml`; `robots/lite3` has one with every key of a quadruped. Metres,
kilograms, kg m^2, radians, N m, rad/s; x forward, y left, z up, and all joint frames parallel to
the torso's when every joint is at zero.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import yaml

from robot_sim.errors import SimError

FiguresT = TypeVar("FiguresT")
Array = npt.NDArray[np.float64]
Vec3 = tuple[float, float, float]
Pose = Literal["lying", "standing"]
ROBOTS = Path(__file__).parent / "robots"
"""Folders of the robots that come with this package; the name of one is that of its robot."""
FILE = "figures.yaml"
BODIES = ("torso", "hip", "thigh", "shank")
MATERIALS = ("skin", "dark", "metal", "accent", "rubber")
KINDS = ("box", "sphere", "capsule", "cylinder")
LEGS, LEG_JOINTS = 4, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Inertial:
    """Mass (kg), centre of mass (m) and diagonal inertia (kg m^2) in a link's frame."""

    mass_kg: float
    com: Vec3
    inertia: Vec3


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What distinguishes one leg: its mount on the torso and the links that are not mirrored."""

    name: str
    mount: Vec3
    thigh_offset: Vec3
    hip: Inertial
    thigh: Inertial


@dataclass(frozen=True, slots=True, kw_only=True)
class LegJoint:
    """One of the three joints of each leg: axis, limits in rad, rated torque and speed."""

    part: str
    axis: Vec3
    lower: float
    upper: float
    effort_nm: float
    speed_radps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Foot:
    """A solid sphere of rubber at the end of each shank."""

    radius_m: float
    mass_kg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPose:
    """Height of the torso at which the feet touch the floor, and the joints of each leg, rad."""

    height_m: float
    joints: tuple[Vec3, ...]

    @property
    def joint_pos(self) -> Array:
        """Positions [12] in the order of all joint arrays, rad."""
        return np.array(self.joints, dtype=np.float64).ravel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Poses:
    """How the robot starts: belly down with folded legs, or in the pose of its policies."""

    lying: StartPose
    standing: StartPose


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A shape of the torso or of each leg, as it is in the front left one.

    Attributes:
        body: One of BODIES.
        kind: One of KINDS.
        places: A point, or the two between which a capsule or cylinder runs.
        size: Half sizes of a box, else the radius.
        material: One of MATERIALS; empty for what is not seen.
        mirror: Axes whose signs change: `x` in the legs behind, `y` on the right.
    """

    body: str
    kind: str
    places: tuple[Vec3, ...]
    size: tuple[float, ...]
    material: str = ""
    mirror: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quadruped:
    """All that the model and the world know of a robot with four legs of three joints.

    Attributes:
        shank, foot: Of every leg.
        fallen_height_m: Height of the torso above the ground below which the belly is on it.
        hulls: What touches the floor beside the feet.
        looks: What is seen.
    """

    name: str
    torso: Inertial
    joints: tuple[LegJoint, ...]
    legs: tuple[Leg, ...]
    thigh_length_m: float
    shank_length_m: float
    shank: Inertial
    foot: Foot
    poses: Poses
    fallen_height_m: float
    hulls: tuple[Shape, ...]
    looks: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        """Check what the types do not say.

        Raises:
            SimError: The robot is no quadruped, or a shape is of no kind.
        """
        counts = [("legs", self.legs, LEGS), ("joints", self.joints, LEG_JOINTS)]
        counts += [(f"poses.{pose}", self.start(pose).joints, LEGS) for pose in get_args(Pose)]
        for key, found, expected in counts:
            if len(found) != expected:
                raise SimError(f"{key}: expected {expected}, found {len(found)}")
        for shape in (*self.hulls, *self.looks):
            for key, value, known in (
                ("body", shape.body, BODIES),
                ("kind", shape.kind, KINDS),
                ("material", shape.material or MATERIALS[0], MATERIALS),
            ):
                if value not in known:
                    raise SimError(f"{key}: expected one of {', '.join(known)}, found {value!r}")

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """LEG_PART_joint, leg by leg: the order of all joint arrays [12]."""
        return tuple(f"{leg.name}_{joint.part}_joint" for leg in self.legs for joint in self.joints)

    @cached_property
    def foot_names(self) -> tuple[str, ...]:
        """LEG_foot, in the order of the legs."""
        return tuple(f"{leg.name}_foot" for leg in self.legs)

    @cached_property
    def effort_limit_nm(self) -> Array:
        """Rated torques [12], N m."""
        return np.tile([joint.effort_nm for joint in self.joints], len(self.legs)).astype(float)

    @cached_property
    def standing_rad(self) -> Array:
        """The pose [12] that policies start from and return to, rad."""
        return self.poses.standing.joint_pos

    def start(self, pose: Pose) -> StartPose:
        """Return how the robot starts in a pose."""
        found: StartPose = getattr(self.poses, pose)
        return found


def load_quadruped(robot: str | Path) -> Quadruped:
    """Return the figures of a quadruped: `load_figures`."""
    return load_figures(Quadruped, robot)


def load_figures(kind: type[FiguresT], robot: str | Path) -> FiguresT:
    """Return the figures of a robot.

    Args:
        kind: A dataclass of numbers, texts, tuples of these and dataclasses, as the file has them.
        robot: Name of a folder of ROBOTS, or any folder.

    Raises:
        SimError: There is no such folder, or its figures cannot be those of such a robot.
    """
    file = ROBOTS / robot / FILE
    if not file.is_file():
        known = ", ".join(sorted(each.parent.name for each in ROBOTS.glob(f"*/{FILE}")))
        raise SimError(f"{file}: expected the figures of a robot, found none; there are {known}")
    try:
        made: FiguresT = _made(kind, yaml.safe_load(file.read_text("utf-8")), "")
    except SimError as error:
        raise SimError(f"{file}: {error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise SimError(f"{file}: expected YAML in UTF-8, found: {text}") from None
    return made


def _made(kind: Any, found: Any, place: str) -> Any:
    """Return what a part of the file says as a value of a type: a class above, or what is in it.

    Raises:
        SimError: It is of another form; says where.
    """
    if is_dataclass(kind):
        return _made_class(kind, found, place)
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        count = None if parts[-1] is Ellipsis else len(parts)
        if not isinstance(found, list) or count not in (None, len(found)):
            expected = "a list" if count is None else f"{count} numbers"
            raise SimError(f"{place}: expected {expected}, found {found!r}")
        return tuple(_made(parts[0], each, f"{place}[{i}]") for i, each in enumerate(found))
    if kind is float and type(found) in (int, float) and np.isfinite(found):
        return float(found)
    if kind is str and isinstance(found, str) and found:
        return found
    raise SimError(f"{place}: expected a {'number' if kind is float else 'text'}, found {found!r}")


def _made_class(kind: Any, found: Any, place: str) -> Any:
    if not isinstance(found, dict):
        raise SimError(f"{place or 'the file'}: expected keys and values, found {found!r}")
    types = get_type_hints(kind)
    required = {each.name for each in fields(kind) if each.default is MISSING}
    missing, unknown = (
        sorted(required - found.keys()),
        sorted(map(str, found.keys() - types.keys())),
    )
    if missing or unknown:
        raise SimError(
            f"{place or 'the file'}: missing {', '.join(missing) or 'nothing'}; unknown "
            f"{', '.join(unknown) or 'nothing'}"
        )
    inside = f"{place}." if place else ""
    return kind(**{key: _made(types[key], each, f"{inside}{key}") for key, each in found.items()})


LITE3 = load_quadruped("lite3")
"""The robot of the policy that comes with the suite, where no other one is named."""
