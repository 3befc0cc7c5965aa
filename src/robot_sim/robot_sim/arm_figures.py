# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm's data, read from its folder: a chain of links, each turned by a servo."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robot_sim.figures import Array, Quat, Vec3, load_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLink:
    """A link and the joint that carries it.

    Attributes:
        joint: Name of the joint.
        name: Name of the link.
        pos: Origin of the link's frame in its parent's frame, m.
        quat_wxyz: Orientation of the link's frame with the joint at zero.
        lower: Lowest position of the joint, rad.
        upper: Highest position of the joint, rad.
        mass_kg: Mass of the link.
        com: Center of mass, m.
        inertia: Inertia about the center of mass: xx, yy, zz, xy, xz, yz, kg m^2.
    """

    joint: str
    name: str
    pos: Vec3
    quat_wxyz: Quat
    lower: float
    upper: float
    mass_kg: float
    com: Vec3
    inertia: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoFigures:
    """Drive data shared by all joints of an arm.

    Attributes:
        stall_nm: Maximum torque.
        rotor_inertia: Inertia of the rotor at the shaft, kg m^2.
        back_drive_nms: Torque needed to turn the gears, N m s/rad.
        friction_nm: Friction of the gears at rest.
        stiffness: Position gain, N m/rad.
        damping: Velocity gain, N m s/rad.
    """

    stall_nm: float
    rotor_inertia: float
    back_drive_nms: float
    friction_nm: float
    stiffness: float
    damping: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmBox:
    """A box on a link, or on `base`, which carries the first link: center and half-extents, m."""

    body: str
    material: str
    at: Vec3
    half_size: Vec3


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCamera:
    """A camera on a link: its position, right and up directions, and vertical field of view."""

    name: str
    body: str
    at: Vec3
    right: Vec3
    up: Vec3
    fovy_deg: float


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """All data about an arm that the model and the world use.

    Attributes:
        tip: Point between the jaws' ends, in the frame of the second-to-last link.
        home: Start pose of episodes [n], rad.
    """

    name: str
    links: tuple[ArmLink, ...]
    tip: Vec3
    servo: ServoFigures
    home: tuple[float, ...]
    boxes: tuple[ArmBox, ...]
    cameras: tuple[ArmCamera, ...]

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """Joint names from the base outward: the order of all joint arrays [n]."""
        return tuple(link.joint for link in self.links)

    @cached_property
    def lower_rad(self) -> Array:
        """Lowest positions [n]."""
        return np.array([link.lower for link in self.links])

    @cached_property
    def upper_rad(self) -> Array:
        """Highest positions [n]."""
        return np.array([link.upper for link in self.links])

    @cached_property
    def home_rad(self) -> Array:
        """Start pose of episodes [n]."""
        return np.array(self.home)


SO101 = load_figures(ArmFigures, "so101")
"""The arm for the demo and for the policies shipped with the suite."""
