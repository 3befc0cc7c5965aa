# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real driver of a Lite3, but without processes, sockets or rclpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from policy_msgs.msg import JointCommand

from lite3_driver.figures import FIGURES, Lite3Settings
from lite3_driver.robot import Lite3
from lite3_driver.wire import JOINT_NAMES, Lite3State
from policy_core.errors import RobotError
from policy_inference.nodes.sampling import decoder_for
from robot_driver.interfaces import (
    F64,
    MODE_HOLD_MEASURED,
    POSITION,
    STIFFNESS,
    DriverPhase,
    DriverReport,
    WireCommand,
)
from robot_driver.link import Link
from robot_driver.nodes.commands import CommandReader
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, DriverNode
from robot_driver.nodes.sensors import (
    SensorTopics,
    imu_topic,
    joint_states_topic,
    quat_from_rpy,
)
from robot_driver.testing.invariants import LinkWatch
from tools.chaos.node import VirtualLogger, VirtualNode
from tools.chaos.timeline import NS_PER_S, VirtualClock
from tools.chaos.watch import VirtualDriverWatch

HOST = ("10.0.0.1", 43893)
"""The robot's motion host."""
FOLD_S = 0.6
_HELD_STIFFNESS = 40.0
_REPORT_NS = NS_PER_S // 5


class SlowLite3(Lite3):
    """A Lite3 whose host sends fewer frames, which makes it faster to simulate."""

    figures = replace(FIGURES, state_rate_hz=(25.0, 5000.0))

    def __init__(self, settings: Lite3Settings) -> None:
        super().__init__(settings)
        self.watch = LinkWatch(self)

    def encode(self, values: F64) -> bytes:
        self.watch.encoded(values)
        return super().encode(values)


class HoldingLite3(SlowLite3):
    """A SlowLite3 that comes to rest by holding its pose, as arms do."""

    figures = replace(SlowLite3.figures, rest_mode=MODE_HOLD_MEASURED)

    def rest(self, state: Lite3State | None) -> F64:
        values = super().rest(state)
        if state is not None:
            values[:, POSITION], values[:, STIFFNESS] = state.joint_pos, _HELD_STIFFNESS
        return values


class VirtualLink:
    """Replaces LinkSupervisor: passes requests to the link process's state machine directly.

    Attributes:
        link: The state machine.
        follow: Receives commands from the node; each other request has its own method.
    """

    def __init__(
        self, robot: SlowLite3, clock: VirtualClock, on_report: Callable[[DriverReport], object]
    ) -> None:
        self.link, self._watch = Link(robot, clock.monotonic_ns()), robot.watch
        self._clock, self._on_report = clock, on_report
        self._reported: tuple[DriverPhase, str] | None = None
        self._report_ns = 0

    def follow(self, command: WireCommand) -> None:
        self._watch.commanded(command)
        self.link.follow(command, self._clock.monotonic_ns())

    def take(self, other_obstacles: Any = ()) -> bool:
        self.link.take(tuple(other_obstacles), self._clock.monotonic_ns())
        return True

    def release(self) -> bool:
        self.link.release("requested", self._clock.monotonic_ns())
        return True

    def damp(self, reason: str) -> bool:
        self._watch.damped()
        self.link.damp(reason, self._clock.monotonic_ns())
        return True

    def report(self) -> None:
        """Report as the link process does: periodically, at every change, and with each answer."""
        link, now_ns = self.link, self._clock.monotonic_ns()
        while True:
            status = link.phase, link.reason
            waits = link.answers_wait
            if status == self._reported and now_ns < self._report_ns and not waits:
                return
            self._reported, self._report_ns = status, now_ns + _REPORT_NS
            self._on_report(link.report(now_ns))
            link.answer_delivered()


