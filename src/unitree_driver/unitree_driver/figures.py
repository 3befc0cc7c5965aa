# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of each robot, in motor order, and the drivers' settings.

Sources, all BSD-3-Clause, unitreerobotics: unitree_ros d6f13aa (URDF: names, ranges, efforts,
velocities), unitree_sdk2 21d0a3b (motor order, modes). Gains and poses: unitree_rl_lab e72a072
(Apache-2.0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from robot_driver.interfaces import MODE_DAMP, DriveFigures, DriverSettings
from unitree_driver.wire import F64, GO, HG, MessageFamily

ON, STRONG = 1, 10
"""Modes in which a motor follows commands; the H1's strong motors have a mode of their own."""


class _Motor(NamedTuple):
    """A motor: its joint, range (rad), rated torque (N m) and rated velocity (rad/s)."""

    joint: str
    lowest_rad: float
    highest_rad: float
    torque_nm: float
    velocity_rad_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingPose:
    """Pose of a robot lying on the ground, and the gains for lowering it; arrays are [n].

    Attributes:
        position: Joint positions to which the robot is lowered, rad.
        lowest_rad, highest_rad: Bounds of the joint positions within which the robot counts as
            lying.
        stiffness, damping: Gains at the end of lowering, N m/rad and N m s/rad.
    """

    position: F64
    lowest_rad: F64
    highest_rad: F64
    stiffness: F64
    damping: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeSettings(DriverSettings):
    """Settings in addition to those of all drivers; the node's parameters have the same names.

    Attributes:
        domain_id: DDS domain of the robot, independent of the node's.
        network_interface: Network interface to the robot; empty to use the environment's.
        remote_required: True to refuse control until a button press on the wireless remote has been
            received.
        hung: True if a person confirms that the humanoid is suspended, since its joints will become
            limp.
        restore_mode: True to select the robot's own controller again when control is given back.
        lowcmd_publishers: Number of command publishers that the robot itself still has once
            released.
        release_timeout_s: Time limit for the robot to lie down and to be released.
    """

    domain_id: int = 0
    network_interface: str = ""
    remote_required: bool = True
    hung: bool = False
    restore_mode: bool = True
    lowcmd_publishers: int = 0
    release_timeout_s: float = 20.0
    damping: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeFigures:
    """Figures of one kind of Unitree robot.

    Attributes:
        name: Name of the robot kind, for messages.
        family: Family of the robot's messages.
        slots: Motor index of each joint.
        modes: Mode in which each joint's motor follows commands.
        figures: Figures of the drives.
        machines: Accepted values of `mode_machine` with their meanings; if empty, any value but 0.
        waist: Joint between the pelvis and the torso if the torso holds the IMU; empty if the IMU
            is in the body that `imu/data` describes.
        lying: Pose on the ground; None for a robot that is suspended when control is taken.
        defaults: Default settings.
    """

    name: str
    family: MessageFamily
    slots: tuple[int, ...]
    modes: tuple[int, ...]
    figures: DriveFigures
    machines: Mapping[int, str]
    waist: str
    lying: LyingPose | None
    defaults: UnitreeSettings


_LOWER_S: Final = 2.5


def _legs(hip: float, thigh: float, calf: float) -> F64:
    return np.array([hip, thigh, calf] * 4)


_GO2 = (
    _Motor("FR_hip_joint", -1.0472, 1.0472, 23.7, 30.1),
    _Motor("FR_thigh_joint", -1.5708, 3.4907, 23.7, 30.1),
    _Motor("FR_calf_joint", -2.7227, -0.83776, 45.43, 15.7),
    _Motor("FL_hip_joint", -1.0472, 1.0472, 23.7, 30.1),
    _Motor("FL_thigh_joint", -1.5708, 3.4907, 23.7, 30.1),
    _Motor("FL_calf_joint", -2.7227, -0.83776, 45.43, 15.7),
    _Motor("RR_hip_joint", -1.0472, 1.0472, 23.7, 30.1),
    _Motor("RR_thigh_joint", -0.5236, 4.5379, 23.7, 30.1),
    _Motor("RR_calf_joint", -2.7227, -0.83776, 45.43, 15.7),
    _Motor("RL_hip_joint", -1.0472, 1.0472, 23.7, 30.1),
    _Motor("RL_thigh_joint", -0.5236, 4.5379, 23.7, 30.1),
    _Motor("RL_calf_joint", -2.7227, -0.83776, 45.43, 15.7),
)
_G1 = (
    _Motor("left_hip_pitch_joint", -2.5307, 2.8798, 88.0, 32.0),
    _Motor("left_hip_roll_joint", -0.5236, 2.9671, 139.0, 20.0),
    _Motor("left_hip_yaw_joint", -2.7576, 2.7576, 88.0, 32.0),
    _Motor("left_knee_joint", -0.087267, 2.8798, 139.0, 20.0),
    _Motor("left_ankle_pitch_joint", -0.87267, 0.5236, 35.0, 30.0),
    _Motor("left_ankle_roll_joint", -0.2618, 0.2618, 35.0, 30.0),
    _Motor("right_hip_pitch_joint", -2.5307, 2.8798, 88.0, 32.0),
    _Motor("right_hip_roll_joint", -2.9671, 0.5236, 139.0, 20.0),
    _Motor("right_hip_yaw_joint", -2.7576, 2.7576, 88.0, 32.0),
    _Motor("right_knee_joint", -0.087267, 2.8798, 139.0, 20.0),
    _Motor("right_ankle_pitch_joint", -0.87267, 0.5236, 35.0, 30.0),
    _Motor("right_ankle_roll_joint", -0.2618, 0.2618, 35.0, 30.0),
    _Motor("waist_yaw_joint", -2.618, 2.618, 88.0, 32.0),
    _Motor("waist_roll_joint", -0.52, 0.52, 35.0, 30.0),
    _Motor("waist_pitch_joint", -0.52, 0.52, 35.0, 30.0),
    _Motor("left_shoulder_pitch_joint", -3.0892, 2.6704, 25.0, 37.0),
    _Motor("left_shoulder_roll_joint", -1.5882, 2.2515, 25.0, 37.0),
    _Motor("left_shoulder_yaw_joint", -2.618, 2.618, 25.0, 37.0),
    _Motor("left_elbow_joint", -1.0472, 2.0944, 25.0, 37.0),
    _Motor("left_wrist_roll_joint", -1.97222, 1.97222, 25.0, 37.0),
    _Motor("left_wrist_pitch_joint", -1.61443, 1.61443, 5.0, 22.0),
    _Motor("left_wrist_yaw_joint", -1.61443, 1.61443, 5.0, 22.0),
    _Motor("right_shoulder_pitch_joint", -3.0892, 2.6704, 25.0, 37.0),
    _Motor("right_shoulder_roll_joint", -2.2515, 1.5882, 25.0, 37.0),
    _Motor("right_shoulder_yaw_joint", -2.618, 2.618, 25.0, 37.0),
    _Motor("right_elbow_joint", -1.0472, 2.0944, 25.0, 37.0),
    _Motor("right_wrist_roll_joint", -1.97222, 1.97222, 25.0, 37.0),
    _Motor("right_wrist_pitch_joint", -1.61443, 1.61443, 5.0, 22.0),
    _Motor("right_wrist_yaw_joint", -1.61443, 1.61443, 5.0, 22.0),
)
_H1 = (
    _Motor("right_hip_roll_joint", -0.43, 0.43, 200.0, 23.0),
    _Motor("right_hip_pitch_joint", -3.14, 2.53, 200.0, 23.0),
    _Motor("right_knee_joint", -0.26, 2.05, 300.0, 14.0),
    _Motor("left_hip_roll_joint", -0.43, 0.43, 200.0, 23.0),
    _Motor("left_hip_pitch_joint", -3.14, 2.53, 200.0, 23.0),
    _Motor("left_knee_joint", -0.26, 2.05, 300.0, 14.0),
    _Motor("torso_joint", -2.35, 2.35, 200.0, 23.0),
    _Motor("left_hip_yaw_joint", -0.43, 0.43, 200.0, 23.0),
    _Motor("right_hip_yaw_joint", -0.43, 0.43, 200.0, 23.0),
    None,
    _Motor("left_ankle_joint", -0.87, 0.52, 40.0, 9.0),
    _Motor("right_ankle_joint", -0.87, 0.52, 40.0, 9.0),
    _Motor("right_shoulder_pitch_joint", -2.87, 2.87, 40.0, 9.0),
    _Motor("right_shoulder_roll_joint", -3.11, 0.34, 40.0, 9.0),
    _Motor("right_shoulder_yaw_joint", -4.45, 1.3, 18.0, 20.0),
    _Motor("right_elbow_joint", -1.25, 2.61, 18.0, 20.0),
    _Motor("left_shoulder_pitch_joint", -2.87, 2.87, 40.0, 9.0),
    _Motor("left_shoulder_roll_joint", -0.34, 3.11, 40.0, 9.0),
    _Motor("left_shoulder_yaw_joint", -1.3, 4.45, 18.0, 20.0),
    _Motor("left_elbow_joint", -1.25, 2.61, 18.0, 20.0),
)
_H1_2 = (
    _Motor("left_hip_yaw_joint", -0.43, 0.43, 200.0, 23.0),
    _Motor("left_hip_pitch_joint", -3.14, 2.5, 200.0, 23.0),
    _Motor("left_hip_roll_joint", -0.43, 3.14, 200.0, 23.0),
    _Motor("left_knee_joint", -0.12, 2.19, 300.0, 14.0),
    _Motor("left_ankle_pitch_joint", -0.897334, 0.523598, 60.0, 9.0),
    _Motor("left_ankle_roll_joint", -0.261799, 0.261799, 40.0, 9.0),
    _Motor("right_hip_yaw_joint", -0.43, 0.43, 200.0, 23.0),
    _Motor("right_hip_pitch_joint", -3.14, 2.5, 200.0, 23.0),
    _Motor("right_hip_roll_joint", -3.14, 0.43, 200.0, 23.0),
    _Motor("right_knee_joint", -0.12, 2.19, 300.0, 14.0),
    _Motor("right_ankle_pitch_joint", -0.897334, 0.523598, 60.0, 9.0),
    _Motor("right_ankle_roll_joint", -0.261799, 0.261799, 40.0, 9.0),
    _Motor("torso_joint", -2.35, 2.35, 200.0, 23.0),
    _Motor("left_shoulder_pitch_joint", -3.14, 1.57, 40.0, 9.0),
    _Motor("left_shoulder_roll_joint", -0.38, 3.4, 40.0, 9.0),
    _Motor("left_shoulder_yaw_joint", -2.66, 3.01, 18.0, 20.0),
    _Motor("left_elbow_joint", -0.95, 3.18, 18.0, 20.0),
    _Motor("left_wrist_roll_joint", -3.01, 2.75, 19.0, 31.4),
    _Motor("left_wrist_pitch_joint", -0.4625, 0.4625, 19.0, 31.4),
    _Motor("left_wrist_yaw_joint", -1.27, 1.27, 19.0, 31.4),
    _Motor("right_shoulder_pitch_joint", -3.14, 1.57, 40.0, 9.0),
    _Motor("right_shoulder_roll_joint", -3.4, 0.38, 40.0, 9.0),
    _Motor("right_shoulder_yaw_joint", -3.01, 2.66, 18.0, 20.0),
    _Motor("right_elbow_joint", -0.95, 3.18, 18.0, 20.0),
    _Motor("right_wrist_roll_joint", -2.75, 3.01, 19.0, 31.4),
    _Motor("right_wrist_pitch_joint", -0.4625, 0.4625, 19.0, 31.4),
    _Motor("right_wrist_yaw_joint", -1.27, 1.27, 19.0, 31.4),
)

_ON_ITS_BELLY = LyingPose(
    # First pose of unitree_rl_lab's stand-up motion, and its gains.
    position=_legs(0.0, 1.36, -2.65),
    lowest_rad=_legs(-0.7, 0.7, -2.85),
    highest_rad=_legs(0.7, 2.7, -2.1),
    stiffness=_legs(60.0, 80.0, 80.0),
    damping=_legs(5.0, 4.0, 4.0),
)
_HANGING = UnitreeSettings(obeyed_torque_nm=10.0, restore_mode=False)


def _model(
    name: str,
    family: MessageFamily,
    motors: Sequence[_Motor | None],
    *,
    stiffness: float,
    damping: float,
    first_nm: float,
    judged_nm: float,
    strong: int = 0,
    machines: Mapping[int, str] | None = None,
    waist: str = "",
    lying: LyingPose | None = None,
) -> UnitreeFigures:
    """Return a robot's figures; its first `strong` motors use the mode STRONG.

    See DriveFigures for the other arguments.
    """
    used = [(slot, motor) for slot, motor in enumerate(motors) if motor is not None]
    figures = DriveFigures(
        joint_names=tuple(motor.joint for _, motor in used),
        lowest_rad=np.array([motor.lowest_rad for _, motor in used]),
        highest_rad=np.array([motor.highest_rad for _, motor in used]),
        position_margin_rad=0.1,
        fastest_rad_s=np.array([motor.velocity_rad_s for _, motor in used]),
        largest_torque_nm=np.array([motor.torque_nm for _, motor in used]),
        largest_stiffness=stiffness,
        largest_damping=damping,
        first_torque_nm=first_nm,
        demand_nm=judged_nm,
        foreign_nm=judged_nm,
        # 500 Hz; simulators send up to twice as often
        state_rate_hz=(200.0, 1200.0),
        # No document mentions a timeout of the robot: the last command may stay in force forever.
        watchdog_s=float("inf"),
        rest_mode=MODE_DAMP,
        rest_s=2.0,
        lower_s=_LOWER_S if lying is not None else 0.0,
    )
    return UnitreeFigures(
        name=name,
        family=family,
        slots=tuple(slot for slot, _ in used),
        modes=tuple(STRONG if slot < strong else ON for slot, _ in used),
        figures=figures,
        machines=machines or {},
        waist=waist,
        lying=lying,
        defaults=UnitreeSettings() if lying is not None else _HANGING,
    )


# three times the highest gains of published controllers (80 and 5)
GO2: Final = _model(
    "Go2",
    GO,
    _GO2,
    stiffness=250.0,
    damping=15.0,
    first_nm=5.0,
    judged_nm=10.0,
    lying=_ON_ITS_BELLY,
)
G1: Final = _model(
    "G1",
    HG,
    _G1,
    stiffness=600.0,
    damping=30.0,
    first_nm=20.0,
    judged_nm=30.0,
    machines={2: "G1 with 29 joints", 5: "G1 with 29 joints, revision 1.0"},
)
H1: Final = _model(
    "H1",
    GO,
    _H1,
    stiffness=600.0,
    damping=30.0,
    first_nm=20.0,
    judged_nm=40.0,
    strong=9,
    waist="torso_joint",
)
H1_2: Final = _model(
    "H1-2",
    HG,
    _H1_2,
    stiffness=900.0,
    damping=30.0,
    first_nm=20.0,
    judged_nm=40.0,
    waist="torso_joint",
)
MODELS: Final = (GO2, G1, H1, H1_2)

OTHER_MACHINES: Final = {
    0: "a simulator, or a robot that does not know its kind yet",
    1: "G1 with 23 joints",
    3: "G1 with 29 joints and a locked waist",
    4: "G1 with 23 joints, revision 1.0",
    6: "G1 with 29 joints and a locked waist, revision 1.0",
    9: "G1 with arms only",
}
"""Known values of `mode_machine` that are not supported, with their meanings."""
