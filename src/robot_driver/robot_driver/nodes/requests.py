# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to the link process: the gate that the e-stop closes, and pending answers."""

import threading
from collections.abc import Sequence
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from robot_driver.interfaces import DriverAnswer, WireCommand
from robot_driver.supervisor import LinkSupervisor

_PRESSED = "the e-stop was pressed: ~/reset releases it"


class Gate:
    """Forwards commands to the link process while the e-stop is released.

    While the e-stop is pressed, the robot is brought to rest and all commands are blocked, so that
    no command ends the rest. Control is also refused if several nodes publish commands; a driver
    already in control follows one of them. All methods are thread-safe.
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
        """Forward to this link (None for no link) from now on; the e-stop state does not change."""
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
        """Set the message about several command senders; "" if there is at most one."""
        with self._lock:
            self._senders = problem

    def follow(self, command: WireCommand) -> None:
        with self._lock:
            if self._link is not None and not self._pressed:
                self._link.follow(command)

    def take(self, other_obstacles: Sequence[str] = ()) -> bool:
        """Request control; return False if that is impossible, as `LinkSupervisor.take` does."""
        with self._lock:
            obstacles = [*self.reasons, *other_obstacles]
            return self._link is not None and self._link.take(obstacles)

    def _damp(self, reason: str) -> None:
        if self._link is not None:
            self._link.damp(reason)


class PendingAnswers:
    """Futures for the answers to pending requests; answers may arrive on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[str, list[Any]] = {}

    def owes(self, request: str) -> bool:
        """Return True if a caller is waiting for the answer to this request."""
        return bool(self._owed.get(request))

    def await_one(self, request: str, executor: Executor) -> Future:
        """Return a future for the answer to a request; its result wakes the executor."""
        future = Future(executor=executor)
        # a callback is what wakes the executor
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
        """Answer all pending requests as failed, for this reason."""
        for request in list(self._owed):
            self.give(DriverAnswer(request=request, success=False, message=f"{request}: {reason}"))


def _nothing(_: object) -> None:
    """Do nothing."""