class ChaosDriver(DriverNode, VirtualNode):
    """The driver node, and the loop of its link process.

    Attributes:
        link: The state machine.
        gate: Passes on commands unless the e-stop is pressed.
        waiting: Functions that continue pending requests.
    """

    def __init__(
        self,
        clock: VirtualClock,
        send: Callable[[str, Any], object],
        frames: Callable[[bytes], object],
        rate_hz: float,
        wire_watch: VirtualDriverWatch,
        log: Callable[[bytes], object],
        kind: type[SlowLite3],
    ) -> None:
        """Start the node.

        Args:
            clock: Clock of the driver's computer.
            send: Passes published messages (topic, message) to the network.
            frames: Passes a datagram to the robot.
            rate_hz: Rate of commands and states.
            wire_watch: Watches what the driver receives and sends.
            log: Receives the driver's log messages.
            kind: The robot's interface to the driver.
        """
        self.send, self._clock, self._frames, self._seen = send, clock, frames, wire_watch
        self._virtual_logger = VirtualLogger(log)
        self.waiting = list[Callable[[], bool]]()
        super().__init__("lite3_driver", kind, COMMON_PARAMETERS)
        settings = Lite3Settings(
            host_address=HOST[0],
            angular_velocity_checked=True,
            fold_s=FOLD_S,
            command_rate_hz=rate_hz,
            joint_state_rate_hz=rate_hz,
        )
        if kind is HoldingLite3:
            settings = replace(settings, obeyed_torque_nm=0.0)  # a pose is not held without torque
        robot = kind(settings)
        self._watch, self._figures = robot.watch, robot.figures
        self._watch.checked = wire_watch.checked
        self._virtual = VirtualLink(robot, clock, self._on_report)
        link: Any = self._virtual
        self._link, self.link = link, self._virtual.link
        self._reader = CommandReader(JOINT_NAMES)
        self._decode = decoder_for(JointCommand)
        imu = imu_topic(lambda state: quat_from_rpy(state.rpy))
        topics = [joint_states_topic(JOINT_NAMES), imu]
        self._sensors = SensorTopics(
            self, topics, {"joint_state_rate_hz": rate_hz, "imu_rate_hz": rate_hz}
        )
        self._commands: Any = SimpleNamespace(fit_problem=str, senders_problem=str)
        self._estop_topic: Any = SimpleNamespace(problem="")
        self._status: Any = SimpleNamespace(
            phase=DriverPhase.LISTENING, update=self._tell, publish=lambda: None
        )
        for name, handler in (("damp", self._on_damp), ("reset", self._on_reset)):
            self.create_service(_TRIGGER, f"~/{name}", handler)
        self.gate = self._gate
        self.gate.connect(link)
        self.running = True

    def get_logger(self) -> Any:
        return self._virtual_logger

    def _tell(self, report: DriverReport) -> None:
        changed = report.phase is not self._status.phase
        self._status.phase = report.phase
        status = SimpleNamespace(
            state=int(report.phase), reason=report.reason, temperature_c=report.temperature_c
        )
        self.send("status", (status, changed))

    def hear_robot(self, data: bytes) -> None:
        """Receive a datagram from the robot."""
        state = self.link.receive(data, HOST, self._clock.monotonic_ns())
        if state is not None:
            self._sensors.publish(state, self._clock.time_ns())
        self.turn()

    def hear_command(self, data: bytes) -> None:
        """Receive a JointCommand, as the thread of CommandTopic does."""
        try:
            command = self._reader.read(self._decode(data), self._clock.monotonic_ns())
        except RobotError:
            return
        self._gate.follow(command)
        self.turn()

    def turn(self) -> None:
        """Send what is due, and report."""
        out = self.link.step(self._clock.monotonic_ns())
        for data in out:
            self._frames(data)
        if out:
            self.link.sent(self._clock.monotonic_ns())
        for name, found in self._watch.see(self.link, self._clock.monotonic_ns()):
            self._seen.require(name, False, found)
        self._virtual.report()
        waiting, self.waiting = self.waiting, []
        self.waiting += [each for each in waiting if each()]


_TRIGGER: Any = SimpleNamespace(Response=lambda: SimpleNamespace(success=False, message=""))
