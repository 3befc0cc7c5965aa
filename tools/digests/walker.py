# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A quadruped, its operator, and what goes wrong with its sensors, in lockstep with a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tools.digests.robots import START_NS, Faults, Joints, stamp, tilted, wave
from tools.digests.ros_robot import RosRobot

NS_PER_S = 1_000_000_000
PERIOD_NS = 20_000_000
LEGS = [
    f"{leg}_{part}_joint" for leg in ("FL", "FR", "HL", "HR") for part in ("HipX", "HipY", "Knee")
]
LYING = np.tile([0.0, -1.25, 2.5], 4)
"""Positions in which the robot begins, rad."""
INPUTS = ("joint_states", "imu/data", "cmd_vel")
RING_S = 1
TO_SINK = 30
TO_STAND = 135
"""Ticks that standing up takes, and some more."""


class Section:
    """What is noted of a part of the walk beside the recording."""

    def __init__(self, after_ns: int) -> None:
        """Begin after a time."""
        self.after_ns = self.until_ns = after_ns
        self.answers, self.commands, self.counters = list[str](), list[bytes](), list[str]()


class Walker:
    """The robot, its operator, and what goes wrong."""

    def __init__(self, robot: RosRobot, fault: Path, other: Path) -> None:
        """Meet the node and begin to record.

        Args:
            robot: The node's other side.
            fault: File that names what the seeded back end shall do wrong.
            other: A bundle that may be loaded.
        """
        from std_msgs.msg import Bool

        self.robot, self.fault_file, self.other = robot, fault, other
        self._now_ns, self._tick = START_NS, 0
        self.joints = Joints(LEGS, LYING, PERIOD_NS * 1e-9)
        self.faults, self.velocity = Faults(), (0.0, 0.0, 0.0)
        self.tilt = (0.0, 0.0)
        self.disturbance = 0.002
        self.sections = dict[str, Section]()
        robot.advertise("estop", Bool)
        robot.meet(self._show, len(INPUTS))
        # Times that were shown again while both met are no longer in the ring of the recorder.
        self.tick(2 * RING_S * NS_PER_S // PERIOD_NS)
        robot.record()

    def run(self, name: str, section: Callable[[Walker], None]) -> None:
        """Do a section, which ends in DAMP with nothing latched."""
        noted = self.sections[name] = Section(self._now_ns)
        first = len(self.robot.commands)
        self.noted = noted
        section(self)
        self.ask("reset")
        self.ask("damp")
        counters = self.robot.counters(lambda status: status.mode == 0 and not status.latched)
        self.tick(TO_SINK)
        noted.until_ns = self._now_ns
        noted.commands = self.robot.commands[first:]
        noted.counters = [f"{rule}: {count}" for rule, count in counters.items()]

    def ask(self, name: str, request: Any = None) -> None:
        """Ask for a service and note the answer."""
        self.noted.answers.append(f"{name}: {self.robot.ask(name, request)}")

    def tick(self, count: int = 1) -> None:
        """Go on for some ticks; faults of sensors are those of the first one."""
        for _ in range(count):
            self._tick += 1
            self._now_ns += PERIOD_NS
            command = self.robot.tick(self._show)
            self.joints.follow(command, self._tick, self.disturbance)
            self.faults = Faults()

    def silent(self, count: int, *names: str) -> None:
        """Go on without the messages of some inputs."""
        for _ in range(count):
            self.faults = Faults(silent=frozenset(names))
            self.tick()

    def changed(self, count: int, change: Callable[[str, Any], None]) -> None:
        """Go on with changed messages."""
        for _ in range(count):
            self.faults = Faults(change=change)
            self.tick()

    def late(self, count: int, name: str, by_ns: int) -> None:
        """Go on with the stamps of an input so much earlier."""
        for _ in range(count):
            self.faults = Faults(stamp_back_ns={name: by_ns})
            self.tick()

    def to_run(self) -> None:
        """Stand up and run."""
        self.ask("stand")
        self.tick(TO_STAND)
        self.ask("run")

    def load(self, bundle: Path) -> None:
        """Ask for another policy."""
        from policy_msgs.srv import LoadBundle

        answer = self.robot.ask("load", LoadBundle.Request(bundle=str(bundle)))
        self.noted.answers.append(f"load: {answer.replace(str(bundle.parent), '<work>')}")

    def press_estop(self) -> None:
        """Publish on the e-stop's topic and wait for the command that it makes."""
        from std_msgs.msg import Bool

        self.robot.press_estop(Bool(data=True))

    def shift(self, by_ns: int) -> None:
        """Let simulated time leap."""
        self._now_ns += by_ns

    def _show(self) -> None:
        from geometry_msgs.msg import Twist
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Imu, JointState

        joint_state, imu, twist = JointState(), Imu(), Twist()
        joint_state.name = [*self.joints.names]
        joint_state.position = self.joints.position.tolist()
        joint_state.velocity = self.joints.velocity.tolist()
        shake = wave(self._tick, 5, 40) / 64.0
        roll, pitch = self.tilt[0] + shake[0], self.tilt[1] + shake[1]
        (
            imu.orientation.x,
            imu.orientation.y,
            imu.orientation.z,
            imu.orientation.w,
        ) = tilted(float(roll), float(pitch))
        rates = imu.angular_velocity
        rates.x, rates.y, rates.z = (shake[2:] * 16.0).tolist()
        twist.linear.x, twist.linear.y, twist.angular.z = self.velocity
        messages = {"joint_states": joint_state, "imu/data": imu, "cmd_vel": twist}
        for name, message in messages.items():
            if name in self.faults.silent:
                continue
            if name != "cmd_vel":
                stamp(message.header.stamp, self._now_ns - self.faults.stamp_back_ns.get(name, 0))
            if self.faults.change:
                self.faults.change(name, message)
            self.robot.publish(name, message)
        clock = Clock()
        stamp(clock.clock, self._now_ns)
        self.robot.publish("/clock", clock)
