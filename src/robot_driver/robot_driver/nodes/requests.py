# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What stands between operators and the link: the gate of commands, and the answers owed."""

import threading
from collections.abc import Sequence
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from robot_driver.interfaces import DriverAnswer, WireCommand
from robot_driver.supervisor import LinkSupervisor

_PRESSED = "the e-stop was pressed: ~/reset releases it"


class Gate:
    """Hands commands to the link while the e-stop is released.

    Else the robot is brought to rest, and no command passes, so that none can end that. Control is
    refused, too, where several nodes may send commands; who has it follows one of them. All
    methods from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: LinkSupervisor[Any] | None = None
        self._pressed = False
        self._senders = ""

    @property
    def reasons(self) -> list[str]:
        return [reason for reason in (_PRESSED if self._pressed else "", self._senders) if reason]

    def connect(self, link: LinkSupervisor[Any] | None) -> None:
        """Hand on to this link from now on, to none if None; an e-stop stays as it is."""
        with self._lock:
            self._link, self._senders = link, ""

    def press(self) -> None:
        with self._lock:
            self._pressed = True
            self._damp(_PRESSED)

    def release(self) -> None:
        with self._lock:
            if self._pressed:
                self._pressed = False
                self._damp("the e-stop was released")

    def see_senders(self, problem: str) -> None:
        """Take what is wrong with the senders of commands, nothing if there is one at most."""
        with self._lock:
            self._senders = problem

    def follow(self, command: WireCommand) -> None:
        with self._lock:
            if self._link is not None and not self._pressed:
                self._link.follow(command)

    def take(self, other_obstacles: Sequence[str] = ()) -> bool:
        """Ask for control; return whether that was possible, as of LinkSupervisor.take."""
        with self._lock:
            obstacles = [*self.reasons, *other_obstacles]
            return self._link is not None and self._link.take(obstacles)

    def _damp(self, reason: str) -> None:
        if self._link is not None:
            self._link.damp(reason)


class PendingAnswers:
    """Futures of answers, by request; they are given from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[str, list[Any]] = {}

    def owes(self, request: str) -> bool:
        """Return whether a caller waits for the end of such a request."""
        return bool(self._owed.get(request))

    def await_one(self, request: str, executor: Executor) -> Future:
        """Return a future of the answer, with which the executor goes on."""
        future = Future(executor=executor)
        # This is what wakes the executor.
        future.add_done_callback(_nothing)
        with self._lock:
            self._owed.setdefault(request, []).append(future)
        return future

    def give(self, answer: DriverAnswer) -> None:
        with self._lock:
            waiting = self._owed.pop(answer.request, [])
        for future in waiting:
            future.set_result(answer)

    def give_up(self, reason: str) -> None:
        """Answer all that still wait: the request has failed, for this reason."""
        for request in list(self._owed):
            self.give(DriverAnswer(request=request, success=False, message=f"{request}: {reason}"))


def _nothing(_: object) -> None:
    """Do nothing."""
