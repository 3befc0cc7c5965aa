# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node's side of the process that owns the sockets."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace

from lite3_driver import channel, wire
from lite3_driver.interfaces import Command, Phase, Report, Settings
from lite3_driver.link import FAREWELL_S
from lite3_driver.reception import in_si
from lite3_driver.sockets import LinkError, host_of, open_receiver, open_sender
from lite3_driver.wire import State

_MODULE = "lite3_driver.link_process"
_START_S = 20.0
_END_S = FAREWELL_S + 3.0
_PORT_S = FAREWELL_S + 1.0
"""So long the process of a driver that was killed may need for its good-bye."""
_HANGS_S = 3.0
"""A process that reports several times a second, and has said nothing for so long, hangs."""
_SILENCES = 4
"""Of those: as long as it controls nothing, a machine that is busy may hold it up for longer."""


def require_port(settings: Settings) -> None:
    """Return where the host's state can be received; nothing is left open.

    Raises:
        LinkError: As of HostLink.
    """
    open_receiver(settings, _PORT_S).close()


class HostLink:
    """Starts the process, hears it on a thread of its own, and asks it for things.

    No request ever waits, whatever the process does. One that hangs reads nothing; once the channel
    between the two is full, what else is asked is lost, and the answer to that is False. A request
    to brake alone is kept: the process has it as soon as it goes on.

    If the process dies while the robot is under control, this thread says good-bye to the robot in
    its place: it brakes for 2 s and gives control back, through the same socket. One that hangs is
    killed first.

    Attributes:
        refused: What the machine refused the process of `realtime.*`, with the remedy.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_state: Callable[[State, int], None],
        on_report: Callable[[Report], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Open the sockets and start the process; nothing is sent to the robot.

        Args:
            settings: Of the driver.
            on_state: Called with each state (angular velocity in rad/s) and its receipt (ns,
                the system's clock), `joint_state_rate_hz` times per second.
            on_report: Called some times per second, at every change, and with each answer.
            on_lost: Called once, with why, where the process has ended without being asked to, and
                after the good-bye. All three are called on the thread of this object.

        Raises:
            LinkError: The port is in use, an address is none of this machine's, or the process
                does not start.
        """
        self._settings = settings
        self._on_state, self._on_report, self._on_lost = on_state, on_report, on_lost
        self._report: Report | None = None
        self._closing, self._hung = False, False
        self._owed: channel.Damp | None = None
        with ExitStack() as undo:
            receiver = undo.enter_context(open_receiver(settings, _PORT_S))
            self._sender = undo.enter_context(open_sender(settings))
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._channel.close)
            with theirs:
                self._process = _start(settings, [theirs, receiver, self._sender])
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self._await_first_word()
            undo.pop_all()
            # The process alone has it now: where both end, so does the port.
            receiver.close()
        self._thread = threading.Thread(target=self._listen, name="link", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Number of the process that owns the sockets."""
        return self._process.pid

    def follow(self, command: Command) -> None:
        """Follow a command from now on, if it may be: its end, and others, are in the reports."""
        self._ask(command)

    def take(self, other_obstacles: Sequence[str] = ()) -> bool:
        """Take control; the answer is in a report, after the robot has folded or at once.

        Args:
            other_obstacles: What the caller knows to speak against it: any of them refuses it.

        Returns:
            Whether it could be asked for; else there is no answer.
        """
        return self._ask(channel.Take(tuple(other_obstacles)))

    def release(self) -> bool:
        """Give control back; the answer is in a report, after 2 s of braking or at once.

        Returns:
            Whether it could be asked for; else there is no answer.
        """
        return self._ask(channel.Release())

    def damp(self, reason: str) -> bool:
        """Brake, and follow nothing until a command in MODE_DAMP has come.

        Returns:
            Whether it could be asked for now; else it will be as soon as the process goes on.
        """
        request = channel.Damp(reason)
        asked = self._ask(request)
        if not asked:
            self._owed = request
        return asked

    def close(self) -> None:
        """Give control back where there is any, end the process and wait for it."""
        self._closing = True
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_S)
            self._process.kill()
            self._thread.join()
        self._channel.close()
        self._sender.close()

    def _ask(self, request: Command | channel.Take | channel.Release | channel.Damp) -> bool:
        """Return at once whether there was room for it."""
        try:
            self._channel.send(channel.pack_request(request))
        except BlockingIOError:
            return False
        except OSError:
            pass  # The process has died, of which the other thread hears.
        return True

    def _await_first_word(self) -> None:
        """Wait for the first report.

        Raises:
            LinkError: None came.
        """
        # A time-out of the socket would be one of `send` as well, also with MSG_DONTWAIT.
        self._channel.setblocking(False)
        data = (self._channel.recv(channel.LARGEST_BYTES, socket.MSG_PEEK)
                if self._heard_within(_START_S) else b"")
        if not data:
            raise LinkError(f"{_MODULE}: expected a first report within {_START_S} s, found none; "
                            "its output is above")
        first = channel.read_news(data)
        self.refused = first.refused if isinstance(first, Report) else ()

    def _listen(self) -> None:
        """Hear the process until its end."""
        while data := self._receive():
            if self._owed is not None and self._ask(self._owed):
                self._owed = None
            news = channel.read_news(data)
            if isinstance(news, Report):
                self._report = news
                self._on_report(news)
                continue
            state = wire.read_state(news.data)
            if isinstance(state, State):
                unit = self._settings.angular_velocity_unit
                self._on_state(in_si(state, unit), news.receipt_ns)
        status = self._process.wait()
        end = signal.Signals(-status).name if status < 0 else f"status {status}"
        reason = ("the process that talks to the robot hung, and was killed" if self._hung else
                  f"the process that talks to the robot has ended by itself ({end})")
        if self._report is not None and self._controls:
            self._on_report(replace(self._report, phase=Phase.RELEASING, reason=reason,
                                    answer=None))
            _farewell(self._sender, self._settings,
                      folds=self._report.phase is Phase.TAKING)
            self._on_lost(f"{reason}; the drives were braked and control was given back in its "
                          "place")
        elif not self._closing:
            self._on_lost(reason)

    def _receive(self) -> bytes:
        """Return the next datagram in time; nothing at the end."""
        silences = 0
        while not self._heard_within(_HANGS_S):
            silences += 1
            if self._controls or silences == _SILENCES:
                self._hung = True
                self._process.kill()
                return b""
        try:
            return self._channel.recv(channel.LARGEST_BYTES)
        except OSError:
            return b""

    def _heard_within(self, time_s: float) -> bool:
        """Return whether the process has said something, or has ended, within a time."""
        heard = select.poll()
        heard.register(self._channel, select.POLLIN)
        return bool(heard.poll(1e3 * time_s))

    @property
    def _controls(self) -> bool:
        return self._report is not None and self._report.phase is not Phase.LISTENING


def _start(settings: Settings, sockets: Sequence[socket.socket]) -> subprocess.Popen[bytes]:
    """Start the process with these sockets.

    It imports what this process imports, and gets a session of its own: an interrupt from the
    terminal is for the node, which tells it to end.
    """
    numbers = [each.fileno() for each in sockets]
    return subprocess.Popen(
        [sys.executable, "-m", _MODULE, *map(str, numbers), json.dumps(asdict(settings))],
        stdin=subprocess.DEVNULL, pass_fds=numbers, start_new_session=True, cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})


def _farewell(sender: socket.socket, settings: Settings, *, folds: bool) -> None:
    """Brake for a while, then give control back; it has to be taken first where the robot folds."""
    period_s, end_s = 1.0 / settings.command_rate_hz, time.monotonic() + FAREWELL_S
    frame, host = wire.damping_command(settings.damping), host_of(settings)
    for _ in range(2 * folds):
        with suppress(OSError):
            sender.sendto(wire.request(wire.TAKE_CONTROL), host)
    # A host that refuses is sent the next one all the same.
    while (now_s := time.monotonic()) < end_s:
        with suppress(OSError):
            sender.sendto(frame, host)
        time.sleep(max(0.0, now_s + period_s - time.monotonic()))
    with suppress(OSError):
        sender.sendto(wire.request(wire.GIVE_BACK), host)
