# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Takes, uses and gives back control of an arm."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lerobot_arm_driver.arms import GRIPPER, OVERLOAD, ArmSettings, drive_figures
from lerobot_arm_driver.frames import (
    GIVE_BACK,
    PREPARE,
    ArmReception,
    ArmState,
    pack_goal,
    read_state,
)
from lerobot_arm_driver.transport import ArmTransport, PortTransport
from robot_driver.interfaces import F64
from robot_driver.robot import RobotInterface

_PREPARATION_S = 5.0
"""Time limit for all servos to start holding; writing settings takes a few tenths of a second."""


class ServoArm(RobotInterface[ArmState]):
    """An arm whose servos hold their positions on their own."""

    host = "the arm"
    preparing, prepared = "configures its servos", "configured its servos"
    settings_type = ArmSettings
    settings: ArmSettings

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.name = settings.arm.title
        self.figures = replace(drive_figures(settings.arm), may_be_limp=settings.leader)
        self.python = settings.lerobot_python
        self.reception = ArmReception(settings)
        self._late = ""

    @property
    def place(self) -> str:
        return ", ".join(self.settings.ports)

    def open(self) -> PortTransport:
        return PortTransport.open(self.settings)

    def adopt(self, descriptors: Sequence[int]) -> ArmTransport:
        return ArmTransport(self.settings, descriptors)

    def decode(self, data: bytes) -> ArmState:
        return read_state(data)

    def encode(self, values: F64) -> bytes:
        """Return the frame that carries the joints' goals, given values [n, 5].

        A joint without stiffness holds its current position, as all joints do at rest.
        """
        return pack_goal(values, leader=self.settings.leader)

    def obstacles(self, now_ns: int) -> list[str]:
        state = self.reception.state
        faults = [] if state is None else self._faults(state)
        return [*faults, *([self._late] if self._late else [])]

    def fault(self) -> str:
        state = self.reception.state
        if state is None:
            return ""
        limp = [
            f"the servo of {name} has no torque: it lost power, or its own protection switched it "
            "off"
            for name, holds in zip(self.figures.joint_names, state.holds, strict=True)
            if state.configured and not holds
        ]
        return "; ".join([*self._faults(state), *limp])

    def notes(self) -> dict[str, str | float]:
        state, notes = self.reception.state, dict[str, str | float]()
        if state is None:
            return notes
        if np.isfinite(state.voltage_v).any():
            notes["lowest_voltage_v"] = float(np.nanmin(state.voltage_v))
        pressing = [
            name
            for name, status in zip(self.figures.joint_names, state.status, strict=True)
            if name.endswith(GRIPPER) and int(status) >> OVERLOAD & 1
        ]
        return {**notes, **({"gripper_overload": ", ".join(pressing)} if pressing else {})}

    def prepare(self) -> list[bytes]:
        self._late = ""
        return [PREPARE]

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        state = self.reception.state
        if state is not None and state.configured and state.holds.all():
            return None
        if elapsed_s < _PREPARATION_S:
            return []
        self._late = f"the servos still have no torque after {_PREPARATION_S:.0f} s"
        return None

    def take(self) -> list[bytes]:
        """Return no frames: servos that hold their positions accept goals without a request."""
        return []

    def give_back(self) -> list[bytes]:
        self._late = ""
        return [GIVE_BACK]

    def _faults(self, state: ArmState) -> list[str]:
        """Return one sentence for each servo that reports an error.

        A gripper overloaded by pressing on an object is no fault, because LeRobot configures its
        servo to protect itself early.
        """
        faults = []
        for name, status in zip(self.figures.joint_names, state.status.tolist(), strict=True):
            bits = status & ~(1 << OVERLOAD) if name.endswith(GRIPPER) else status
            meanings = [
                meaning
                for bit, meaning in self.settings.arm.servo.faults.items()
                if bits >> bit & 1
            ]
            if meanings:
                faults.append(f"the servo of {name} reports an error: {', '.join(meanings)}")
        return faults
