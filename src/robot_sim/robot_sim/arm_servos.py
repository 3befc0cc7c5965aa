# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The servos of the simulated SO-101, with a calibration; they connect its joints to its bus."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from robot_sim.arm_figures import SO101
from robot_sim.arm_world import JOINTS, ArmWorld
from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.servo_bus import ServoBus
from robot_sim.servos import MIDDLE, STS3215, TURN_TICKS, XL330, XL430, EmulatedServo, ServoModel

FAMILIES: Final[dict[str, tuple[ServoModel, ...]]] = {
    "feetech": (STS3215,) * JOINTS,
    # Registers of a Koch, whose joints have the same names; the simulated arm is still an SO-101.
    "dynamixel": (XL430, XL430, XL330, XL330, XL330, XL330),
}
_TICKS_PER_RAD: Final = TURN_TICKS / (2.0 * np.pi)
_HOMED: Final = 2047
"""Middle of each joint's range in LeRobot's calibration."""
_WHOLE_TURN: Final = "wrist_roll"
_MOST_OFFSET: Final = 900
_ALWAYS_NS: Final = 1 << 40


class ArmServos:
    """Six servos, numbered from the base outward, that turn the joints of a world.

    Attributes:
        bus: The bus to which they are connected.
    """

    def __init__(self, family: str = "feetech", *, seed: int = 0) -> None:
        """Create servos with the calibration of one particular arm.

        Args:
            family: One of FAMILIES.
            seed: Seed for the mounting angles of the horns, and hence the calibration.
        """
        if family not in FAMILIES:
            raise SimError(f"servos: expected one of {', '.join(FAMILIES)}, found '{family}'")
        random = np.random.default_rng(seed)
        self._horns = MIDDLE + random.integers(-_MOST_OFFSET, _MOST_OFFSET, JOINTS)
        low, high = SO101.lower_rad, SO101.upper_rad
        # LeRobot's zero is the middle of the range, as is the model's, except for the gripper.
        self._middle_rad = np.where(np.array(SO101.joint_names) == "gripper", (low + high) / 2, 0.0)
        self._calibration: dict[str, dict[str, int]] = {}
        self._time_ns = 0
        servos = []
        for i, (name, model) in enumerate(zip(SO101.joint_names, FAMILIES[family], strict=True)):
            servo = EmulatedServo(model, i + 1, name=name)
            reach = round(float((high - low)[i] / 2 * _TICKS_PER_RAD))
            whole = name == _WHOLE_TURN
            self._calibration[name] = {
                "id": i + 1,
                "drive_mode": 0,
                "homing_offset": int(model.homing_sign * (_HOMED - self._horns[i])),
                "range_min": 0 if whole else _HOMED - reach,
                "range_max": TURN_TICKS - 1 if whole else _HOMED + reach,
            }
            servos.append(servo)
        self.bus = ServoBus(servos)
        self.calibrate()

    def calibrate(self) -> None:
        """Write the calibration permanently into the servos."""
        for servo in self.bus.servos:
            figures = self._calibration[servo.name]
            servo.put("homing", figures["homing_offset"])
            servo.put("lowest", figures["range_min"])
            servo.put("highest", figures["range_max"])
            servo.keep()

    def save_calibration(self, file: Path) -> None:
        """Write the calibration file in LeRobot's format."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self._calibration, indent=4) + "\n", "utf-8")
        except OSError as error:
            raise SimError(f"{file}: expected a writable file, found: {error}") from None

    def hold(self, world: ArmWorld) -> None:
        """Make all servos hold their current positions, as a driver may leave them."""
        self._sense(world)
        for servo in self.bus.servos:
            servo.put("goal", servo.get("position"))
            servo.put("torque_on", 1)

    def drive(self, world: ArmWorld) -> None:
        """Advance to the world's time: the servos measure, then drive until the next call."""
        self.bus.pass_time(world.time_ns)
        with self.bus.lock:
            self._sense(world)
            servos = self.bus.servos
            target = np.array([servo.target for servo in servos])
            stiffness = np.array([servo.stiffness for servo in servos])
            limit = np.array([servo.limit for servo in servos])
        zeros = np.zeros(JOINTS)
        world.apply(
            DriveCommand(
                joint_names=SO101.joint_names,
                position=self._middle_rad + (target - self._horns) / _TICKS_PER_RAD,
                velocity=zeros,
                effort=zeros,
                stiffness=SO101.servo.stiffness * stiffness,
                damping=np.where(stiffness > 0.0, SO101.servo.damping, 0.0),
                effort_limit=SO101.servo.stall_nm * limit,
                valid_for_ns=_ALWAYS_NS,
            )
        )

    def _sense(self, world: ArmWorld) -> None:
        sensed = world.sense()
        passed_s = max(0.0, (sensed.time_ns - self._time_ns) / NS_PER_S)
        self._time_ns = sensed.time_ns
        ticks: Array = self._horns + (sensed.joint_pos - self._middle_rad) * _TICKS_PER_RAD
        loads = sensed.joint_effort / SO101.servo.stall_nm
        rates = sensed.joint_vel * _TICKS_PER_RAD
        for servo, at, rate, load in zip(
            self.bus.servos, ticks.tolist(), rates.tolist(), loads.tolist(), strict=True
        ):
            servo.sense(at, rate, load, passed_s)
