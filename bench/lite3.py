# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Latency that the Lite3's driver adds between UDP and topics, and regularity of its frames.

Latencies stand beside a bare UDP echo in Python: 348 bytes there, 252 back, like a state frame and
a command frame. Gaps stand beside a Python loop that sleeps until its deadlines and sends.

`python -m bench.lite3` measures only these figures; with further arguments it is a baseline.
"""

import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from policy_msgs.msg import JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from bench.figures import Figure, Summary, summarise
from bench.lite3_host import FOLDED_RAD, BenchHost
from bench.processes import BenchError, Child, running
from lite3_driver.wire import COMMAND_BYTES, JOINT_NAMES, STATE_BYTES, damping_command
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup

_BLOCKS, _CALLS = 3, 100
_PERIOD_NS = 20_000_000
_GAPS_NS = 5_000_000_000
_PATIENCE_S = 20.0
_LOOKED_AT_NS = 1_000_000_000
"""A robot must be still for a while before it is taken."""
_ANSWER_NS = 100_000_000
_LOST_SHARE = 0.05
_ANY = ("127.0.0.1", 0)
_MARK = 2.0**-10
"""Marks are multiples of it, which float32 represents exactly."""


class Lite3Rig:
    """A driver between a host and a node, all on this machine."""

    def __init__(self, node: Node, host: BenchHost, child: Child) -> None:
        self.host = host
        self._node, self._child = node, child
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._joints: Sampled[JointState] = Sampled(
            node, SampleGroup(), JointState, "joint_states", qos.COMMAND
        )
        self._arrivals = Arrivals(node, [self._joints])
        self._commands = node.create_publisher(JointCommand, "joint_command", qos.COMMAND)
        size, zero = len(JOINT_NAMES), array("d", bytes(8 * len(JOINT_NAMES)))
        self._command = JointCommand(
            names=list(JOINT_NAMES),
            valid_for=Duration(sec=1),
            position=FOLDED_RAD.tolist(),
            velocity=zero,
            effort=array("d", zero),
            stiffness=zero,
            damping=[2.0] * size,
            effort_limit=[20.0] * size,
        )

    def take_control(self) -> None:
        """Take control as soon as the driver agrees, and start following."""
        client = self._node.create_client(Trigger, "lite3_driver/take_control")
        self._until(client.service_is_ready, "the driver")
        give_up_s = time.monotonic() + _PATIENCE_S
        taken = False
        while not taken:
            self.host.keep_up_until(time.monotonic_ns() + _LOOKED_AT_NS)
            answer = client.call_async(Trigger.Request())
            self._until(answer.done, "an answer of take_control")
            taken = answer.result().success
            if not taken and time.monotonic() > give_up_s:
                raise BenchError(answer.result().message)
        self._until(self._commands.get_subscription_count, "a listener to joint_command")
        self.publish(0.0)
        # The driver follows only its newest command; this one must not be missed.
        self.host.keep_up_until(time.monotonic_ns() + _ANSWER_NS)
        self._command.mode = JointCommand.MODE_STAND
        self._command.stiffness = [30.0] * len(JOINT_NAMES)

    def publish(self, mark: float) -> None:
        """Publish a command that the first joint's effort identifies."""
        self._command.sequence += 1
        self._command.effort[0] = mark
        self._commands.publish(self._command)

    def hears_state(self, mark: float) -> bool:
        """Wait for the JointState of the frame with this mark."""
        end_ns = time.monotonic_ns() + _ANSWER_NS
        while (left_ns := end_ns - time.monotonic_ns()) > 0:
            if self._arrivals.wait(left_ns):
                message = self._joints.take()
                if message is not None and message.velocity[0] == mark:
                    return True
        return False

    def state(self, mark: float) -> int | None:
        """Return the time from a state frame to its JointState, ns."""
        frame = self.host.frame(mark)
        began_ns = time.monotonic_ns()
        self.host.send(frame)
        return time.monotonic_ns() - began_ns if self.hears_state(mark) else None

    def command(self, mark: float) -> int | None:
        """Return the time from a JointCommand to its frame, ns."""
        began_ns = time.monotonic_ns()
        self.publish(mark)
        heard = self.host.hears_command(mark, _ANSWER_NS)
        return time.monotonic_ns() - began_ns if heard else None

    def loop(self, mark: float) -> int | None:
        """Return the time from a state frame to the command frame that answers it, ns."""
        frame = self.host.frame(mark)
        began_ns = time.monotonic_ns()
        self.host.send(frame)
        if not self.hears_state(mark):
            return None
        self.publish(mark)
        heard = self.host.hears_command(mark, _ANSWER_NS)
        return time.monotonic_ns() - began_ns if heard else None

    def gaps_us(self) -> Summary:
        """Return the intervals between command frames while commands arrive at 50 Hz."""
        self.host.stamps_ns()
        stamps_ns = list[int]()
        end_ns = time.monotonic_ns() + _GAPS_NS
        while (now_ns := time.monotonic_ns()) < end_ns:
            self.publish(0.0)
            self.host.keep_up_until(now_ns + _PERIOD_NS)
            stamps_ns += self.host.stamps_ns()
        return summarise((np.diff(stamps_ns) * 1e-3).tolist())

    def close(self) -> None:
        self._executor.shutdown()

    def _until(self, condition: Callable[[], object], what: str) -> None:
        give_up_s = time.monotonic() + _PATIENCE_S
        while not condition():
            self._child.check()
            if time.monotonic() > give_up_s:
                raise BenchError(f"waited {_PATIENCE_S:g} s for {what}")
            self.host.keep_up()
            self._executor.spin_once(timeout_sec=0.001)


