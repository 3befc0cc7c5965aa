# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The motion host of a simulated Lite3, with the UDP interface of the real one, in real time.

It receives on `host_address`:`host_port`, sends state frames to `state_address`:`state_port` from
the start, and follows the sender in control; `robot_sim.lite3_host` lists the rules. To a driver it
looks like a real robot. The log and the events contain the first ignored datagram of each kind.

Subscribes: `cmd_vel` (geometry_msgs/Twist), for recording only. Two services (std_srvs/Trigger)
move the robot as a person would: `~/turn_by_hand` turns it by 90 degrees within 2 s, to check the
unit of the angular velocity; `~/set_upright` sets it upright in place, in its start pose.
"""

import math
import socket
from collections.abc import Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from policy_inference.nodes.lifecycle import PeerGuard
from robot_sim.driven import NS_PER_S
from robot_sim.emulator import Emulator
from robot_sim.errors import SimError
from robot_sim.lite3_host import Address, Lite3Fault, Lite3FaultPlan, MotionHost
from robot_sim.nodes.parameters import LITE3_EMULATOR, declared, set_faults
from robot_sim.nodes.robot_node import record_velocity, run_node
from robot_sim.world import World

_TURN_RAD, _TURN_S = math.pi / 2.0, 2.0
_MOST = 2048
_AT_ONCE = 64
"""Maximum number of datagrams handled per step, so that a flood does not stop simulated time."""


class Lite3Emulator(PeerGuard, Node, Emulator):
    """A motion host and its socket. The thread that calls `run` steps the robot."""

    host: MotionHost

    def __init__(self) -> None:
        Node.__init__(self, "lite3_emulator", automatically_declare_parameters_from_overrides=True)
        get = declared(self, LITE3_EMULATOR)
        world = World(friction=get("friction"), seed=get("seed"), pose=get("pose"))
        self._frame_steps = world.whole_steps(
            round(NS_PER_S / get("state_rate_hz")), "state_rate_hz"
        )
        Emulator.__init__(
            self,
            MotionHost(
                world,
                watchdog_s=get("watchdog_s"),
                angular_velocity_unit=get("angular_velocity_unit"),
            ),
            lambda texts, now_ns: Lite3FaultPlan(
                Lite3Fault.parse_all(texts, now_ns=now_ns), seed=get("seed")
            ),
            log=self.get_logger(),
            faults=get("faults"),
            latency_s=get("latency_s"),
            period_s=get("period_s"),
            duration_s=get("duration_s"),
            event_file=get("event_file"),
            trace_file=get("trace_file"),
        )
        self._sockets = HostSockets(
            host=(get("host_address"), get("host_port")),
            to=(get("state_address"), get("state_port")),
        )
        record_velocity(self, self.record)
        self.create_service(Trigger, "~/turn_by_hand", self._on_turn)
        self.create_service(Trigger, "~/set_upright", self._on_set_upright)
        self.add_on_set_parameters_callback(self._on_set)
        self.get_logger().info(f"a simulated Lite3: {self._sockets}")

    def destroy_node(self) -> None:
        self._sockets.close()
        self.close()
        super().destroy_node()

    def arrived(self) -> list[tuple[bytes, Address]]:
        return self._sockets.received()

    def step(self, now_ns: int) -> None:
        """Advance by one step; send new and delayed frames as modified by the faults."""
        plan, frame = self.host.plan, self.host.step()
        if self.host.world.steps % self._frame_steps:
            frame = None
        lie = forged = None
        if frame is not None:
            lie, forged = plan.foreign(frame, now_ns), plan.forged(frame, now_ns)
            frame = plan.spoil(frame, now_ns)
        for data in plan.state.carry([] if frame is None else [frame], now_ns):
            self._sockets.send(data)
        if lie is not None:
            self._sockets.send_foreign(lie)
        if forged is not None:
            self._sockets.send(forged)
        if self._sockets.trouble:
            self.get_logger().warning(self._sockets.trouble, throttle_duration_sec=5.0)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        return set_faults(parameters, LITE3_EMULATOR, self.change_faults)

    def _on_turn(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.host.controller is None
        response.message = (
            "the robot turns by 90 degrees within 2 s"
            if response.success
            else "expected a robot without a controller, found one under control; give control "
            "back first"
        )
        if response.success:
            self.ask(lambda: self.host.world.turn(_TURN_RAD, _TURN_S))
        return response

    def _on_set_upright(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.ask(self.host.world.set_upright)
        response.success, response.message = True, "put down before the next step"
        return response


def main(args: Sequence[str] | None = None) -> None:
    run_node("lite3_emulator", Lite3Emulator, LITE3_EMULATOR, __doc__, args)


class HostSockets:
    """The UDP socket of the emulated host, and a second one for a foreign sender.

    Attributes:
        trouble: Reason why the latest frame could not be sent; empty if it was sent.
    """

    def __init__(self, *, host: Address, to: Address) -> None:
        """Bind to `host`, and send to `to`.

        Args:
            host: Address and port; port 0 chooses a free one.
            to: Address and port of the driver.
        """
        self.trouble = ""
        self._to = to
        self._host = _bound("host_address, host_port", host)
        self._foreign = _bound("host_address", (host[0], 0))

    def __str__(self) -> str:
        return "listens on {}:{}, sends to {}:{}".format(*self._host.getsockname(), *self._to)

    def received(self) -> list[tuple[bytes, Address]]:
        arrived = []
        for _ in range(_AT_ONCE):
            try:
                arrived.append(self._host.recvfrom(_MOST))
            except BlockingIOError:
                break
        return arrived

    def send(self, data: bytes) -> None:
        """Send a datagram to the driver; drop it if sending fails."""
        self._send(self._host, data)

    def send_foreign(self, data: bytes) -> None:
        """Send a datagram to the driver from the foreign address."""
        self._send(self._foreign, data)

    def close(self) -> None:
        self._host.close()
        self._foreign.close()

    def _send(self, sender: socket.socket, data: bytes) -> None:
        try:
            sender.sendto(data, self._to)
            self.trouble = ""
        except OSError as error:
            self.trouble = "no state frame to {}:{}: {}".format(*self._to, error.strerror)


def _bound(name: str, address: Address) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    try:
        made.bind(address)
    except (OSError, OverflowError) as error:
        made.close()
        raise SimError(
            f"{name}: expected a free UDP port on an address of this machine, found "
            f"{address[0]}:{address[1]} ({error}); end the program that uses it, or choose "
            "another port"
        ) from None
    return made
