# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node's side of the link process: starts it, monitors it, and takes over if it dies."""

import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from policy_inference.worker_process import WorkerProcess
from robot_driver import channel
from robot_driver.interfaces import DriverError, DriverPhase, DriverReport, WireCommand
from robot_driver.link_process import MODULE, process_arguments
from robot_driver.reception import StateT
from robot_driver.robot import RobotInterface, RobotTransport

_START_S = 20.0
_START_SLICE_S = 0.05
_END_AFTER_REST_S = 3.0
_HANGS_S = 3.0
"""Silence after which the process, which reports several times a second, counts as hung."""
_SILENCES = 4
"""Multiple of `_HANGS_S` allowed while not in control, as a busy machine may delay the process."""


class LinkSupervisor(Generic[StateT]):
    """Starts the link process, receives from it on a separate thread, and sends it requests.

    No request ever blocks, whatever the process does. A hung process does not read, so once the
    channel is full, further requests are lost and return False. Only a request to bring the robot
    to rest is kept; it is sent as soon as the process reads again.

    If the process dies while the robot is under control, the receiving thread runs the shutdown
    sequence in its place: it brings the robot to rest and gives control back over the same
    transport. A hung process is killed first.

    Attributes:
        refused: Parts of `realtime.*` that the machine did not grant the process, with remedies.
    """

    def __init__(
        self,
        robot: RobotInterface[StateT],
        *,
        on_state: Callable[[StateT, int], None],
        on_report: Callable[[DriverReport], None],
        on_lost: Callable[[str], None],
        ends: Callable[[], bool] = lambda: False,
    ) -> None:
        """Open the transport and start the process, without sending anything to the robot.

        Args:
            robot: Robot to connect to.
            on_state: Called with each state and its receipt time (ns, system clock),
                `joint_state_rate_hz` times per second.
            on_report: Called several times per second, at every change, and with each answer.
            on_lost: Called once with the reason if the process ends unexpectedly, after any
                shutdown sequence. All three callbacks run on this object's thread.
            ends: Returns True to abort the start, because the caller wants to end.

        Raises:
            DriverError: Same as `RobotInterface.open`; or the process did not start; or `ends`
                returned True.
        """
        self._robot = robot
        self._on_state, self._on_report, self._on_lost = on_state, on_report, on_lost
        self._report: DriverReport | None = None
        self._state: StateT | None = None
        self._closing, self._hung = False, False
        self._owed: channel.DampRequest | None = None
        with ExitStack() as undo:
            self._transport = robot.open()
            undo.callback(self._transport.close)
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._channel.close)
            with theirs:
                self._process = _start(robot, theirs, self._transport.descriptors)
            undo.callback(self._process.end)
            undo.callback(self._process.kill)
            self._await_first_word(ends)
            undo.pop_all()
            self._transport.keep_sending_half()
        self._thread = threading.Thread(target=self._listen, name="link", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def follow(self, command: WireCommand) -> None:
        """Follow a command from now on, if possible; reports say if it is refused or has ended."""
        self._ask(command)

    def take(self, other_obstacles: Sequence[str] = ()) -> bool:
        """Take control; the answer comes in a report, at once or when the robot has become ready.

        Args:
            other_obstacles: The caller's own reasons to refuse.

        Returns:
            True if the request was sent; if False, no answer will arrive.
        """
        return self._ask(channel.TakeRequest(tuple(other_obstacles)))

    def release(self) -> bool:
        """Give control back; the answer comes in a report, at once or after some seconds of rest.

        Returns:
            True if the request was sent; if False, no answer will arrive.
        """
        return self._ask(channel.ReleaseRequest())

    def damp(self, reason: str) -> bool:
        """Bring the robot to rest, and follow no command until one in the rest mode arrives.

        Returns:
            True if the request was sent; if False, it is sent as soon as the process reads again.
        """
        request = channel.DampRequest(reason)
        asked = self._ask(request)
        if not asked:
            self._owed = request
        return asked

    def close(self) -> None:
        """Give control back if the driver has it, end the process, and wait until it has exited."""
        self._closing = True
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        if threading.current_thread() is not self._thread:
            figures = self._robot.figures
            self._thread.join(figures.lower_s + figures.rest_s + _END_AFTER_REST_S)
            self._process.kill()
            self._thread.join()
        self._process.end()
        self._channel.close()
        self._transport.close()

    def _ask(self, request: channel.LinkRequest) -> bool:
        """Send a request without waiting; return True if the channel had room for it."""
        try:
            self._channel.send(channel.pack_request(request))
        except BlockingIOError:
            return False
        except OSError:
            pass  # the process has died; the other thread notices
        return True

    def _await_first_word(self, ends: Callable[[], bool]) -> None:
        """Wait for the first report.

        Raises:
            DriverError: No report arrived in time, or the caller wants to end.
        """
        # a socket timeout would also apply to `send`, even with MSG_DONTWAIT
        self._channel.setblocking(False)
        until_s = time.monotonic() + _START_S
        heard = False
        while not heard and time.monotonic() < until_s:
            if ends():
                raise DriverError(
                    "the process was stopped during startup; nothing was sent to the robot"
                )
            heard = self._heard_within(_START_SLICE_S)
        data = self._channel.recv(channel.LARGEST_BYTES, socket.MSG_PEEK) if heard else b""
        if not data:
            raise DriverError(
                f"{MODULE}: expected a first report within {_START_S} s, found none; "
                "its output is above"
            )
        first = channel.read_news(data)
        self.refused = first.refused if isinstance(first, DriverReport) else ()

    def _listen(self) -> None:
        while data := self._receive():
            if self._owed is not None and self._ask(self._owed):
                self._owed = None
            news = channel.read_news(data)
            if isinstance(news, DriverReport):
                self._report = news
                self._on_report(news)
                continue
            state = self._robot.decode(news.data)
            if state is not None:
                self._state = state
                self._on_state(state, news.receipt_ns)
        self._process.ends_within(None)
        status = self._process.status or 0
        end = signal.Signals(-status).name if status < 0 else f"status {status}"
        reason = (
            "the process that talks to the robot hung and was killed"
            if self._hung
            else f"the process that talks to the robot has exited unexpectedly ({end})"
        )
        if self._report is not None and self._controls:
            self._on_report(
                replace(self._report, phase=DriverPhase.RELEASING, reason=reason, answer=None)
            )
            self._on_lost(f"{reason}; {self._shut_down()}")
        elif not self._closing:
            self._on_lost(reason)

    def _receive(self) -> bytes:
        """Return the next datagram; empty if the process has exited or was killed for hanging."""
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
        """Wait for the process to send something or exit; return False if the time runs out."""
        heard = select.poll()
        heard.register(self._channel, select.POLLIN)
        return bool(heard.poll(1e3 * time_s))

    @property
    def _controls(self) -> bool:
        return self._report is not None and self._report.phase is not DriverPhase.LISTENING

    def _shut_down(self) -> str:
        """Bring the robot to rest, then give control back; take control first if needed.

        Returns:
            What was done, in words.
        """
        robot, transport = self._robot, self._transport
        if self._report is not None and self._report.phase is DriverPhase.TAKING:
            if not robot.stopped_by_taking:
                return "control had not been taken, and nothing was sent to the drives"
            _send_all(transport, robot.take())
        if self._report is not None:
            robot.recall(self._report.details)
        rest = robot.rest(self._state)
        period_s = 1.0 / robot.settings.command_rate_hz
        end_s = time.monotonic() + robot.figures.rest_s
        while (now_s := time.monotonic()) < end_s:
            _send_all(transport, [robot.encode(rest)])
            time.sleep(max(0.0, now_s + period_s - time.monotonic()))
        _send_all(transport, robot.give_back())
        return "the driver node braked the drives and gave control back instead"


def _send_all(transport: RobotTransport, frames: Sequence[bytes]) -> None:
    # send the remaining frames even if the robot refuses one
    for frame in frames:
        with suppress(DriverError):
            transport.send(frame)


def _start(
    robot: RobotInterface[Any], node: socket.socket, descriptors: Sequence[int]
) -> WorkerProcess:
    """Start the link process, with one end of the channel and the transport's descriptors.

    Raises:
        DriverError: The Python interpreter cannot be run.
    """
    python = robot.python or sys.executable
    try:
        return WorkerProcess(
            ["-m", MODULE, *process_arguments(robot, node, descriptors)],
            interpreter=python,
            imports=[type(robot).__module__],
            fds=[node.fileno(), *descriptors],
            folder=Path("/"),
        )
    except OSError as error:
        raise DriverError(
            f"expected a Python interpreter at {python}, found: {error.strerror}"
        ) from None