@contextmanager
def _rig(command_rate_hz: float) -> Iterator[Lite3Rig]:
    """Start a driver that is in control."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("bench_lite3", context=context, enable_rosout=False)
    host = BenchHost()
    # a pause of this process must not end the measurement
    parameters = {**host.parameters, "command_rate_hz": command_rate_hz, "state_timeout_s": 0.5}
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    try:
        with (
            closing(host),
            running(["lite3_driver", "--ros-args", *words]) as child,
            closing(Lite3Rig(node, host, child)) as rig,
        ):
            rig.take_control()
            yield rig
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def _echoing() -> Iterator[Callable[[float], int | None]]:
    """Start an echo; yield a function that sends data there and back, and returns the time, ns."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(_ANY)
        client.settimeout(_PATIENCE_S)
        with running(_baseline("echo", client)):
            _, server = client.recvfrom(COMMAND_BYTES)
            request = bytes(STATE_BYTES)

            def there_and_back(_: float) -> int:
                began_ns = time.monotonic_ns()
                client.sendto(request, server)
                client.recv(COMMAND_BYTES)
                return time.monotonic_ns() - began_ns

            yield there_and_back


def echo(port: int) -> None:
    """Greet a port, then echo its datagrams until the process ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.connect((_ANY[0], port))
        reply = bytes(COMMAND_BYTES)
        server.send(reply)
        with suppress(KeyboardInterrupt):
            while server.recv(STATE_BYTES):
                server.send(reply)


def pace(port: int, rate_hz: float) -> None:
    """Send frames at a rate, while gaps are measured."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((_ANY[0], port))
        frame = damping_command(1.0)
        deadline_s = time.monotonic()
        for _ in range(round(_GAPS_NS * 1e-9 * rate_hz)):
            sender.send(frame)
            deadline_s += 1.0 / rate_hz
            time.sleep(max(0.0, deadline_s - time.monotonic()))


def measure() -> list[Figure]:
    """Measure latencies at 500 Hz, and gaps there and at 1000 Hz."""
    with _echoing() as answered, _rig(500.0) as rig:
        ways = {
            "lite3_state_added_us": rig.state,
            "lite3_command_added_us": rig.command,
            "lite3_loop_added_us": rig.loop,
            "echo": answered,
        }
        took: dict[str, list[Summary]] = {name: [] for name in ways}
        for _ in range(_BLOCKS):
            for name, way in ways.items():
                took[name].append(_timed(name, rig, way))
        gaps = {500.0: rig.gaps_us()}
    with _rig(1000.0) as rig:
        gaps[1000.0] = rig.gaps_us()
    baseline = took.pop("echo")
    return [
        *(
            Figure(name=name, unit="us", ours=ours, baseline=baseline)
            for name, ours in took.items()
        ),
        *(
            Figure(
                name=f"lite3_gap_{rate_hz:g}_us",
                unit="us",
                ours=[ours],
                baseline=[_paced_us(rate_hz)],
            )
            for rate_hz, ours in gaps.items()
        ),
    ]


def _timed(name: str, rig: Lite3Rig, way: Callable[[float], int | None]) -> Summary:
    """Call one way at 50 Hz, with state frames in between; return the times, us."""
    took_us, lost = [], 0
    deadline_ns = time.monotonic_ns()
    for call in range(_CALLS):
        took_ns = way((call + 1) * _MARK)
        if took_ns is None:
            lost += 1
        else:
            took_us.append(took_ns * 1e-3)
        rig.publish(0.0)
        # Never catch up: state frames have to go on, too.
        deadline_ns = max(deadline_ns, time.monotonic_ns() - _PERIOD_NS // 2) + _PERIOD_NS
        rig.host.keep_up_until(deadline_ns)
    if lost > _LOST_SHARE * _CALLS:
        raise BenchError(f"{name}: {lost} of {_CALLS} messages did not come through")
    return summarise(took_us)


def _paced_us(rate_hz: float) -> Summary:
    """Return the times between the frames of the bare loop."""
    with (
        closing(BenchHost()) as host,
        running(_baseline("pace", host.socket, str(rate_hz))) as loop,
    ):
        stamps_ns, wanted = list[int](), round(_GAPS_NS * 1e-9 * rate_hz)
        give_up_s = time.monotonic() + _GAPS_NS * 1e-9 + _PATIENCE_S
        while len(stamps_ns) < wanted and time.monotonic() < give_up_s:
            time.sleep(0.01)
            stamps_ns += host.stamps_ns()
        loop.wait(_PATIENCE_S)
    return summarise((np.diff(stamps_ns) * 1e-3).tolist())


def _baseline(what: str, client: socket.socket, *words: str) -> list[str]:
    port: int = client.getsockname()[1]
    return [sys.executable, "-m", "bench.lite3", what, str(port), *words]


def _main(words: list[str]) -> None:
    what, port, *rest = words
    if what == "echo":
        echo(int(port))
    else:
        pace(int(port), *map(float, rest))


if __name__ == "__main__":
    _main(sys.argv[1:])
