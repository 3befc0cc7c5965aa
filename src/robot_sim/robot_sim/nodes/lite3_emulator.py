# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated Lite3 behind the UDP interface of the real one, in real time: its motion host.

It receives on `host_address`:`host_port`, sends state frames to `state_address`:`state_port` from
the start, and follows the sender that has control; `robot_sim.lite3_host` has the rules. To a
driver it looks like a real robot. It counts datagrams without effect: the log and the events have
the first one of each sort, and the log has the counts every 10 s while they grow.

Subscribes: `cmd_vel` (geometry_msgs/Twist), which is only recorded.
The service `~/turn_by_hand` (std_srvs/Trigger) turns the robot by 90 degrees within 2 s, as a
person does to check the unit of the angular velocity.
"""

import json
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.host_faults import HostFault, HostFaultPlan
from robot_sim.lite3_host import Address, HostEvent, MotionHost
from robot_sim.nodes.parameters import LITE3_EMULATOR, declared, set_faults, whole_steps
from robot_sim.nodes.robot_node import RealTimePacer, WalkRecord, run_node
from robot_sim.world import World

_TURN_RAD, _TURN_S = math.pi / 2.0, 2.0
_LOG_IGNORED_S = 10.0
_MOST = 2048
_AT_ONCE = 64
"""Datagrams taken per step: a flood does not stop the robot's time."""


class Lite3Emulator(Node):
    """A motion host on its socket. The thread of `run` moves the robot."""

    def __init__(self) -> None:
        """Read the parameters, put the robot on the floor and listen.

        Raises:
            SimError: A parameter does not fit, or the port is in use.
        """
        super().__init__("lite3_emulator")
        self.stopped = False
        self._get = declared(self, LITE3_EMULATOR)
        world = World(
            friction=self._get("friction"), seed=self._get("seed"), pose=self._get("pose")
        )
        world.latency_ns = round(self._get("latency_s") * NS_PER_S)
        self._frame_steps = whole_steps("state_rate_hz", 1.0 / self._get("state_rate_hz"), world)
        self._row_steps = whole_steps("period_s", self._get("period_s"), world)
        self._log_steps = round(_LOG_IGNORED_S * world.steps_per_s)
        self._ignored = 0
        self._ends_ns = round(self._get("duration_s") * NS_PER_S) or math.inf
        self.plan = self._planned(self._get("faults"), 0)
        self.host = MotionHost(
            world,
            watchdog_s=self._get("watchdog_s"),
            plan=self.plan.robot,
            angular_velocity_unit=self._get("angular_velocity_unit"),
            on_event=self._on_event,
        )
        self._sockets = HostSockets(
            host=(self._get("host_address"), self._get("host_port")),
            to=(self._get("state_address"), self._get("state_port")),
            foreign_address=self._get("foreign_address"),
        )
        self._events = _opened(self._get("event_file"))
        self._record = WalkRecord(self, self._get("trace_file"))
        # What other threads ask for is done between two steps.
        self._asked: deque[Callable[[], None]] = deque()
        self.create_service(Trigger, "~/turn_by_hand", self._on_turn)
        self.add_on_set_parameters_callback(self._on_set)
        self.get_logger().info(f"a simulated Lite3: {self._sockets}")

    def run(self) -> None:
        """Let the robot live until `stop` or until the duration is over."""
        clock, host, world = RealTimePacer(self.get_logger()), self.host, self.host.world
        while not self.stopped and world.time_ns < self._ends_ns:
            while self._asked:
                self._asked.popleft()()
            now_ns = world.time_ns
            self.plan.act(host)
            for data, source in self.plan.command.carry(self._sockets.received(), now_ns):
                host.receive(data, source)
            if world.steps % self._row_steps == 0:
                self._record.target = host.target
                self._record.append(world.sense())
            if world.steps % self._log_steps == 0:
                self._log_ignored()
            frame = host.step()
            due = frame is not None and world.steps % self._frame_steps == 0
            self._send(frame if due else None, now_ns)
            clock.wait(world.time_ns)
        self._log_ignored()

    def stop(self) -> None:
        """Let `run` return soon; may be called from a signal handler and from any thread."""
        self.stopped = True

    def save(self) -> None:
        """Write the trace, if one was asked for and there is anything in it."""
        self._record.save()

    def destroy_node(self) -> None:
        """Give the port back and take the node off the graph."""
        self._sockets.close()
        if self._events is not None:
            self._events.close()
        super().destroy_node()

    def _send(self, frame: bytes | None, now_ns: int) -> None:
        """Send a frame, if there is one, and delayed frames, as the faults change them."""
        lie = forged = None
        if frame is not None:
            lie, forged = self.plan.foreign(frame, now_ns), self.plan.forged(frame, now_ns)
            frame = self.plan.spoil(frame, now_ns)
        for data in self.plan.state.carry([] if frame is None else [frame], now_ns):
            self._sockets.send(data)
        if lie is not None:
            self._sockets.send_foreign(lie)
        if forged is not None:
            self._sockets.send(forged)
        if self._sockets.trouble:
            self.get_logger().warning(self._sockets.trouble, throttle_duration_sec=5.0)

    def _log_ignored(self) -> None:
        """Log how many datagrams changed nothing, if that has grown."""
        counts = self.host.ignored
        if sum(counts.values()) > self._ignored:
            self._ignored = sum(counts.values())
            self.get_logger().warning(
                "datagrams ignored so far: "
                + ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
            )

    def _planned(self, texts: Sequence[str], now_ns: int) -> HostFaultPlan:
        return HostFaultPlan(HostFault.parse_all(texts, now_ns=now_ns), seed=self._get("seed"))

    def _on_event(self, event: HostEvent) -> None:
        self.get_logger().info(f"{event.what.replace('_', ' ')}: {event.who or 'by itself'}")
        if self._events is not None:
            line = {
                "time_s": event.time_ns / NS_PER_S,
                "unix_ns": time.time_ns(),
                "event": event.what,
                "who": event.who,
            }
            self._events.write(json.dumps(line) + "\n")
            self._events.flush()

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Switch faults; everything else is read at the start only."""
        return set_faults(parameters, LITE3_EMULATOR, self._change_faults)

    def _change_faults(self, texts: Sequence[str]) -> None:
        plan = self._planned(texts, self.host.world.time_ns)

        def change() -> None:
            self.plan.end(self.host)
            self.plan, self.host.plan = plan, plan.robot
            self.host.world.motors_on()
            self.host.world.latency_ns = round(self._get("latency_s") * NS_PER_S)
            self._on_event(
                HostEvent(
                    time_ns=self.host.world.time_ns,
                    what="faults",
                    who=", ".join(text for text in texts if text.strip()) or "none",
                )
            )

        self._asked.append(change)

    def _on_turn(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.host.controller is None
        response.message = (
            "it is being turned by 90 degrees, within 2 s"
            if response.success
            else "expected a robot without a controller, found one under control; give control "
            "back first"
        )
        if response.success:
            self._asked.append(lambda: self.host.world.turn(_TURN_RAD, _TURN_S))
        return response


def _opened(path: str) -> TextIO | None:
    """Return a file to append to, if there is a path."""
    try:
        return Path(path).open("a", encoding="utf-8") if path else None
    except OSError as error:
        raise SimError(f"event_file: expected a file that can be written: {error}") from None


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of `lite3_emulator`; it ends with status 2 where a parameter is wrong."""
    run_node("lite3_emulator", Lite3Emulator, LITE3_EMULATOR, __doc__, args)


