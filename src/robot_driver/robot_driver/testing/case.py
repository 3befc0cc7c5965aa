# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the conformance suite must know of a driver, and the robot's side of it."""

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
"""What a frame is for the robot."""
STATE_FIELDS = ("position", "velocity", "effort")
"""Of sensor_msgs/JointState: rad, rad/s, N m."""
MOTION_S, TURNS_S = 1.2, 0.7
"""How long a double moves, and when it turns back."""
_AT_POSE_RAD = 0.01
_LEAST_RAD, _MORE_RAD = 0.05, 0.15
_LEAST_NM, _MORE_NM = 0.2, 0.8
_BODY_RAD = np.array([0.05, 0.06, 0.08])
"""Less than what shows a driver the unit of the angular velocity: its integral is that of steps."""
_G_M_S2 = 9.81
_NOISE_M_S2, _NOISES = 1e-5, 1009


class Heard(NamedTuple):
    """A frame that the driver sent.

    Attributes:
        what: TAKEN, COMMANDED, GIVEN_BACK or OTHER, such as a request to get ready.
        values: Of a command [n, 5], rows in the order of `RobotDouble.joint_names`, columns as
            COMMAND_FIELDS; a robot whose wire has not all of them leaves the others at 0.
        rests: Whether the command brings the robot to rest.
        at_s: When it came, on the steady clock.
    """

    what: str
    values: F64 | None
    rests: bool
    at_s: float


class Sensed(NamedTuple):
    """What a robot measures at one moment; arrays are float64.

    Attributes:
        joint_pos, joint_vel, joint_effort: [n], rad, rad/s, N m, in the order of
            `RobotDouble.joint_names`.
        rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
        quat_xyzw: The same rotation, body to world [4].
        ang_vel: Body frame [3], rad/s.
        lin_acc: Specific force, body frame [3], m/s^2: +9.81 along z of a level robot at rest.
    """

    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    rpy: F64
    quat_xyzw: F64
    ang_vel: F64
    lin_acc: F64


class RobotDouble(ABC):
    """The robot's side of a driver, without physics: it moves as the suite wants it to.

    It runs on a thread or in a process of its own: from `start` on it sends what `sense` returns,
    at a steady rate, and calls `hear` for what is sent to it. It refuses what the real robot
    refuses. Its joints, units, signs and orders are written from the documents of the robot: it
    takes none of them from the driver, whose mistakes would cancel out.

    Attributes:
        joint_names: Of all joints, by their index on the wire.
        pose: Positions of the joints [n], rad, where it may be taken; in the order of
            `joint_names`.
        rest_mode: Of JointCommand: MODE_DAMP, or MODE_HOLD_MEASURED for a robot that would fall.
        heard: What it was sent, in order.
        sent_ns: When it sent its states, on the system's clock, by how far it had moved then, s.
        silent: Its state is not sent while this is set.
        moved_s: How long it has moved on its way from the pose and back to it: up to MOTION_S,
            where it is back; 0: it rests.
    """

    def __init__(
        self, joint_names: Sequence[str], pose: F64, *, rest_mode: int = MODE_DAMP
    ) -> None:
        self.joint_names, self.pose, self.rest_mode = tuple(joint_names), pose, rest_mode
        self.heard: list[Heard] = []
        self.sent_ns: dict[float, list[int]] = {}
        self.silent = False
        self.moved_s = 0.0
        self._noises = 0

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, object]:
        """Parameters of the driver's node that lead it to this robot and to no other one."""

    @abstractmethod
    def start(self) -> None:
        """Switch it on."""

    @abstractmethod
    def restart(self) -> None:
        """Switch it off and on at once: it forgets its controller, and its tick begins again."""

    @abstractmethod
    def close(self) -> None:
        """Switch it off for good; what was opened is closed. A second call does nothing."""

    def sense(self) -> Sensed | None:
        """Return what it measures now, which is to be sent at once; None: nothing is sent."""
        if self.silent:
            return None
        moved_s, self._noises = self.moved_s, (self._noises + 1) % _NOISES
        sensed = self.sensed(moved_s)
        # A real IMU has noise; one without it counts as broken.
        sensed.lin_acc[:] += _NOISE_M_S2 * self._noises
        self.sent_ns.setdefault(moved_s, []).append(time.time_ns())
        return sensed

    def sensed(self, moved_s: float) -> Sensed:
        """Return what it measures, but for noise, after it has moved for so long.

        Each joint moves at a speed of its own, in one direction and then back, with a torque of its
        own. The body turns about all axes. All of them fit together, as in a real robot.
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
        """Keep a frame, on whatever thread it came.

        Args:
            what: As in `Heard`.
            values: As in `Heard`.
        """
        rests = values is not None and self.brings_to_rest(values)
        self.heard.append(Heard(what, values, rests, time.monotonic()))

    def brings_to_rest(self, values: F64) -> bool:
        """Return whether a command [n, 5] does; to be replaced where the wire shows it otherwise.

        With MODE_DAMP it has no stiffness, with MODE_HOLD_MEASURED the measured pose.
        """
        if self.rest_mode == MODE_DAMP:
            return not values[:, STIFFNESS].any() and bool((values[:, DAMPING] > 0.0).all())
        return bool(np.abs(values[:, POSITION] - self.pose).max() < _AT_POSE_RAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCase:
    """What the suite must know of a driver."""

    command: Sequence[str]
    """Starts the driver's node, as a user does; arguments of ROS follow."""
    node: str
    """Name of the node."""
    robot: Callable[[], RobotDouble]
    """Makes a robot that no other one of this machine is in the way of; it is not started."""
    figures: DriveFigures
    """Of the robot's drives, as the driver has them; matched with the robot's joints by name."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Of the node: what makes start checks pass with a robot that lies on a desk, and what lets a
    busy machine hold up the double for a while (`state_timeout_s`: 0.5)."""
    joint_state_rate_hz: float = 500.0
    """Of `joint_states`, with these parameters; the double sends its state no less often."""
    command_rate_hz: float = 500.0
    """Of the frames to the robot, with these parameters."""
    imu: str = "imu/data"
    """Topic of sensor_msgs/Imu; empty where the robot has none."""
    state_fields: Sequence[str] = STATE_FIELDS
    """What the robot measures of its joints; what else is published is not compared."""
    command_fields: Sequence[str] = COMMAND_FIELDS
    """What the frames to the robot have for each joint."""
    reports_restart: bool = True
    """Whether a restart of the robot shows in its state."""
    tolerance_rad: float = 1e-3
    """How exactly positions reach the robot, such as a count of a servo's encoder."""
    holds_by_itself: bool = False
    """Whether the robot stays at rest without frames: one is enough before control goes back, and
    none is sent where the link process has died."""
    deadline_s: float = 30.0
    """Far beyond what anything takes; only a test that fails waits so long."""


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
