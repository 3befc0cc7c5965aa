# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A motion host on loopback that lies folded, reports so, and keeps what it is sent."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lite3_driver import wire
from lite3_driver.figures import Lite3Settings
from lite3_driver.robot import Lite3
from lite3_driver.wire import Lite3State
from robot_driver.interfaces import DriverAnswer, DriverPhase, DriverReport, WireCommand
from robot_driver.supervisor import LinkSupervisor
from testkit.waiting import until

from .lockstep import DAMP, LYING, lite3_command

_SO_TIMESTAMPNS = 35
"""Linux's asm-generic/socket.h; the module `socket` does not name it."""
PATIENCE_S = 30.0
"""How long anything may take on a busy machine."""
_TIMESPEC = struct.Struct("@ll")
_NUMBERS = itertools.count(1)


def own_settings(**changes: Any) -> Lite3Settings:
    """Return settings with addresses that no other test uses meanwhile, of a quick robot."""
    network = f"127.{64 + os.getpid() % 128}.{next(_NUMBERS) % 250}"
    return Lite3Settings(
        **{
            "host_address": f"{network}.1",
            "interface_address": f"{network}.2",
            "fold_s": 0.2,
            "angular_velocity_checked": True,
            "state_timeout_s": 5.0,
            **changes,
        }
    )


class UdpHost:
    """Sends a frame for each millisecond that has gone by.

    Attributes:
        heard: Datagrams and their sources, in order.
        at_ns: When the kernel took them, for each of `heard`, on the system's clock: before that,
            however busy the machine is.
        pause: Frames are sent while this is not set.
    """

    def __init__(self, settings: Lite3Settings, *, deaf: bool = False) -> None:
        """Begin to talk; a deaf one has no socket where commands are sent."""
        self._settings = settings
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self.at_ns: list[int] = []
        self.state = LYING
        self.pause = threading.Event()
        self._end = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((settings.host_address, 0 if deaf else settings.host_port))
        self._threads = [threading.Thread(target=self._talk), threading.Thread(target=self._hear)]
        for thread in self._threads:
            thread.start()

    def codes(self) -> list[int]:
        return [code for data, _ in list(self.heard) if (code := wire.read_code(data)) is not None]

    def requests(self) -> list[int]:
        """Return what was asked for, without the commands."""
        return [code for code in self.codes() if code != wire.COMMAND]

    def tell(self, state: Lite3State, tick: int) -> None:
        self._socket.sendto(
            wire.write_state(state._replace(tick=tick, imu_stamp_ms=tick)),
            (self._settings.interface_address, self._settings.state_port),
        )

    def close(self) -> None:
        self._end.set()
        # Ends the wait for the next datagram.
        self._socket.sendto(b"", self._socket.getsockname())
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _talk(self) -> None:
        begin_s, told = time.monotonic(), 0
        while not self._end.wait(0.001):
            due = int((time.monotonic() - begin_s) * 1000)
            for tick in range(told + 1, due + 1):
                if not self.pause.is_set():
                    self.tell(self.state, tick)
            told = due

    def _hear(self) -> None:
        while not self._end.is_set():
            try:
                data, [(_, _, stamp)], _, source = self._socket.recvmsg(
                    4096, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except ConnectionError:
                continue
            seconds, ns = _TIMESPEC.unpack(stamp)
            self.at_ns.append(seconds * 10**9 + ns)
            self.heard.append((data, source))


class Node:
    """Stands for the driver's node: keeps what the link reports.

    Attributes:
        states: With their receipts.
        reports: All of them, in order.
        lost: What was said where the process ended by itself.
    """

    def __init__(self, settings: Lite3Settings) -> None:
        self.settings = settings
        self.states: list[tuple[Lite3State, int]] = []
        self.reports: list[DriverReport] = []
        self.lost: list[str] = []
        self.hangs = threading.Event()
        self.goes_on = threading.Event()
        self._sequence = 0
        self.link = LinkSupervisor(
            Lite3(settings),
            on_state=self._on_state,
            on_report=self.reports.append,
            on_lost=self.lost.append,
        )

    def _on_state(self, state: Lite3State, receipt_ns: int) -> None:
        if self.hangs.is_set():
            self.goes_on.wait(PATIENCE_S)
        self.states.append((state, receipt_ns))

    @property
    def report(self) -> DriverReport:
        return self.reports[-1]

    @property
    def answers(self) -> list[DriverAnswer]:
        return [report.answer for report in list(self.reports) if report.answer is not None]

    def in_control(self, mode: int = DAMP) -> None:
        """Take control and be followed, first in MODE_DAMP."""
        answer = self.taken()
        assert answer.success, answer.message
        until(lambda: self._is_followed(DAMP))
        until(lambda: self._is_followed(mode) and self.report.latency_p50_s > 0.0)

    def _is_followed(self, mode: int) -> bool:
        """Command once more; return whether the robot follows.

        A busy machine may let a command expire: then it is damped first.
        """
        is_followed = self.report.phase is DriverPhase.FOLLOWING
        self.link.follow(self.made(mode if is_followed else DAMP))
        return is_followed

    def taken(self) -> DriverAnswer:
        """Ask for control until it is not refused at once; return how that ended.

        On a busy machine frames may come too slowly for a while.
        """
        while True:
            until(lambda: bool(self.reports and self.report.obstacles == ()))
            self.link.take()
            until(lambda: bool(self.answers))
            answer = self.answers[0]
            if not answer.message.startswith("refused"):
                return answer
            self.reports.clear()

    def made(self, mode: int) -> WireCommand:
        """Return the next command, valid for as long as may be."""
        self._sequence += 1
        return lite3_command(self._sequence, mode, time.monotonic_ns(), valid_for_ns=10**9)


@contextmanager
def host_with_node(settings: Lite3Settings) -> Iterator[tuple[UdpHost, Node]]:
    host = UdpHost(settings)
    try:
        node = Node(settings)
        try:
            yield host, node
        finally:
            node.goes_on.set()
            node.link.close()
    finally:
        host.close()
