# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The process that communicates with the robot: `python -m robot_driver.link_process`.

LinkSupervisor starts it as a WorkerProcess. It is small, single-threaded and free of ROS, so
nothing delays a command frame. When the node closes its end of the channel, or dies, this process
gives control back and exits.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from policy_inference.machine.scheduling import RealTime
from robot_driver import channel
from robot_driver.interfaces import (
    NS_PER_S,
    DriverError,
    DriverPhase,
    DriverSettings,
    DriveState,
    WireCommand,
)
from robot_driver.link import Link
from robot_driver.robot import RobotInterface, RobotTransport

MODULE = "robot_driver.link_process"
SettingsT = TypeVar("SettingsT", bound=DriverSettings)
_REPORT_NS = NS_PER_S // 5


def process_arguments(
    robot: RobotInterface[Any], node: socket.socket, descriptors: Sequence[int]
) -> list[str]:
    """Return the arguments for starting this process.

    Args:
        robot: Interface of the robot; the process creates another with the same settings.
        node: The process's end of the channel to the node.
        descriptors: Descriptors of the transport.
    """
    kind = type(robot)
    return [
        f"{kind.__module__}:{kind.__qualname__}",
        json.dumps(asdict(robot.settings)),
        *map(str, [node.fileno(), *descriptors]),
    ]


class LinkLoop:
    """Loop that passes frames between the robot, the state machine and the node."""

    def __init__(
        self,
        robot: RobotInterface[Any],
        node: socket.socket,
        transport: RobotTransport,
        refused: Sequence[str] = (),
    ) -> None:
        node.setblocking(False)
        self._robot, self._node, self._transport = robot, node, transport
        self._refused = tuple(refused)
        self._link: Link[Any] = Link(robot, time.monotonic_ns())
        self._not_read = 0
        self._node_ended = False
        self._forwarded = -1
        self._reported: tuple[DriverPhase, str] | None = None
        self._report_ns = 0

    def run(self) -> None:
        """Run until the node has exited and control has been given back."""
        link, watched = self._link, self._transport.watched()
        self._report(time.monotonic_ns())
        while not (self._node_ended and link.phase is DriverPhase.LISTENING):
            listened = [*watched, *([] if self._node_ended else [self._node.fileno()])]
            left_ns = self._due_ns - time.monotonic_ns()
            ready, _, _ = select.select(listened, [], [], max(0, left_ns) / NS_PER_S)
            if self._node.fileno() in ready:
                self._hear_node()
            self._hear_robot(ready)
            self._send(link.step(time.monotonic_ns()))
            self._report(time.monotonic_ns())

    @property
    def _due_ns(self) -> int:
        """Time at which the robot's next frame or the node's next report is due."""
        return min(self._link.next_ns, self._report_ns)

    def _hear_robot(self, ready: Collection[int]) -> None:
        """Process the robot's datagrams; in a flood, stop when a frame or report is due."""
        try:
            for data, source, received_ns in self._transport.receive(ready):
                now_ns = time.monotonic_ns()
                state = self._link.receive(data, source, now_ns)
                if state is not None:
                    self._forward(state, data, received_ns)
                if now_ns >= self._due_ns:
                    break
        except DriverError as error:
            self._link.failed(str(error), time.monotonic_ns())

    def _forward(self, state: DriveState, data: bytes, received_ns: int) -> None:
        """Forward frames to the node at `joint_state_rate_hz`, timed by the robot's tick."""
        turn = int(state.tick * self._robot.settings.joint_state_rate_hz) // 1000
        if turn != self._forwarded:
            self._forwarded = turn
            self._tell_node(channel.pack_frame(data, received_ns))

    def _hear_node(self) -> None:
        try:
            data = self._node.recv(channel.LARGEST_BYTES)
        except ConnectionError:
            data = b""
        now_ns = time.monotonic_ns()
        if not data:
            self._node_ended = True
            self._link.release("the driver node has exited", now_ns)
            return
        request = channel.read_request(data)
        if isinstance(request, WireCommand):
            self._link.follow(request, now_ns)
        elif isinstance(request, channel.TakeRequest):
            self._link.take(request.obstacles + self._transport.problems(), now_ns)
        elif isinstance(request, channel.DampRequest):
            self._link.damp(request.reason, now_ns)
        else:
            self._link.release("requested", now_ns)

    def _send(self, frames: list[bytes]) -> None:
        for data in frames:
            try:
                self._transport.send(data)
            except DriverError as error:
                self._link.failed(str(error), time.monotonic_ns())
        if frames:
            self._link.sent(time.monotonic_ns())

    def _report(self, now_ns: int) -> None:
        """Report to the node periodically, on every change, and with each answer."""
        link = self._link
        status = link.phase, link.reason
        if status == self._reported and now_ns < self._report_ns and not link.answers_wait:
            return
        self._reported, self._report_ns = status, now_ns + _REPORT_NS
        report = link.report(now_ns)
        obstacles = report.obstacles
        if link.phase is DriverPhase.LISTENING:
            obstacles += self._transport.problems()
        counts = {**self._transport.counts, "not_read_by_node": self._not_read}
        report = replace(
            report,
            obstacles=obstacles,
            refused=self._refused,
            details={**report.details, **counts},
        )
        if self._tell_node(channel.pack_report(report)):
            link.answer_delivered()

    def _tell_node(self, data: bytes) -> bool:
        """Send data to the node; return False, and drop the data, if the channel is full."""
        try:
            self._node.send(data)
        except BlockingIOError:
            self._not_read += 1
            return False
        except ConnectionError:
            pass  # the next read finds that the channel is closed
        return True


def main() -> None:
    end_with_channel()
    kind, settings_text, node, *descriptors = sys.argv[1:]
    module, name = kind.split(":")
    robot_type: type[RobotInterface[Any]] = getattr(importlib.import_module(module), name)
    settings = settings_of_json(robot_type.settings_type, json.loads(settings_text))
    robot = robot_type(settings)
    transport = robot.adopt([int(number) for number in descriptors])
    refused = settings.realtime.apply(threading.get_native_id(), [os.getpid()])
    loop = LinkLoop(robot, socket.socket(fileno=int(node)), transport, refused)
    # All objects so far live on, and the loop creates no cycles: avoid garbage collection pauses.
    gc.freeze()
    gc.disable()
    loop.run()
    transport.close()
    # Exit without clean-up, so that the process does not keep holding the robot's port: Fast DDS
    # has been seen to spin forever at exit.
    os._exit(0)


def end_with_channel() -> None:
    """Ignore all signals that request an exit, including the one sent when the parent dies.

    The process must give control back first; the closed channel is the signal to exit.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
        signal.signal(number, signal.SIG_IGN)


def settings_of_json(kind: type[SettingsT], fields: dict[str, Any]) -> SettingsT:
    realtime = fields.pop("realtime")
    return kind(**fields, realtime=RealTime(**{**realtime, "cpus": tuple(realtime["cpus"])}))


if __name__ == "__main__":
    main()
