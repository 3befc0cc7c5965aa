# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Defines the supported arms (LeRobot's class, joints, servos) and the driver's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from robot_driver.interfaces import MODE_HOLD_MEASURED, DriveFigures, DriverSettings

GRIPPER: Final = "gripper"
"""Joint that LeRobot measures from 0 (lower end of its range) to 100, not in degrees."""
OVERLOAD: Final = 5
"""Index of the overload bit in a servo's status, in both families."""
HOLD, TORQUE_OFF = "hold", "torque_off"
"""What the servos do once control is given back: hold their positions, or go limp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servo:
    """Registers of a family of servos, named as in LeRobot's tables, and parts of its protocol.

    Attributes:
        gains: Registers of the position loop's P, I and D gains.
        load: Register of the torque, in 0.1 % of the maximum; empty if some model of the family
            lacks it.
        temperature, voltage: Registers of the temperature in degrees Celsius and of the voltage in
            0.1 V.
        status: Register of the error bits.
        torque: Register that is 1 while the servo holds its position, 0 while it is limp.
        faults: Meaning of each bit of `status`.
        all_limp: Broadcast packet that makes all servos limp; no servo answers it.
        number_at: Index of the servo's number in an answer packet.
    """

    gains: tuple[str, str, str]
    load: str
    temperature: str
    voltage: str
    status: str
    torque: str
    faults: Mapping[int, str]
    all_limp: bytes
    number_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A kind of arm, or a pair of such arms.

    Attributes:
        title: Name for messages.
        robot_type: LeRobot's `--robot.type` for a single arm.
        module: Module in which LeRobot registers that type.
        range_rad: Lowest and highest position of each joint, in the order of the servo numbers.
        stall_nm, fastest_rad_s: Stall torque and top speed of each servo.
        servo: Family to which all servos belong.
        sides: Prefixes of the joint names; one empty prefix for a single arm.
    """

    title: str
    robot_type: str
    module: str
    range_rad: Mapping[str, tuple[float, float]]
    stall_nm: tuple[float, ...]
    fastest_rad_s: tuple[float, ...]
    servo: Servo
    sides: tuple[str, ...] = ("",)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all joints, the left arm's first."""
        return tuple(f"{side}{joint}" for side in self.sides for joint in self.range_rad)


