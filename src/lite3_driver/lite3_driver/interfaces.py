# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plain values between the node and the process that owns the socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from lite3_driver.wire import F64, HOST_PORT, STATE_PORT
from policy_inference.machine.scheduling import RealTime

TAKE, RELEASE = "take_control", "release_control"
"""Requests that are answered when they have ended."""


class Phase(IntEnum):
    """Who is in control, numbered as policy_msgs/RobotStatus numbers it."""

    LISTENING = 0
    TAKING = 1
    FOLLOWING = 2
    DAMPING = 3
    RELEASING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the driver is told; the node's parameters of the same names.

    Attributes:
        host_address, host_port: Where the motion host listens; frames from elsewhere do not count.
        interface_address, state_port: Where its state is received.
        command_rate_hz: Command frames per second, steady while in control.
        joint_state_rate_hz: How many state frames per second the node gets.
        angular_velocity_unit: In which the host sends angular velocities: `rad/s` or `deg/s`.
        angular_velocity_checked: Whether that was found right on this robot, so that nobody needs
            to turn it before control is taken.
        state_timeout_s: Without a new state frame for so long, the drives damp.
        fold_s: Time that the robot takes to fold its legs.
        damping: Of the drives where nothing may be followed, N m s/rad.
        max_start_error_rad: How far from the measured pose a first command with stiffness may be.
        obeyed_torque_nm: Above it, while the drives should damp at rest, somebody else drives
            them; 0: no such check, nor one whether torques are given that are commanded.
        realtime: What the process that talks to the robot asks of the machine; the node's
            parameters `realtime.*`.
    """

    host_address: str = "192.168.1.120"
    host_port: int = HOST_PORT
    interface_address: str = "0.0.0.0"
    state_port: int = STATE_PORT
    command_rate_hz: float = 500.0
    joint_state_rate_hz: float = 500.0
    angular_velocity_unit: str = "rad/s"
    angular_velocity_checked: bool = False
    state_timeout_s: float = 0.1
    fold_s: float = 7.0
    damping: float = 5.0
    max_start_error_rad: float = 0.3
    obeyed_torque_nm: float = 3.0
    realtime: RealTime = field(default_factory=RealTime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A JointCommand in the order of the wire.

    Attributes:
        sequence, mode, valid_for_ns: As in policy_msgs/JointCommand.
        values: [12, 5], rows as wire.JOINT_NAMES, columns as wire.COMMAND_FIELDS.
        effort_limit: [12], N m.
        received_ns: When it came, on the steady clock, which all processes share.
    """

    sequence: int
    mode: int
    valid_for_ns: int
    values: F64
    effort_limit: F64
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a request ended: TAKE or RELEASE."""

    request: str
    success: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What policy_msgs/RobotStatus tells, and the answer to a request that has just ended.

    Attributes:
        refused: What the machine refused of `Settings.realtime`, with the remedy.
        temperature_c: Of the drives, in the order of wire.JOINT_NAMES; empty before any frame.
        details: Counters and what else there is to tell, the unit in the key.
        answer: Where a request has just ended.
    """

    phase: Phase
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
    answer: Answer | None = None
