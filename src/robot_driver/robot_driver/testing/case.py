# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a driver's author gives the conformance suite: a description and a robot double."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from robot_driver.interfaces import (
    COMMAND_FIELDS,
    DAMPING,
    F64,
    MODE_DAMP,
    POSITION,
    STIFFNESS,
    DriveFigures,
)

TAKEN, COMMANDED, GIVEN_BACK, OTHER = "taken", "commanded", "given back", "other"
"""Kinds of frames, named after what they tell the robot."""
STATE_FIELDS = ("position", "velocity", "effort")
"""Fields of sensor_msgs/JointState: rad, rad/s, N m."""
MOTION_S, TURNS_S = 1.2, 0.7
"""Duration of a double's motion, and the time into it at which its direction reverses."""
_AT_POSE_RAD = 0.01
_LEAST_RAD, _MORE_RAD = 0.05, 0.15
_LEAST_NM, _MORE_NM = 0.2, 0.8
_BODY_RAD = np.array([0.05, 0.06, 0.08])
"""Body rotation [3], too slow for the driver to infer the unit of the angular velocity."""
_G_M_S2 = 9.81
_NOISE_M_S2, _NOISES = 1e-5, 1009


class Heard(NamedTuple):
    """A frame that the robot double received from the driver.

    Attributes:
        what: TAKEN, COMMANDED, GIVEN_BACK, or OTHER, such as a request to prepare.
        values: Values of a command [n, 5], rows in the order of `RobotDouble.joint_names`, columns
            as in COMMAND_FIELDS; fields that the robot's frames lack are 0.
        rests: True if the command brings the robot to rest.
        at_s: Receipt time on the steady clock.
    """

    what: str
    values: F64 | None
    rests: bool
    at_s: float


class Sensed(NamedTuple):
    """A robot's sensor values at one moment; arrays are float64.

    Attributes:
        joint_pos, joint_vel, joint_effort: Joint states [n], rad, rad/s, N m, in the order of
            `RobotDouble.joint_names`.
        rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
        quat_xyzw: Quaternion [4] of the rotation in `rpy`, body to world.
        ang_vel: Angular velocity, body frame [3], rad/s.
        lin_acc: Specific force, body frame [3], m/s^2; +9.81 along z for a level robot at rest.
    """

    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    rpy: F64
    quat_xyzw: F64
    ang_vel: F64
    lin_acc: F64