FEETECH: Final = Servo(
    # Feetech, memory table of the STS servos with magnetic encoders; names as in LeRobot 0.4.4.
    gains=("P_Coefficient", "I_Coefficient", "D_Coefficient"),
    load="Present_Load",
    temperature="Present_Temperature",
    voltage="Present_Voltage",
    status="Status",
    torque="Torque_Enable",
    faults={0: "voltage", 1: "encoder", 2: "temperature", 3: "current", OVERLOAD: "overload"},
    all_limp=bytes.fromhex("ff ff fe 04 03 28 00 d2"),
    number_at=2,
)
DYNAMIXEL: Final = Servo(
    # ROBOTIS e-Manual, XL430-W250 and XL330-M288. Address 126 is the load in the former, and the
    # current in the latter.
    gains=("Position_P_Gain", "Position_I_Gain", "Position_D_Gain"),
    load="",
    temperature="Present_Temperature",
    voltage="Present_Input_Voltage",
    status="Hardware_Error_Status",
    torque="Torque_Enable",
    faults={
        0: "voltage",
        2: "temperature",
        3: "encoder",
        4: "electrical shock",
        OVERLOAD: "overload",
    },
    all_limp=bytes.fromhex("ff ff fd 00 fe 06 00 03 40 00 00 2e 16"),
    number_at=4,
)
_SO101: Final = Arm(
    title="SO-101",
    robot_type="so101_follower",
    module="lerobot.robots.so_follower",
    # TheRobotStudio, MJCF so101_new_calib; zero is mid-range, as in LeRobot.
    range_rad={
        "shoulder_pan": (-1.919862, 1.919862),
        "shoulder_lift": (-1.745329, 1.745329),
        "elbow_flex": (-1.69, 1.69),
        "wrist_flex": (-1.658063, 1.658063),
        "wrist_roll": (-2.743847, 2.841206),
        GRIPPER: (-0.174533, 1.745329),
    },
    # STS3215 for 7.4 V, according to a dealer: 19.5 kg cm, 52 rpm.
    stall_nm=(1.91,) * 6,
    fastest_rad_s=(5.4,) * 6,
    servo=FEETECH,
)
_SINGLE: Final = {
    "so100": replace(_SO101, title="SO-100", robot_type="so100_follower"),
    "so101": _SO101,
    "koch": Arm(
        title="Koch",
        robot_type="koch_follower",
        module="lerobot.robots.koch_follower",
        # No drawing states its ranges; these are what its brackets allow.
        range_rad={
            "shoulder_pan": (-3.15, 3.15),
            "shoulder_lift": (-1.92, 1.92),
            "elbow_flex": (-1.92, 1.92),
            "wrist_flex": (-1.92, 1.92),
            "wrist_roll": (-3.15, 3.15),
            GRIPPER: (-0.174533, 1.745329),
        },
        # ROBOTIS: XL430-W250 at 11.1 V, XL330-M288 at 5 V.
        stall_nm=(1.4, 1.4, 0.52, 0.52, 0.52, 0.52),
        fastest_rad_s=(6.0, 6.0, 10.8, 10.8, 10.8, 10.8),
        servo=DYNAMIXEL,
    ),
}
ARMS: Final[Mapping[str, Arm]] = {
    **_SINGLE,
    **{
        f"bi_{name}": replace(arm, title=f"two {arm.title}", sides=("left_", "right_"))
        for name, arm in _SINGLE.items()
    },
}
"""The arms, by the value of the `robot` parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSettings(DriverSettings):
    """Settings in addition to those of every driver; the node's parameters have the same names.

    Attributes:
        robot: One of ARMS.
        port, right_port: Serial ports of the servo buses: `port` for a single or left arm,
            `right_port` for a right arm.
        calibration_id: LeRobot's `--robot.id`: the calibration file is ID.json, or for two arms
            ID_left.json and ID_right.json.
        calibration_dir: Folder of the calibration files; empty for LeRobot's default.
        lerobot_python: Python interpreter of LeRobot's environment; empty for the node's.
        way_out: What the servos do when control is given back: HOLD or TORQUE_OFF.
        max_relative_target_rad: Maximum distance of a goal from the joint's position; goals are
            clipped to it.
        leader: True if a person moves the arm by hand; joints commanded without stiffness and
            damping then go limp.
        servo_p, servo_i, servo_d: Gains of the servos' own position loop; -1 to use LeRobot's.
    """

    robot: str = "so101"
    port: str = "/dev/ttyACM0"
    right_port: str = ""
    calibration_id: str = "follower"
    calibration_dir: str = ""
    lerobot_python: str = ""
    way_out: str = HOLD
    max_relative_target_rad: float = 0.5
    leader: bool = False
    servo_p: int = -1
    servo_i: int = -1
    servo_d: int = -1
    command_rate_hz: float = 60.0
    joint_state_rate_hz: float = 120.0
    state_timeout_s: float = 0.25
    damping: float = 1.0
    obeyed_torque_nm: float = 0.0

    @property
    def arm(self) -> Arm:
        return ARMS[self.robot]

    @property
    def ports(self) -> tuple[str, ...]:
        return (self.port, self.right_port)[: len(self.arm.sides)]


def drive_figures(arm: Arm) -> DriveFigures:
    sides = len(arm.sides)
    low, high = np.tile(np.array(list(arm.range_rad.values())), (sides, 1)).T
    return DriveFigures(
        joint_names=arm.joint_names,
        lowest_rad=low,
        highest_rad=high,
        # Calibrations by hand end before a joint's stop, or beyond it if the stop yields.
        position_margin_rad=0.2,
        fastest_rad_s=np.tile(arm.fastest_rad_s, sides),
        largest_torque_nm=np.tile(arm.stall_nm, sides),
        # The servos have their own gains; of a command's gains, it only matters if they are zero.
        largest_stiffness=300.0,
        largest_damping=20.0,
        first_torque_nm=1.0,
        demand_nm=1.0,
        foreign_nm=1.0,
        state_rate_hz=(10.0, 1000.0),
        watchdog_s=float("inf"),
        rest_mode=MODE_HOLD_MEASURED,
        rest_s=0.5,
    )
