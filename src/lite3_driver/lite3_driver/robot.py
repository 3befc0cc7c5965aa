# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Takes, uses and gives back control of a Lite3 through its motion host."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lite3_driver import wire
from lite3_driver.figures import (
    FIGURES,
    FOLDED_HIGHEST_RAD,
    FOLDED_LOWEST_RAD,
    LEVEL_RAD,
    Lite3Settings,
)
from lite3_driver.reception import Lite3Reception, in_si
from lite3_driver.sockets import UdpTransport
from lite3_driver.wire import F64, JOINT_NAMES, Lite3State
from robot_driver.checks import Stillness, YawRateCheck, outside
from robot_driver.consistency import SenseConsistency
from robot_driver.robot import RobotInterface


class Lite3(RobotInterface[Lite3State]):
    """DeepRobotics Lite3, which folds its legs before control is taken and answers no requests."""

    name = "Lite3"
    host = "the motion host"
    preparing, prepared = "folds its legs", "folded"
    figures = FIGURES
    settings_type = Lite3Settings
    settings: Lite3Settings

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.reception = Lite3Reception(settings)
        self._stillness, self._yaw_rate = Stillness(), YawRateCheck()
        self._senses = SenseConsistency(FIGURES, torques=settings.obeyed_torque_nm > 0.0)

    @property
    def place(self) -> str:
        settings = self.settings
        return f"{settings.interface_address}:{settings.state_port} for {settings.host_address}"

    def open(self) -> UdpTransport:
        return UdpTransport.open(self.settings)

    def adopt(self, descriptors: Sequence[int]) -> UdpTransport:
        return UdpTransport.adopt(self.settings, descriptors)

    def decode(self, data: bytes) -> Lite3State | None:
        state = wire.read_state(data)
        return in_si(state, self.settings) if isinstance(state, Lite3State) else None

    def encode(self, values: F64) -> bytes:
        self._senses.sent(values)
        return wire.command(values)

    def see(self, state: Lite3State, now_ns: int) -> None:
        self._stillness.see(state.joint_vel, state.ang_vel, now_ns)
        self._yaw_rate.see(state.tick, state.rpy, state.ang_vel)
        self._senses.see(state, state.rpy, state.ang_vel, state.lin_acc)

    def obstacles(self, now_ns: int) -> list[str]:
        state, settings = self.reception.state, self.settings
        return [
            *([] if state is None else _pose_problems(state)),
            *self._stillness.problems(now_ns),
            *self._yaw_rate.problems(
                unit=settings.angular_velocity_unit, waived=settings.angular_velocity_checked
            ),
            *filter(None, [self._senses.problem]),
        ]

    def fault(self) -> str:
        found = [self._senses.problem]
        if self._yaw_rate.other_unit:
            found.append(
                "while the robot turned, its angular velocity was in a different unit "
                "(angular_velocity_unit)"
            )
        elif self._senses.shares["turn"] >= 1.0:
            found.append("is angular_velocity_unit right?")
        return "; ".join(filter(None, found))

    def warning(self) -> str:
        return self._senses.warning

    def notes(self) -> dict[str, str | float]:
        ratio = self._yaw_rate.ratio
        return self._senses.notes() | ({} if ratio is None else {"yaw_rate_ratio": ratio})

    def prepare(self) -> list[bytes]:
        return [wire.request(wire.FOLD)]

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        """Return None after `fold_s`, since the host does not report when the legs are folded."""
        return None if elapsed_s >= self.settings.fold_s else []

    def take(self) -> list[bytes]:
        """Return the request for control twice, since the vendor's client sends it twice."""
        return [wire.request(wire.TAKE_CONTROL)] * 2

    def give_back(self) -> list[bytes]:
        self._senses.sent(None)
        return [wire.request(wire.GIVE_BACK)]


def _pose_problems(state: Lite3State) -> list[str]:
    """Return one sentence for each sign that the robot is not lying with its legs folded."""
    problems = [
        f"{JOINT_NAMES[joint]} is at {angle:.2f} rad, expected {low:.2f}..{high:.2f} in the "
        "folded pose"
        for joint, angle, low, high in outside(
            state.joint_pos, FOLDED_LOWEST_RAD, FOLDED_HIGHEST_RAD
        )
    ]
    tilt = np.abs(state.rpy[:2]).max()
    if tilt > LEVEL_RAD:
        problems.append(f"the robot is tilted by {tilt:.2f} rad, expected at most {LEVEL_RAD}")
    return problems