class RobotDouble(ABC):
    """Test double of a robot, without physics: it moves as the suite requires.

    It runs in its own thread or process: once started, it sends the result of `sense` at a steady
    rate, and calls `hear` for each received frame. It refuses whatever the real robot refuses. Take
    its joints, units, signs and orders from the robot's documentation, never from the driver, whose
    mistakes would then cancel out.

    Attributes:
        joint_names: Names of all joints, in wire order.
        pose: Joint positions [n], rad, at which control may be taken, in the order of
            `joint_names`.
        rest_mode: Rest mode of JointCommand: MODE_DAMP, or MODE_HOLD_MEASURED for a robot that
            would fall.
        heard: Received frames, in order.
        sent_ns: Times at which states were sent (system clock), keyed by the state's `moved_s`.
        silent: True to send no states.
        loses: Number of states that do not reach the driver, from the next one on.
        lost: Number of states that did not reach the driver since the start.
        moved_s: Time since the robot began to move away from the pose, to which it returns at
            MOTION_S; 0 at rest.
    """

    def __init__(
        self, joint_names: Sequence[str], pose: F64, *, rest_mode: int = MODE_DAMP
    ) -> None:
        self.joint_names, self.pose, self.rest_mode = tuple(joint_names), pose, rest_mode
        self.heard: list[Heard] = []
        self.sent_ns: dict[float, list[int]] = {}
        self.silent = False
        self.loses = self.lost = 0
        self.moved_s = 0.0
        self._noises = 0

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, object]:
        """Node parameters that connect the driver to this double and no other."""

    @abstractmethod
    def start(self) -> None:
        """Switch the robot on; it then sends its state."""

    @abstractmethod
    def restart(self) -> None:
        """Restart the robot: it forgets who controls it, and its tick counter restarts."""

    @abstractmethod
    def close(self) -> None:
        """Switch the robot off for good, and close everything; a second call does nothing."""

    def sense(self) -> Sensed | None:
        """Return the current sensor values, to be sent at once; None if nothing is to be sent."""
        if self.silent:
            return None
        if self.loses > 0:
            self.loses -= 1
            self.lost += 1
            return None
        moved_s, self._noises = self.moved_s, (self._noises + 1) % _NOISES
        sensed = self.sensed(moved_s)
        # a real IMU has noise; drivers treat one without noise as failed
        sensed.lin_acc[:] += _NOISE_M_S2 * self._noises
        self.sent_ns.setdefault(moved_s, []).append(time.time_ns())
        return sensed

    def sensed(self, moved_s: float) -> Sensed:
        """Return the sensor values, without noise, of a robot that has moved for this long.

        Each joint moves at its own speed and torque in one direction and then back, and the body
        turns about all axes. All values are consistent, as in a real robot.
        """
        count = len(self.joint_names)
        shares = np.arange(1, count + 1) / count
        back_s = MOTION_S - TURNS_S
        if 0.0 < moved_s < MOTION_S:
            ahead = moved_s <= TURNS_S
            rate = 1.0 / TURNS_S if ahead else -1.0 / back_s
            way = moved_s / TURNS_S if ahead else (MOTION_S - moved_s) / back_s
            pull = 1.0 - 2.0 * way
        else:
            rate = way = pull = 0.0
        furthest = _LEAST_RAD + _MORE_RAD * shares
        rpy = way * _BODY_RAD
        (sin_r, sin_p, _), (cos_r, cos_p, _) = np.sin(rpy), np.cos(rpy)
        roll_rate, pitch_rate, yaw_rate = rate * _BODY_RAD
        ang_vel = [
            roll_rate - yaw_rate * sin_p,
            pitch_rate * cos_r + yaw_rate * sin_r * cos_p,
            yaw_rate * cos_r * cos_p - pitch_rate * sin_r,
        ]
        return Sensed(
            joint_pos=self.pose + way * furthest,
            joint_vel=rate * furthest,
            joint_effort=pull * (_LEAST_NM + _MORE_NM * shares),
            rpy=rpy,
            quat_xyzw=_quat_xyzw(rpy),
            ang_vel=np.array(ang_vel),
            lin_acc=_G_M_S2 * np.array([-sin_p, sin_r * cos_p, cos_r * cos_p]),
        )

    def hear(self, what: str, values: F64 | None = None) -> None:
        """Store a received frame; callable from any thread.

        Args:
            what: As in `Heard`.
            values: As in `Heard`.
        """
        rests = values is not None and self.brings_to_rest(values)
        self.heard.append(Heard(what, values, rests, time.monotonic()))

    def brings_to_rest(self, values: F64) -> bool:
        """Return True if a command [n, 5] brings the robot to rest.

        With MODE_DAMP, such a command has damping and no stiffness; with MODE_HOLD_MEASURED, it has
        the robot's pose. Override this if the robot's frames say so themselves.
        """
        if self.rest_mode == MODE_DAMP:
            return not values[:, STIFFNESS].any() and bool((values[:, DAMPING] > 0.0).all())
        return bool(np.abs(values[:, POSITION] - self.pose).max() < _AT_POSE_RAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCase:
    """What the suite needs to know about a driver."""

    command: Sequence[str]
    """Command line with which a user starts the driver's node; ROS arguments are appended."""
    node: str
    """Name of the driver's node."""
    robot: Callable[[], RobotDouble]
    """Creates a double, not yet started, that does not clash with others on this machine."""
    figures: DriveFigures
    """The driver's drive figures, which are matched with the double's joints by name."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Node parameters that make the start checks pass for a robot lying on a desk, and allow a busy
    machine to delay the double for a while (`state_timeout_s`: 0.5).
    """
    lost_counter: str | None
    """Name of the counter in the status's `details` that shows states of the robot that never
    arrived; None if the robot does not number its states.
    """
    joint_state_rate_hz: float = 500.0
    """Rate of `joint_states` with these parameters; the double sends at least as often."""
    command_rate_hz: float = 500.0
    """Rate of the frames to the robot with these parameters."""
    imu: str = "imu/data"
    """Topic of the robot's sensor_msgs/Imu; empty if it has no IMU."""
    state_fields: Sequence[str] = STATE_FIELDS
    """Fields of JointState that the robot measures; other published fields are not compared."""
    command_fields: Sequence[str] = COMMAND_FIELDS
    """Fields per joint in the frames to the robot."""
    reports_restart: bool = True
    """True if the robot's state reveals a restart."""
    tolerance_rad: float = 1e-3
    """Resolution of positions sent to the robot, such as one count of a servo encoder."""
    holds_by_itself: bool = False
    """True if the robot stays at rest without frames; no rest frame is then required before control
    is given back after the link process has died.
    """
    deadline_s: float = 30.0
    """Timeout for each wait, far beyond normal durations; only a failing test waits this long."""


def _quat_xyzw(rpy: F64) -> F64:
    (sin_r, sin_p, sin_y), (cos_r, cos_p, cos_y) = np.sin(0.5 * rpy), np.cos(0.5 * rpy)
    return np.array(
        [
            sin_r * cos_p * cos_y - cos_r * sin_p * sin_y,
            cos_r * sin_p * cos_y + sin_r * cos_p * sin_y,
            cos_r * cos_p * sin_y - sin_r * sin_p * cos_y,
            cos_r * cos_p * cos_y + sin_r * sin_p * sin_y,
        ]
    )
