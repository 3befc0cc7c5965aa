# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The process that owns the sockets: `python -m lite3_driver.link_process`, started by HostLink.

It is small and has one thread, so that nothing that ROS does delays a command frame. It ends when
the node closes its end of the channel, or dies: not before control has been given back.
"""

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lite3_driver import channel
from lite3_driver.interfaces import Command, Phase, Settings
from lite3_driver.link import Link
from lite3_driver.meters import NS_PER_S
from lite3_driver.sockets import error_text, host_of, route_problems, taken_refusal
from lite3_driver.wire import STATE_BYTES, State
from policy_inference.machine.scheduling import RealTime

_SO_RXQ_OVFL = 40
"""Linux's asm-generic/socket.h; the module `socket` does not name it."""
_REPORT_NS = NS_PER_S // 5
_AT_ONCE = 8
_LARGEST_DATAGRAM_BYTES = 4096
_DROPPED = struct.Struct("=I")


class Loop:
    """Carries datagrams between the host, the state machine and the node."""

    def __init__(self, settings: Settings, node: socket.socket, receiver: socket.socket,
                 sender: socket.socket, refused: Sequence[str] = ()) -> None:
        """Take sockets that are open, and what the machine refused this process."""
        self._settings, self._host = settings, host_of(settings)
        self._refused = tuple(refused)
        self._node, self._receiver, self._sender = node, receiver, sender
        for each in (node, receiver, sender):
            each.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        self._link = Link(settings, time.monotonic_ns())
        self._counts = {"dropped": 0, "not_read_by_node": 0}
        self._node_ended = False
        self._forwarded = -1
        self._reported: tuple[Phase, str] | None = None
        self._report_ns = 0

    def run(self) -> None:
        """Work until the node has ended and control has been given back."""
        link = self._link
        self._report(time.monotonic_ns())
        while not (self._node_ended and link.phase is Phase.LISTENING):
            listened = [self._receiver, self._sender]
            if not self._node_ended:
                listened.append(self._node)
            due_ns = min(link.next_ns, self._report_ns) - time.monotonic_ns()
            ready, _, _ = select.select(listened, [], [], max(0, due_ns) / NS_PER_S)
            if self._node in ready:
                self._hear_node()
            if self._receiver in ready:
                self._hear_host()
            if self._sender in ready:
                self._hear_refusal()
            self._send(link.step(time.monotonic_ns()))
            self._report(time.monotonic_ns())

    def _hear_host(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, source = self._receiver.recvmsg(
                    _LARGEST_DATAGRAM_BYTES, socket.CMSG_SPACE(_DROPPED.size))
            except BlockingIOError:
                return
            receipt_ns = time.time_ns()
            for _, kind, content in ancillary:
                if kind == _SO_RXQ_OVFL:
                    self._counts["dropped"] = _DROPPED.unpack(content)[0]
            state = self._link.receive(data, source, time.monotonic_ns())
            if state is not None:
                self._forward(state, data, receipt_ns)

    def _forward(self, state: State, data: bytes, receipt_ns: int) -> None:
        """Hand the node as many of the frames, one per ms, as it asked for."""
        turn = int(state.tick * self._settings.joint_state_rate_hz) // 1000
        if turn != self._forwarded:
            self._forwarded = turn
            self._tell_node(channel.pack_frame(data[:STATE_BYTES], receipt_ns))

    def _hear_refusal(self) -> None:
        """Note what the host's machine says to what was sent; answers mean nothing."""
        try:
            refusal = taken_refusal(self._sender)
            if refusal is None:
                self._sender.recv(_LARGEST_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            refusal = error
        if refusal is not None:
            self._link.failed(error_text(refusal, self._settings), time.monotonic_ns())

    def _hear_node(self) -> None:
        try:
            data = self._node.recv(channel.LARGEST_BYTES)
        except ConnectionError:
            data = b""
        now_ns = time.monotonic_ns()
        if not data:
            self._node_ended = True
            self._link.release("the driver's node has ended", now_ns)
            return
        request = channel.read_request(data)
        if isinstance(request, Command):
            self._link.follow(request, now_ns)
        elif isinstance(request, channel.Take):
            self._link.take(request.obstacles + route_problems(self._settings), now_ns)
        elif isinstance(request, channel.Damp):
            self._link.damp(request.reason, now_ns)
        else:
            self._link.release("it was asked for", now_ns)

    def _send(self, datagrams: list[bytes]) -> None:
        for data in datagrams:
            try:
                self._sender.sendto(data, self._host)
            except OSError as error:
                self._link.failed(error_text(error, self._settings), time.monotonic_ns())
        if datagrams:
            self._link.sent(time.monotonic_ns())

    def _report(self, now_ns: int) -> None:
        """Tell the node how things are: now and then, at every change, and each answer."""
        link = self._link
        status = link.phase, link.reason
        if status == self._reported and now_ns < self._report_ns and not link.answers_wait:
            return
        self._reported, self._report_ns = status, now_ns + _REPORT_NS
        report = link.report(now_ns)
        obstacles = report.obstacles
        if link.phase is Phase.LISTENING:
            obstacles += route_problems(self._settings)
        report = replace(report, obstacles=obstacles, refused=self._refused,
                         details={**report.details, **self._counts})
        if self._tell_node(channel.pack_report(report)):
            link.answer_told()

    def _tell_node(self, data: bytes) -> bool:
        """Return whether there was room for it: a node that hangs must not hold up the robot."""
        try:
            self._node.send(data)
        except BlockingIOError:
            self._counts["not_read_by_node"] += 1
            return False
        except ConnectionError:
            pass  # Its end is heard of next.
        return True


def main() -> None:
    """Run with the numbers of the three open sockets and the settings as arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    *numbers, told = sys.argv[1:]
    node, receiver, sender = (socket.socket(fileno=int(number)) for number in numbers)
    settings = _settings_of(json.loads(told))
    refused = settings.realtime.apply(threading.get_native_id(), [os.getpid()])
    loop = Loop(settings, node, receiver, sender, refused)
    # What is here stays, and nothing below makes cycles: no pause for a search of garbage.
    gc.freeze()
    gc.disable()
    loop.run()


def _settings_of(told: dict[str, Any]) -> Settings:
    realtime = told.pop("realtime")
    return Settings(**told, realtime=RealTime(**{**realtime, "cpus": tuple(realtime["cpus"])}))


if __name__ == "__main__":
    main()
