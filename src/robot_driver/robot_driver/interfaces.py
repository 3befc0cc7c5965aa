# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plain values that a robot's interface, the link process and the driver's node exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from policy_core.errors import PolicyError
from policy_inference.machine.scheduling import RealTime

F64 = npt.NDArray[np.float64]
NS_PER_S: Final = 1_000_000_000
MODE_DAMP, MODE_HOLD_MEASURED = 0, 5
"""Modes of policy_msgs/JointCommand."""
TAKE, RELEASE = "take_control", "release_control"
"""Requests that are answered when they are complete."""
COMMAND_FIELDS: Final = ("position", "velocity", "effort", "stiffness", "damping")
"""Columns of a command's values: rad, rad/s, N m, N m/rad, N m s/rad."""
POSITION, VELOCITY, EFFORT, STIFFNESS, DAMPING = range(len(COMMAND_FIELDS))


class DriverError(PolicyError):
    """A robot interface that cannot be used, or a link process that has been lost."""


class DriverPhase(IntEnum):
    """Phase of control over the robot, numbered as in policy_msgs/RobotStatus."""

    LISTENING = 0
    TAKING = 1
    FOLLOWING = 2
    DAMPING = 3
    RELEASING = 4


class DriveState(Protocol):
    """The part of a robot's state that this package reads; a robot's own state may hold more.

    Attributes:
        tick: The robot's time counter, ms, modulo 2**32.
        joint_pos, joint_vel, joint_effort: Joint states [n], rad, rad/s, N m, in wire order.
        temperature_c: Drive temperatures [n], degrees Celsius; may be non-finite.
    """

    @property
    def tick(self) -> int: ...
    @property
    def joint_pos(self) -> F64: ...
    @property
    def joint_vel(self) -> F64: ...
    @property
    def joint_effort(self) -> F64: ...
    @property
    def temperature_c(self) -> F64: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveFigures:
    """Data of a robot's drives; arrays are [n], in wire order.

    Attributes:
        joint_names: Names of all joints that the driver commands.
        lowest_rad, highest_rad: Range of each joint's position.
        position_margin_rad: How far a joint may go beyond its range, since stops yield and encoders
            have offsets.
        fastest_rad_s, largest_torque_nm: Rated velocity and torque of each drive.
        largest_stiffness, largest_damping: Limits for any joint in a command, N m/rad and N m
            s/rad.
        first_torque_nm: Maximum torque that velocity and effort may demand from a joint that had no
            stiffness until now.
        demand_nm: Demanded torque above which a drive's response is judged.
        foreign_nm: Torque, beyond what braking explains, that reveals another controller.
        state_rate_hz: Lowest and highest plausible rate of state frames.
        watchdog_s: Time without a command after which the robot takes control back; infinite if it
            never does.
        rest_mode: Command mode that brings this robot to rest, and with which following resumes
            after a stop: MODE_DAMP, or MODE_HOLD_MEASURED for a robot that would fall.
        rest_s: Time at rest before control is given back.
        lower_s: Maximum time for lowering the robot before that rest (`RobotInterface.lower`).
        may_be_limp: True if a command may leave a joint limp, so that a hand can move it, as on a
            leader arm; on all other robots, a joint left with hardly any gains is brought to rest.
    """

    joint_names: tuple[str, ...]
    lowest_rad: F64
    highest_rad: F64
    position_margin_rad: float
    fastest_rad_s: F64
    largest_torque_nm: F64
    largest_stiffness: float
    largest_damping: float
    first_torque_nm: float
    demand_nm: float
    foreign_nm: float
    state_rate_hz: tuple[float, float]
    watchdog_s: float
    rest_mode: int
    rest_s: float
    lower_s: float = 0.0
    may_be_limp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSettings:
    """Settings common to all drivers, named like the node's parameters and convertible to JSON.

    Attributes:
        command_rate_hz: Number of command frames sent per second while in control.
        joint_state_rate_hz: Number of state frames per second that the node receives.
        state_timeout_s: Time without a new state frame after which the robot is brought to rest.
        damping: Damping gain of braking drives, N m s/rad.
        max_start_error_rad: Maximum distance between the first command with stiffness and the
            measured pose.
        obeyed_torque_nm: Torque of a resting robot's braking drives above which another controller
            must be driving the robot; 0 disables this check, and the check that commanded torques
            are exerted.
        realtime: Real-time settings for the link process, from the node's `realtime.*` parameters.
    """

    command_rate_hz: float = 500.0
    joint_state_rate_hz: float = 500.0
    state_timeout_s: float = 0.1
    damping: float = 5.0
    max_start_error_rad: float = 0.3
    obeyed_torque_nm: float = 3.0
    realtime: RealTime = field(default_factory=RealTime)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCommand:
    """A JointCommand in wire order.

    Attributes:
        sequence, mode, valid_for_ns: See policy_msgs/JointCommand.
        values: Command values [n, 5]; rows in wire order, columns as in COMMAND_FIELDS.
        effort_limit: Effort limits [n], N m.
        received_ns: Receipt time on the steady clock, which all processes share.
    """

    sequence: int
    mode: int
    valid_for_ns: int
    values: F64
    effort_limit: F64
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverAnswer:
    """Answer to a request, TAKE or RELEASE."""

    request: str
    success: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverReport:
    """Content of policy_msgs/RobotStatus, and the answer to a request that has just ended.

    Attributes:
        refused: The settings in `DriverSettings.realtime` that the machine refused, with remedies.
        temperature_c: Drive temperatures, degrees Celsius, in wire order; empty before the first
            frame.
        details: Counters and other values, with the unit in the key.
        answer: Answer to a request that has just ended; None if there is none.
    """

    phase: DriverPhase
    reason: str
    obstacles: tuple[str, ...]
    state_rate_hz: float = 0.0
    command_rate_hz: float = 0.0
    largest_gap_s: float = 0.0
    latency_p50_s: float = 0.0
    latency_p99_s: float = 0.0
    temperature_c: tuple[float, ...] = ()
    refused: tuple[str, ...] = ()
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    answer: DriverAnswer | None = None
