# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of LeRobot's arms does what every driver must do, with emulated servos on their bus.

LeRobot's own classes talk to the servos, which go where the double is, whatever they are asked.
"""

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lerobot_arm_driver.arms import ARMS, TORQUE_OFF, drive_figures
from robot_driver.interfaces import COMMAND_FIELDS, F64, MODE_HOLD_MEASURED, POSITION
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, OTHER, TAKEN, DriverCase, RobotDouble
from robot_driver.testing.conformance import DriverConformance
from robot_sim.arm_servos import ArmServos
from robot_sim.arm_world import ArmWorld
from robot_sim.servo_bus import ServoBus, ServoPort, ServoReply
from robot_sim.servo_wire import SYNC_READ, SYNC_WRITE, WRITE, FeetechWire, Instruction
from robot_sim.servos import STS3215, TURN_TICKS

# Alone: on a machine that is busy servos answer later than LeRobot waits.
pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.real_time]
GOAL, TORQUE, LOCK, PRESENT = (
    STS3215.registers[name][0] for name in ("goal", "torque_on", "lock", "position")
)
# Servos 1 to 6 of an SO-101, as LeRobot numbers them; 0 is the middle of a joint's range, but the
# gripper's, whose range is that of the arm's MJCF.
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
GRIPPER_RAD = (-0.174533, 1.745329)
COUNT_RAD = 2.0 * math.pi / TURN_TICKS


class ServoDouble(RobotDouble):
    """The servos' end of a bus of its own, and the calibration file of this arm."""

    def __init__(self) -> None:
        servos = ArmServos()
        servos.hold(ArmWorld())
        self._folder = Path(tempfile.mkdtemp())
        file = self._folder / "follower.json"
        servos.save_calibration(file)
        calibration: Mapping[str, Mapping[str, int]] = json.loads(file.read_text("utf-8"))
        low, high = (
            np.array([calibration[joint][f"range_{end}"] for joint in JOINTS])
            for end in ("min", "max")
        )
        # The gripper counts from the low end of its range.
        self._zero, self._zero_rad = 0.5 * (low + high), np.zeros(len(JOINTS))
        self._zero[-1], self._zero_rad[-1] = low[-1], GRIPPER_RAD[0]
        self._rad_per_count = np.full(len(JOINTS), COUNT_RAD)
        self._rad_per_count[-1] = (GRIPPER_RAD[1] - GRIPPER_RAD[0]) / (high[-1] - low[-1])
        at = [servo.get("position") for servo in servos.bus.servos]
        super().__init__(JOINTS, self._rad(at), rest_mode=MODE_HOLD_MEASURED)
        self._servos = servos.bus.servos
        self._bus = HeardBus(servos.bus, self)
        self._port: ServoPort | None = None
        self._holds = False

    @property
    def parameters(self) -> dict[str, object]:
        assert self._port is not None
        return {"port": self._port.name, "calibration_dir": str(self._folder)}

    def start(self) -> None:
        self._port = ServoPort(self._bus)

    def restart(self) -> None:
        raise AssertionError("servos do not report that they were restarted")

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def take(self, asked: Instruction) -> None:
        """Keep what an instruction changes; where positions are read, they are measured before."""
        if asked.code == SYNC_READ and asked.parameters[0] == PRESENT:
            if (sensed := self.sense()) is not None:
                for servo, count in zip(self._servos, self._counts(sensed.joint_pos), strict=True):
                    servo.put("position", count)
        elif asked.code == WRITE:
            address, value, *_ = asked.parameters
            if address == TORQUE:
                if value or self._holds:  # LeRobot also switches it off before it configures servos
                    self.hear(TAKEN if value else GIVEN_BACK)
                self._holds = bool(value)
            elif address != LOCK:  # which LeRobot writes after each change of the torque
                self.hear(OTHER)
        elif asked.code == SYNC_WRITE:
            address, count, *rows = asked.parameters
            assert address == GOAL
            goals = np.array(rows).reshape(-1, 1 + count)[:, 1:] @ 256 ** np.arange(count)
            values = np.zeros((len(goals), len(COMMAND_FIELDS)))
            values[:, POSITION] = self._rad(goals.tolist())
            self.hear(COMMANDED, values)

    def _rad(self, counts: Sequence[int]) -> F64:
        """Return positions [6], rad."""
        return np.asarray(
            self._zero_rad + (np.array(counts) - self._zero) * self._rad_per_count, np.float64
        )

    def _counts(self, position: F64) -> list[int]:
        """Return what the encoders show at positions [6], rad."""
        counts = self._zero + (position - self._zero_rad) / self._rad_per_count
        return [round(count) for count in counts.tolist()]


class HeardBus(ServoBus):
    """A bus whose instructions a double hears before its servos do."""

    def __init__(self, bus: ServoBus, double: ServoDouble) -> None:
        super().__init__(bus.servos)
        self._double, self._ear = double, FeetechWire()

    def exchange(self, data: bytes, baud: int) -> list[ServoReply]:
        for instruction in self._ear.feed(data):
            self._double.take(instruction)
        answers = super().exchange(data, baud)
        return [] if self._double.silent else answers


class TestConformance(DriverConformance):
    case = DriverCase(
        lost_counter=None,
        command=["lerobot_arm_driver"],
        node="lerobot_arm_driver",
        robot=ServoDouble,
        figures=drive_figures(ARMS["so101"]),
        parameters={
            "robot": "so101",
            "lerobot_python": sys.executable,
            "way_out": TORQUE_OFF,
            "state_timeout_s": 0.5,
        },
        joint_state_rate_hz=60.0,
        command_rate_hz=60.0,
        imu="",
        # Velocities are estimated, and loads read in turn.
        state_fields=["position"],
        command_fields=["position"],
        reports_restart=False,
        tolerance_rad=2.0 * COUNT_RAD,
        holds_by_itself=True,
        # LeRobot takes seconds to import, and five drivers at once several times as long.
        deadline_s=120.0,
    )
