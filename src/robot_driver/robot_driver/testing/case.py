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
    DAMPING,
    F64,
    MODE_DAMP,
    POSITION,
    STIFFNESS,
    DriveFigures,
)

TAKEN, COMMANDED, GIVEN_BACK, OTHER = "taken", "commanded", "given back", "other"
"""What a frame is for the robot."""
_AT_POSE_RAD = 0.01


class Heard(NamedTuple):
    """A frame that the driver sent.

    Attributes:
        what: TAKEN, COMMANDED, GIVEN_BACK or OTHER, such as a request to get ready.
        values: Of a command [n, 5], rows in the order of `DriveFigures.joint_names`, columns as
            COMMAND_FIELDS; a robot whose wire has not all of them leaves the others at 0.
        rests: Whether the command brings the robot to rest.
        at_s: When it came, on the steady clock.
    """

    what: str
    values: F64 | None
    rests: bool
    at_s: float


class RobotDouble(ABC):
    """The robot's side of a driver, without physics: it stays in its pose, and keeps what it hears.

    It runs on a thread or in a process of its own: from `start` on it sends its state at a steady
    rate and hears what is sent to it. It refuses what the real robot refuses.

    Attributes:
        pose: Positions of the joints [n], rad, where it may be taken; in the order of
            `DriveFigures.joint_names`.
        heard: What it was sent, in order.
        silent: Its state is not sent while this is set.
    """

    def __init__(self, figures: DriveFigures, pose: F64) -> None:
        """Begin with a robot that is not switched on.

        Args:
            figures: Of its drives.
            pose: As the attribute.
        """
        self.figures, self.pose = figures, pose
        self.heard: list[Heard] = []
        self.silent = False

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
        if self.figures.rest_mode == MODE_DAMP:
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
    """Of the robot's drives."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Of the node: what makes start checks pass with a robot that lies on a desk, and what lets a
    busy machine hold up the double for a while (`state_timeout_s`: 0.5)."""
    joint_state_rate_hz: float = 500.0
    """Of `joint_states`, with these parameters; the double sends its state no less often."""
    command_rate_hz: float = 500.0
    """Of the frames to the robot, with these parameters."""
    imu: str = "imu/data"
    """Topic of sensor_msgs/Imu; empty where the robot has none."""
    reports_restart: bool = True
    """Whether a restart of the robot shows in its state."""
    tolerance_rad: float = 1e-3
    """How exactly positions reach the robot, such as a count of a servo's encoder."""
    holds_by_itself: bool = False
    """Whether the robot stays at rest without frames: one is enough before control goes back, and
    none is sent where the link process has died."""
    deadline_s: float = 30.0
    """Far beyond what anything takes; only a test that fails waits so long."""
