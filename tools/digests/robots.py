# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robots without physics in lockstep with a node; their sensors are the same on every machine.

Joints follow their commands half-way in each tick, on a grid of 2^-20, under disturbances that
whole numbers make: additions, products and roots alone, which IEEE 754 fixes to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.digests.ros_robot import RosRobot

F64 = npt.NDArray[np.float64]
GRID = float(1 << 20)
LEGS = [
    f"{leg}_{part}_joint" for leg in ("FL", "FR", "HL", "HR") for part in ("HipX", "HipY", "Knee")
]
"""Joints of the quadruped."""
START_NS = 1_000_000_000
"""The first time that is shown: a stamp of 0 is none."""


def on_grid(values: F64) -> F64:
    """Round to multiples of 2^-20."""
    return np.asarray(np.round(values * GRID) / GRID)


def wave(tick: int, count: int, period: int = 50) -> F64:
    """Return `count` triangle waves in -1 ... 1, each of another period and phase."""
    places = np.arange(count)
    periods = period + 7 * places
    part = (tick + 13 * places) % periods / periods
    return on_grid(4.0 * np.abs(part - 0.5) - 1.0)


class FollowingJoints:
    """Positions and velocities [joints] of drives that follow commands."""

    def __init__(self, names: Sequence[str], position: F64, period_s: float) -> None:
        """Begin at rest.

        Args:
            names: Of the joints, as the robot calls them.
            position: Where they are, rad.
            period_s: Time of a tick.
        """
        self.names, self.period_s = list(names), period_s
        self.position, self.velocity = on_grid(position), np.zeros(len(names))
        self._at_rest = self.position

    def follow(self, command: dict[str, Any], tick: int, disturbance: float) -> None:
        """Go half-way to the command, and be disturbed, rad; without stiffness sink to rest."""
        named = command.get("names", self.names)
        order = [named.index(name) for name in self.names]
        goal = command["position"][order]
        stiff = command.get("stiffness", np.ones(len(named)))[order] > 0.0
        towards = np.where(stiff, 0.5 * (goal - self.position), (self._at_rest - self.position) / 8)
        moved = self.position + towards
        after = on_grid(moved + disturbance * wave(tick, len(self.names)))
        self.velocity = on_grid((after - self.position) / self.period_s)
        self.position = after


class LockstepRobot:
    """A robot and its operator in lockstep with a node. A subclass makes the sensors' messages.

    Attributes:
        robot: The topics and services of the node.
        joints: Joints that follow the commands.
        now_ns: Simulated time.
        ticks: Number of ticks so far.
        answers: Answers of the node's services, one line each.
        disturbance: Of the joints, rad.
        silent: Beginnings of the names of topics without messages.
        late_ns: How much earlier the stamps of topics are, by the beginning of their names.
        change: Changes a message of the named topic before it is published.
    """

    def __init__(
        self, robot: RosRobot, joints: FollowingJoints, period_ns: int, inputs: int
    ) -> None:
        """Connect to the node, which has this number of inputs."""
        self.robot, self.joints, self._period_ns = robot, joints, period_ns
        self.now_ns, self.ticks = START_NS, 0
        self.answers = list[str]()
        self.disturbance = 0.002
        self.silent = frozenset[str]()
        self.late_ns = dict[str, int]()
        self.change: Callable[[str, Any], None] | None = None
        robot.meet(self._show, inputs)

    def messages(self) -> dict[str, Any]:
        """Return the messages of the sensors now, by topic, without stamps."""
        raise NotImplementedError

    def ask(self, name: str, request: Any = None) -> None:
        """Call a service and note the answer."""
        self.answers.append(f"{name}: {self.robot.ask(name, request)}")

    def tick(self, count: int = 1) -> None:
        """Advance by some ticks."""
        for _ in range(count):
            self.ticks += 1
            self.now_ns += self._period_ns
            command = self.robot.tick(self._show)
            self.joints.follow(command, self.ticks, self.disturbance)

    def joint_state(self) -> Any:
        """Return the joints as a sensor_msgs/JointState."""
        from sensor_msgs.msg import JointState

        message = JointState(name=[*self.joints.names])
        message.position = self.joints.position.tolist()
        message.velocity = self.joints.velocity.tolist()
        return message

    def _show(self) -> None:
        from rosgraph_msgs.msg import Clock

        for topic, message in self.messages().items():
            if topic.startswith(tuple(self.silent)):
                continue
            if hasattr(message, "header"):
                late_ns = sum(ns for name, ns in self.late_ns.items() if topic.startswith(name))
                _stamp(message.header.stamp, self.now_ns - late_ns)
            if self.change:
                self.change(topic, message)
            self.robot.publish(topic, message)
        clock = Clock()
        _stamp(clock.clock, self.now_ns)
        self.robot.publish("/clock", clock)


def turn(quaternion: Any, roll: float, pitch: float) -> None:
    """Write a unit quaternion from its x and y, whose root IEEE 754 fixes."""
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = tilted(roll, pitch)


def _stamp(field: Any, time_ns: int) -> None:
    """Write a time into a builtin_interfaces/Time."""
    field.sec, field.nanosec = divmod(time_ns, 1_000_000_000)


def tilted(roll: float, pitch: float) -> tuple[float, float, float, float]:
    """Return a unit quaternion xyzw from its x and y, whose root IEEE 754 fixes."""
    return roll, pitch, 0.0, float(np.sqrt(1.0 - roll * roll - pitch * pitch))
