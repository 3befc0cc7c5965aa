# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transports to the servos: the link process uses the bus; the node process reserves the ports."""

import errno
import fcntl
import os
import queue
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lerobot_arm_driver.arms import TORQUE_OFF, ArmSettings
from lerobot_arm_driver.frames import GIVE_BACK, PREPARE, pack_state, read_goal
from lerobot_arm_driver.servos import Servos
from robot_driver.interfaces import F64, DriverError
from robot_driver.robot import Datagram, RobotTransport

_AGAIN_S: Final = 1.0
"""Time between attempts to connect, and time that a bus may fail before it is reopened."""
_APPEARS_S: Final = 10.0
"""Time limit for a port to appear, since the driver may start before the port exists."""
_LOOKS_AGAIN_S: Final = 0.1
_END_S: Final = 2.0
_REPEATED: Final = 3
_REMEDY: Final = {
    errno.ENOENT: "find it with lerobot-find-port",
    errno.EACCES: "add the user to the group dialout",
    errno.EPERM: "add the user to the group dialout",
}


class PortTransport(RobotTransport):
    """The node process's end: reserves the ports; can switch torque off if the link process dies.

    Servos that must hold need no frames: they keep their last goals on their own.
    """

    def __init__(self, settings: ArmSettings, ports: Sequence[int]) -> None:
        self.counts: dict[str, int] = {}
        self._settings, self._ports = settings, list(ports)

    @classmethod
    def open(cls, settings: ArmSettings) -> "PortTransport":
        ports: list[int] = []
        try:
            for name in settings.ports:
                ports.append(_reserved(name))
        except DriverError:
            for port in ports:
                os.close(port)
            raise
        return cls(settings, ports)

    @property
    def descriptors(self) -> Sequence[int]:
        """Descriptors of the ports, which stay reserved as long as either process runs."""
        return self._ports

    def watched(self) -> Sequence[int]:
        """Return no descriptors, since only the link process receives."""
        return ()

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        return iter(())

    def send(self, data: bytes) -> None:
        """Make all servos limp when control is given back, if `way_out` requires it."""
        if data != GIVE_BACK or self._settings.way_out != TORQUE_OFF:
            return
        for port in self._ports:
            try:
                for _ in range(_REPEATED):  # unconfirmed, and the link may have died mid-packet
                    os.write(port, self._settings.arm.servo.all_limp)
            except OSError as error:
                raise DriverError(f"the servo bus: {error.strerror}") from None

    def keep_sending_half(self) -> None:
        """Do nothing: the ports themselves are the sending half."""

    def close(self) -> None:
        while self._ports:
            os.close(self._ports.pop())


def _reserved(name: str) -> int:
    """Open a serial port, locked against other drivers; return its descriptor."""
    ends_s = time.monotonic() + _APPEARS_S
    while not Path(name).exists() and time.monotonic() < ends_s:
        time.sleep(_LOOKS_AGAIN_S)
    try:
        port = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        remedy = _REMEDY.get(error.errno or 0, "")
        raise DriverError(
            f"port: expected the servo bus at {name!r}, found: {error.strerror}"
            + (f"; {remedy}" if remedy else "")
        ) from None
    try:
        if not os.isatty(port):
            raise DriverError(
                f"port: expected a serial port at {name}, found a different kind of file"
            )
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(port)
        raise DriverError(
            f"port: expected {name} to be free, found it in use by another driver; stop that driver"
        ) from None
    except DriverError:
        os.close(port)
        raise
    return port


class ArmTransport(RobotTransport):
    """The link process's end: a thread that reads the servos at a fixed rate and sends goals.

    If a bus fails for a second, it is reopened, and its servos are checked again.
    """

    def __init__(self, settings: ArmSettings, reserved: Sequence[int] = ()) -> None:
        """Start the thread, which then connects to the servos.

        Args:
            settings: Settings of the driver.
            reserved: Descriptors of the ports, kept open so that they stay reserved.
        """
        self.counts = {"bus_failed": 0}
        self._period_s = 1.0 / settings.command_rate_hz
        self._servos = Servos(settings)
        self._problem = "the servos are being connected"
        self._heard: queue.SimpleQueue[Datagram | DriverError] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[bytes | F64] = queue.SimpleQueue()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="servos", daemon=True)
        self._thread.start()

    @property
    def descriptors(self) -> Sequence[int]:
        """An empty tuple, since no other process could use descriptors of this end."""
        return ()

    def watched(self) -> Sequence[int]:
        return (self._signal,)

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        if self._signal in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._signal)
        while not self._heard.empty():
            heard = self._heard.get()
            if isinstance(heard, DriverError):
                raise heard
            yield heard

    def send(self, data: bytes) -> None:
        goal = read_goal(data)
        self._asked.put(data if goal is None else goal)

    def problems(self) -> tuple[str, ...]:
        return (self._problem,) if self._problem else ()

    def keep_sending_half(self) -> None:
        """Do nothing: only the node process has a sending half."""

    def close(self) -> None:
        """End the thread once it has executed the pending requests."""
        self._ending.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._servos.connect()
                # Goals from before the connection are obsolete; a request to become limp is not.
                self._act(goals=False)
                self._problem = ""
                self._serve()
                self._act(goals=False)
            except DriverError as error:
                self._problem = str(error)
                self.counts["bus_failed"] += 1
                self._ending.wait(_AGAIN_S)
            finally:
                self._servos.close()

    def _serve(self) -> None:
        due_s = read_s = time.monotonic()
        while not self._ending.is_set():
            now_s = time.monotonic()
            try:
                self._tell(Datagram(pack_state(self._servos.read()), ("servos", 0), time.time_ns()))
                read_s = now_s
            except DriverError:
                self.counts["bus_failed"] += 1
                if now_s - read_s > _AGAIN_S:
                    raise
            due_s = max(due_s + self._period_s, time.monotonic())
            self._act()
            while (left_s := due_s - time.monotonic()) > 0.0 and not self._ending.is_set():
                with suppress(queue.Empty):
                    self._act(self._asked.get(timeout=left_s))

    def _act(self, first: bytes | F64 | None = None, *, goals: bool = True) -> None:
        """Execute `first` and all pending requests in order; of several goals, only the newest.

        With `goals=False`, no goal is executed.
        """
        asked = [] if first is None else [first]
        while not self._asked.empty():
            asked.append(self._asked.get())
        newest = max((i for i, one in enumerate(asked) if not isinstance(one, bytes)), default=-1)
        try:
            for i, one in enumerate(asked):
                if not isinstance(one, bytes):
                    if goals and i == newest:
                        self._servos.go(one)
                elif one == PREPARE:
                    self._servos.prepare()
                elif one == GIVE_BACK:
                    self._servos.give_back()
        except DriverError as error:
            self.counts["bus_failed"] += 1
            self._tell(error)

    def _tell(self, news: Datagram | DriverError) -> None:
        self._heard.put(news)
        os.eventfd_write(self._signal, 1)
