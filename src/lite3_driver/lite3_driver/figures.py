# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's constants, in wire order, and its driver's settings."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from lite3_driver.wire import F64, HOST_PORT, JOINT_NAMES, STATE_PORT
from robot_driver.interfaces import MODE_DAMP, DriveFigures, DriverSettings

LEGS: Final = 4


def _each_leg(hip_x: float, hip_y: float, knee: float) -> F64:
    return np.array([hip_x, hip_y, knee] * LEGS)


FIGURES: Final = DriveFigures(
    joint_names=JOINT_NAMES,
    # DeepRoboticsLab/URDF_model fea2482, Lite3/Lite3_urdf/urdf/Lite3.urdf: rad, N m, rad/s.
    lowest_rad=_each_leg(-0.523, -2.67, 0.524),
    highest_rad=_each_leg(0.523, 0.314, 2.792),
    largest_torque_nm=_each_leg(24.0, 24.0, 36.0),
    fastest_rad_s=_each_leg(26.2, 26.2, 17.3),
    position_margin_rad=0.1,
    # Three and four times the highest gains of this robot's published controllers (100 and 5).
    largest_stiffness=300.0,
    largest_damping=20.0,
    first_torque_nm=5.0,
    demand_nm=10.0,
    # If braked legs exert this much more torque than braking causes, another controller drives
    # them.
    foreign_nm=10.0,
    state_rate_hz=(200.0, 5000.0),
    # The longest watchdog time in any document; after it, the host has control again.
    watchdog_s=1.0,
    rest_mode=MODE_DAMP,
    # As long as the vendor's client brakes before it gives control back.
    rest_s=2.0,
)

# Range of the folded pose, with room for each robot's encoder offsets: the vendor's simulator
# starts at 0, -1.35453, 2.54948 (DeepRoboticsLab/Lite3_rl_deploy 7871b47).
FOLDED_LOWEST_RAD: Final = _each_leg(-0.6, -1.9, 2.3)
FOLDED_HIGHEST_RAD: Final = _each_leg(
    0.6, -0.8, float(FIGURES.highest_rad[2]) + FIGURES.position_margin_rad
)
LEVEL_RAD: Final = 0.35
"""Maximum tilt at which the robot counts as lying down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lite3Settings(DriverSettings):
    """Settings beyond those common to all drivers; the node's parameters have the same names.

    Attributes:
        host_address, host_port: Address and port on which the motion host receives; frames from
            other addresses are ignored.
        interface_address, state_port: Address and port on which the driver receives the host's
            state.
        angular_velocity_unit: Unit of the host's angular velocities: `rad/s` or `deg/s`.
        angular_velocity_checked: True if that unit was confirmed on this robot, so that the robot
            need not be turned before control is taken.
        fold_s: Time that the robot needs to fold its legs.
    """

    host_address: str = "192.168.1.120"
    host_port: int = HOST_PORT
    interface_address: str = "0.0.0.0"
    state_port: int = STATE_PORT
    angular_velocity_unit: str = "rad/s"
    angular_velocity_checked: bool = False
    fold_s: float = 7.0
