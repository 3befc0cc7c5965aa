# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The byte messages exchanged between the servo bus thread and the rest of the driver."""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lerobot_arm_driver.arms import ArmSettings, drive_figures
from robot_driver.interfaces import DAMPING, F64, POSITION, STIFFNESS
from robot_driver.reception import Source, StateBounds, StateReception

PREPARE: Final = b"prepare"
"""Request to configure the servos and make them hold their positions."""
GIVE_BACK: Final = b"give_back"
"""Request to leave the servos as `ArmSettings.way_out` specifies."""
_GOAL: Final = b"goal"
LIMP: Final = np.inf
"""Goal that makes a joint limp."""
_HEAD: Final = struct.Struct("<I?")
_ROWS: Final = 7
TICKS: Final = 1 << 32


class ArmState(NamedTuple):
    """State of one or two arms at one moment; arrays are [n], in the order of `Arm.joint_names`.

    Attributes:
        tick: Time in ms on the steady clock of the process that reads the bus, modulo 2**32.
        configured: True once the servos have been configured, until the bus is reopened or control
            is given back; False while a leader is limp.
        joint_pos: Positions, rad.
        joint_vel: Velocities, from position differences, rad/s.
        joint_effort: Torques, from the servos' load estimates, N m; 0 if a servo has no estimate.
        temperature_c: Temperatures, degrees Celsius; NaN before the first reading.
        voltage_v: Supply voltages, V; NaN before the first reading.
        status: Error bits, as the servos report them.
        holds: True for each servo whose torque is on; the others are limp.
    """

    tick: int
    configured: bool
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64
    voltage_v: F64
    status: npt.NDArray[np.int64]
    holds: npt.NDArray[np.bool_]


def pack_state(state: ArmState) -> bytes:
    rows = np.stack([np.asarray(row, "<f8") for row in state[2:]])
    return _HEAD.pack(state.tick, state.configured) + rows.tobytes()


def read_state(data: bytes) -> ArmState:
    """Return the state from the bytes that `pack_state` returned."""
    tick, configured = _HEAD.unpack_from(data)
    rows = np.frombuffer(data, "<f8", offset=_HEAD.size).reshape(_ROWS, -1)
    status, holds = rows[5].astype(np.int64), rows[6] != 0.0
    return ArmState(tick, configured, rows[0], rows[1], rows[2], rows[3], rows[4], status, holds)


def pack_goal(values: F64, *, leader: bool) -> bytes:
    """Return the frame with each joint's goal; COMMAND_FIELDS names the columns of `values` [n, 5].

    A joint without stiffness holds its position; in a leader, a joint that also has no damping is
    limp.
    """
    stiffness, damping = values[:, STIFFNESS], values[:, DAMPING]
    goal = np.where(stiffness > 0.0, values[:, POSITION], np.nan)
    if leader:
        goal[(stiffness == 0.0) & (damping == 0.0)] = LIMP
    return _GOAL + goal.astype("<f8").tobytes()


def read_goal(data: bytes) -> F64 | None:
    """Return the goals [n] in a frame, rad; None if the frame contains no goals.

    The goal of a joint that must hold its position is NaN; that of a limp joint is LIMP.
    """
    return np.frombuffer(data, "<f8", offset=len(_GOAL)) if data.startswith(_GOAL) else None


class ArmReception(StateReception[ArmState]):
    """Accepts every arm state with plausible positions."""

    def __init__(self, settings: ArmSettings) -> None:
        super().__init__(settings, ["implausible"])
        self._ports = " and ".join(settings.ports)
        self._bounds = StateBounds(drive_figures(settings.arm))

    def receive(self, data: bytes, source: Source, now_ns: int) -> ArmState | None:
        state = read_state(data)
        problem = self._bounds.implausible(state)
        if not problem and self.state is not None and self.fresh(now_ns):
            problem = self._bounds.jump(self.state.joint_pos, state.joint_pos, self.age_s(now_ns))
        return self.reject("implausible", problem) if problem else self.accept(state, now_ns)

    def silence(self, now_ns: int) -> str:
        return f"no state received from {self._ports}: " + (
            self.rejection or "the servos do not answer, or the arm is not connected yet"
        )
