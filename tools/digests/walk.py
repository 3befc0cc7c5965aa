# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy in its node, in lockstep: a walk in which everything goes wrong once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from policy_inference.processes import environment
from tools.digests.bundles import seeded_walk
from tools.digests.digest import Case
from tools.digests.messages import FlightContent, command_stages, recordings_in
from tools.digests.robots import LEGS, FollowingJoints, LockstepRobot, turn, wave
from tools.digests.ros_robot import RosRobot
from tools.digests.seeded_backend import FAULT
from tools.digests.texts import inspections, replayed

NS_PER_S = 1_000_000_000
PERIOD_NS = 20_000_000
LYING = np.tile([0.0, -1.25, 2.5], 4)
"""Positions in which the robot begins, rad."""
_INPUTS = 3
_RING_S = 1
_TO_SINK = 30
_TO_STAND = 135
"""Ticks that standing up takes, and some more."""


def walk(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return the sections of the walk, each as a case with all its stages."""
    bundle = seeded_walk(folder / "seeded")
    other = seeded_walk(folder / "other", version="9.9.9", joint_vel_scale="0.04")
    flights, fault = folder / "flights", folder / "fault"
    parameters = {
        "bundle": str(bundle),
        "backend": "seeded",
        "status_rate_hz": 50.0,
        "flight.folder": str(flights),
        "flight.min_free_mb": 1.0,
        "flight.duration_s": float(_RING_S),
    }
    with (
        environment({FAULT: str(fault)}),
        RosRobot("joint_policy_node", parameters, folder) as robot,
    ):
        walker = Walker(robot, fault, other)
        for name, section in SECTIONS.items():
            if name in _RECORDED_APART:
                robot.end_record()
                robot.record()
            walker.run(name, section)
        robot.end_record()
    recordings = recordings_in(flights, "-run")
    flight = FlightContent(recordings)
    for number, recording in enumerate(recordings):
        yield f"replay{number}", replayed(folder, recording)
        yield from inspections(folder, {f"flight{number}": recording})
    for name, flown in walker.sections.items():
        yield (
            name,
            {
                "answers": flown.answers,
                **flight.stages(flown.after_ns, flown.until_ns),
                **command_stages(flown.commands),
                "counters": flown.counters,
            },
        )


class Section:
    """What is noted of a part of the walk beside the recording."""

    def __init__(self, after_ns: int) -> None:
        """Begin after a time."""
        self.after_ns = self.until_ns = after_ns
        self.answers, self.commands, self.counters = list[str](), list[bytes](), list[str]()


class Walker(LockstepRobot):
    """A quadruped, its operator, and faults of its sensors."""

    def __init__(self, robot: RosRobot, fault: Path, other: Path) -> None:
        """Connect to the node and begin to record.

        Args:
            robot: The node's other side.
            fault: File that names the fault of the seeded back end.
            other: A bundle that may be loaded.
        """
        from std_msgs.msg import Bool

        self.fault_file, self.other = fault, other
        self.velocity, self.tilt = (0.0, 0.0, 0.0), (0.0, 0.0)
        self.sections = dict[str, Section]()
        robot.advertise("estop", Bool)
        super().__init__(robot, FollowingJoints(LEGS, LYING, PERIOD_NS * 1e-9), PERIOD_NS, _INPUTS)
        # The ring of the recorder forgets the times that were shown again for the connection.
        self.tick(2 * _RING_S * NS_PER_S // PERIOD_NS)
        robot.record()

    def run(self, name: str, section: Callable[[Walker], None]) -> None:
        """Do a section, which ends in DAMP with nothing latched."""
        noted = self.sections[name] = Section(self.now_ns)
        first, self.answers = len(self.robot.commands), noted.answers
        section(self)
        self.ask("reset")
        self.ask("damp")
        counters = self.robot.counters(lambda status: status.mode == 0 and not status.latched)
        self.tick(_TO_SINK)
        noted.until_ns = self.now_ns
        noted.commands = self.robot.commands[first:]
        noted.counters = [f"{rule}: {count}" for rule, count in counters.items()]

    def without(self, count: int, *names: str) -> None:
        """Advance without the messages of some inputs."""
        self.silent = frozenset(names)
        self.tick(count)
        self.silent = frozenset()

    def changed(self, count: int, change: Callable[[str, Any], None]) -> None:
        """Advance with changed messages."""
        self.change = change
        self.tick(count)
        self.change = None

    def late(self, count: int, name: str, by_ns: int) -> None:
        """Advance with earlier stamps of an input."""
        self.late_ns = {name: by_ns}
        self.tick(count)
        self.late_ns = {}

    def to_run(self) -> None:
        """Stand up and run."""
        self.ask("stand")
        self.tick(_TO_STAND)
        self.ask("run")

    def load(self, bundle: Path) -> None:
        """Request another policy."""
        from policy_msgs.srv import LoadBundle

        answer = self.robot.ask("load", LoadBundle.Request(bundle=str(bundle)))
        self.answers.append(f"load: {answer.replace(str(bundle.parent), '<work>')}")

    def press_estop(self) -> None:
        """Publish on the topic of the e-stop and wait for the command that it causes."""
        from std_msgs.msg import Bool

        self.robot.press_estop(Bool(data=True))

    def messages(self) -> dict[str, Any]:
        """Return one message for each input."""
        from geometry_msgs.msg import Twist
        from sensor_msgs.msg import Imu

        imu, twist = Imu(), Twist()
        shake = wave(self.ticks, 5, 40) / 64.0
        turn(imu.orientation, float(self.tilt[0] + shake[0]), float(self.tilt[1] + shake[1]))
        rates = imu.angular_velocity
        rates.x, rates.y, rates.z = (shake[2:] * 16.0).tolist()
        twist.linear.x, twist.linear.y, twist.angular.z = self.velocity
        return {"joint_states": self.joint_state(), "imu/data": imu, "cmd_vel": twist}


def _refusals(walker: Walker) -> None:
    """Ask for what is refused."""
    walker.tick(3)
    walker.ask("run")
    walker.without(3, "imu/data")
    walker.ask("stand")
    walker.tick(2)
    walker.tilt = (0.6, 0.0)
    walker.tick(2)
    walker.ask("stand")
    walker.tilt = (0.0, 0.0)
    walker.tick(2)
    walker.ask("stand")
    walker.tick(20)
    walker.ask("run")
    walker.ask("stand")


def _commands(walker: Walker) -> None:
    """Walk under commands on all axes, one that ends, and two that are no numbers."""
    walker.to_run()
    for velocity in ((0.5, 0.0, 0.0), (-0.5, 0.25, 0.5), (2.0, -2.0, 2.0), (0.0, 0.0, 0.0)):
        walker.velocity = velocity
        walker.tick(40)
    walker.velocity = (0.75, -0.25, 0.125)
    walker.tick(10)
    walker.without(70, "cmd_vel")
    walker.tick(10)
    walker.changed(3, _nan_command)
    walker.tick(10)
    walker.velocity = (0.5, 0.0, 0.25)


def _outages(walker: Walker) -> None:
    """Miss sensors for so long that the robot holds, and goes on."""
    walker.to_run()
    walker.tick(60)
    for name in ("joint_states", "imu/data"):
        for count in (1, 2, 3, 5):
            walker.without(count, name)
            walker.tick(8)
    walker.without(4, "joint_states", "imu/data")
    walker.tick(20)


def _stamps(walker: Walker) -> None:
    """Get stamps that repeat, are old, or come from a clock that was set back."""
    walker.to_run()
    walker.tick(60)
    walker.late(3, "imu/data", PERIOD_NS)
    walker.tick(10)
    walker.late(6, "imu/data", 3 * PERIOD_NS)
    walker.tick(10)
    walker.late(8, "joint_states", 5 * PERIOD_NS + 1)
    walker.tick(10)
    walker.late(4, "joint_states", 30_000_000)
    walker.tick(10)
    walker.late(30, "imu/data", 5_000_000_000)
    walker.tick(10)
    walker.late(10, "joint_states", -300_000_000)
    walker.tick(40)


def _names(walker: Walker) -> None:
    """Get joints in another order, more of them, one twice, one too few."""
    walker.to_run()
    walker.tick(55)
    for change in (_reversed, _more, _twice, _fewer):
        walker.changed(2, change)
        walker.tick(10)


def _jumps(walker: Walker) -> None:
    """Shake the joints until steps, efforts and positions are bounded, then until it is a fault."""
    walker.to_run()
    walker.tick(60)
    for disturbance, count in ((0.02, 12), (0.05, 12), (0.1, 6), (0.2, 5), (0.4, 4), (0.6, 14)):
        walker.disturbance = disturbance
        walker.tick(count)
        walker.disturbance = 0.002
        walker.tick(10)


def _nan(walker: Walker) -> None:
    """Sense what is no number."""
    walker.to_run()
    walker.tick(20)
    walker.changed(1, _nan_velocity)
    walker.tick(5)
    walker.ask("run")
    walker.ask("stand")


def _tilt(walker: Walker) -> None:
    """Fall over."""
    walker.to_run()
    walker.tick(60)
    for part in range(12):
        walker.tilt = (0.0, part / 16.0)
        walker.tick()
    walker.ask("stand")
    walker.tilt = (0.0, 0.0)
    walker.tick(3)


def _blind(walker: Walker) -> None:
    """Miss the joints until holding is over."""
    walker.to_run()
    walker.tick(20)
    walker.without(12, "joint_states")
    walker.tick(5)


def _model(walker: Walker) -> None:
    """Run a model that fails once, then one that answers what is no number."""
    walker.to_run()
    walker.tick(60)
    for fault, count in (("raise", 2), ("nan", 1)):
        walker.fault_file.write_text(fault, "utf-8")
        walker.tick(count)
        walker.fault_file.unlink()
        walker.tick(10)


def _estop(walker: Walker) -> None:
    """Press the e-stop in each mode."""
    walker.to_run()
    walker.tick(20)
    walker.ask("estop")
    walker.tick(3)
    for name in ("stand", "run", "damp"):
        walker.ask(name)
    walker.ask("reset")
    walker.tick(2)
    walker.ask("stand")
    walker.tick(10)
    walker.press_estop()
    walker.tick(3)


def _load(walker: Walker) -> None:
    """Load another policy: not while it runs, not one that is missing, then one that fits."""
    walker.to_run()
    walker.tick(10)
    walker.load(walker.other)
    walker.tick(2)
    walker.ask("damp")
    walker.tick(2)
    walker.load(walker.other.with_name("missing"))
    walker.tick(2)
    walker.ask("stand")
    walker.tick(_TO_STAND)
    walker.load(walker.other)
    walker.tick(3)
    walker.robot.record()
    walker.ask("run")
    walker.tick(60)


def _clock(walker: Walker) -> None:
    """Walk when simulated time leaps, then when it runs backwards."""
    walker.now_ns += 5 * NS_PER_S
    walker.tick(10)
    walker.to_run()
    walker.tick(10)
    walker.now_ns += PERIOD_NS
    walker.tick(10)
    walker.now_ns += -NS_PER_S
    walker.tick(10)


_RECORDED_APART = ("model", "clock")
"""These cannot be replayed bit for bit, and those before them can."""
SECTIONS: dict[str, Callable[[Walker], None]] = {
    "refusals": _refusals,
    "commands": _commands,
    "outages": _outages,
    "stamps": _stamps,
    "names": _names,
    "jumps": _jumps,
    "nan": _nan,
    "tilt": _tilt,
    "blind": _blind,
    "model": _model,
    "estop": _estop,
    "load": _load,
    "clock": _clock,
}


def _nan_command(name: str, message: Any) -> None:
    if name == "cmd_vel":
        message.linear.y = math.nan


def _nan_velocity(name: str, message: Any) -> None:
    if name == "joint_states":
        message.velocity[4] = math.nan


def _reversed(name: str, message: Any) -> None:
    if name == "joint_states":
        for values in (message.name, message.position, message.velocity):
            values.reverse()


def _more(name: str, message: Any) -> None:
    if name == "joint_states":
        message.name.insert(3, "tail")
        message.position.insert(3, 9.0)
        message.velocity.insert(3, -9.0)


def _twice(name: str, message: Any) -> None:
    if name == "joint_states":
        message.name[1] = message.name[0]


def _fewer(name: str, message: Any) -> None:
    if name == "joint_states":
        for values in (message.name, message.position, message.velocity):
            values.pop()