class HostSockets:
    """The UDP socket of the emulated host, and a second one of a foreign sender.

    Attributes:
        trouble: Why the latest frame could not be sent; empty if it was sent.
    """

    def __init__(self, *, host: Address, to: Address, foreign_address: str) -> None:
        """Receive at `host`, send to `to`.

        Args:
            host: Address and port; port 0 chooses a free one.
            to: Address and port of the driver.
            foreign_address: Address of foreign frames; empty: the host's, with another port.

        Raises:
            SimError: The address does not belong to this machine, or the port is in use.
        """
        self.trouble = ""
        self._to = to
        self._host = _bound("host_address, host_port", host)
        try:
            self._foreign = _bound("foreign_address", (foreign_address or host[0], 0))
        except SimError:
            self._host.close()
            raise

    def __str__(self) -> str:
        """Return the addresses of both sides."""
        return "listens on {}:{}, sends to {}:{}".format(*self._host.getsockname(), *self._to)

    def received(self) -> list[tuple[bytes, Address]]:
        """Return the datagrams that have arrived, each with its sender."""
        arrived = []
        for _ in range(_AT_ONCE):
            try:
                arrived.append(self._host.recvfrom(_MOST))
            except BlockingIOError:
                break
        return arrived

    def send(self, data: bytes) -> None:
        """Send a datagram to the driver; one that cannot be sent is lost."""
        self._send(self._host, data)

    def send_foreign(self, data: bytes) -> None:
        """Send a datagram to the driver from the foreign address."""
        self._send(self._foreign, data)

    def close(self) -> None:
        """Release the ports."""
        self._host.close()
        self._foreign.close()

    def _send(self, sender: socket.socket, data: bytes) -> None:
        try:
            sender.sendto(data, self._to)
            self.trouble = ""
        except OSError as error:
            self.trouble = "no state frame to {}:{}: {}".format(*self._to, error.strerror)


def _bound(name: str, address: Address) -> socket.socket:
    """Return a UDP socket that does not block."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    try:
        made.bind(address)
    except (OSError, OverflowError) as error:
        made.close()
        raise SimError(
            f"{name}: expected a free UDP port at an address of this machine, got "
            f"{address[0]}:{address[1]} ({error}); end the program that uses it, or choose "
            "another port"
        ) from None
    return made
