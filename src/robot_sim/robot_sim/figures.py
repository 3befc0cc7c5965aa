# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the DeepRobotics Lite3, from its maker's published URDF.

Source: DeepRoboticsLab/URDF_model, `Lite3/Lite3_urdf/urdf/Lite3.urdf`, commit
fea2482b1f757dc03082191315e66b4fee5a1d50, sha256
181f7d20cfad3876bc040c8cbd0f38de322126329d06eef488eee8a687a2d285. Two figures are rounded: the
shanks' centres of mass lie 1.5 micrometres beside their middle there, and the feet, which have mass
but no inertia there, are solid spheres here.

Metres, kilograms, kg m^2, radians, N m. Frames as in the URDF: x forward, y left, z up; all joint
frames are parallel to the torso's when every joint is at zero.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vec3 = tuple[float, float, float]


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
class Joint:
    """One of the three joints of each leg: axis, limits in rad, rated torque and speed."""

    part: str
    axis: Vec3
    lower: float
    upper: float
    effort_nm: float
    speed_radps: float


JOINTS = (
    Joint(part="HipX", axis=(-1, 0, 0), lower=-0.523, upper=0.523, effort_nm=24, speed_radps=26.2),
    Joint(part="HipY", axis=(0, -1, 0), lower=-2.67, upper=0.314, effort_nm=24, speed_radps=26.2),
    Joint(part="Knee", axis=(0, -1, 0), lower=0.524, upper=2.792, effort_nm=36, speed_radps=17.3),
)
THIGH_LENGTH = 0.20
SHANK_LENGTH = 0.21012
FOOT_RADIUS = 0.022
FOOT_MASS_KG = 0.02
TORSO = Inertial(mass_kg=5.6056, com=(0, 0, 0), inertia=(0.02456, 0.05518, 0.07016))
SHANK = Inertial(
    mass_kg=0.153, com=(0.0064794, 0, -0.12157), inertia=(0.00089039, 0.00090672, 3.1266e-05)
)


def _leg(name: str, side: int, end: int, *, hip: Vec3, hip_inertia: Vec3, thigh: Vec3) -> Leg:
    """Return a leg; `side` is 1 on the left, `end` 1 in front, `hip` and `thigh` the centres."""
    return Leg(
        name=name,
        mount=(end * 0.1745, side * 0.062, 0.0),
        thigh_offset=(0.0, side * 0.09735, 0.0),
        hip=Inertial(mass_kg=0.550, com=hip, inertia=hip_inertia),
        thigh=Inertial(mass_kg=0.86, com=thigh, inertia=(0.005736, 0.00496, 0.001436)),
    )


_HIP = (0.0003949, 0.0004028, 0.0004472)
_HIP_FR = (0.0004472, 0.0004028, 0.0003949)
LEGS = (
    _leg("FL", 1, 1, hip=(-0.00601, -0.0066532, 0.00034295), hip_inertia=_HIP,
         thigh=(-0.0052817, -0.014632, -0.042672)),
    _leg("FR", -1, 1, hip=(-0.010579, 0.011358, 0.00048546), hip_inertia=_HIP_FR,
         thigh=(-0.0039245, 0.025256, -0.025146)),
    _leg("HL", 1, -1, hip=(0.010905, -0.012636, 0.001051), hip_inertia=_HIP,
         thigh=(-0.0057137, -0.014631, -0.042453)),
    _leg("HR", -1, -1, hip=(0.010354, 0.011423, 0.00049498), hip_inertia=_HIP,
         thigh=(-0.0031903, 0.02526, -0.025617)),
)  # fmt: skip

JOINT_NAMES = tuple(f"{leg.name}_{joint.part}_joint" for leg in LEGS for joint in JOINTS)
FOOT_NAMES = tuple(f"{leg.name}_foot" for leg in LEGS)
EFFORT_LIMIT_NM: Array = np.tile([joint.effort_nm for joint in JOINTS], len(LEGS)).astype(float)
STANDING_RAD: Array = np.tile([0.0, -0.65, 1.30], len(LEGS))
"""The pose that Lite3 policies start from and return to (not a URDF figure)."""
