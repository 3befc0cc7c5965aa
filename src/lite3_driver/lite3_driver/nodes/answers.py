# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that are owed to those who asked for something that takes its time."""

import threading
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from lite3_driver.interfaces import Answer


class Answers:
    """Futures of answers, by request; they are given from any thread."""

    def __init__(self) -> None:
        """Owe none."""
        self._lock = threading.Lock()
        self._owed: dict[str, list[Any]] = {}

    def owes(self, request: str) -> bool:
        """Return whether somebody waits for the end of such a request."""
        return bool(self._owed.get(request))

    def await_one(self, request: str, executor: Executor) -> Future:
        """Return a future of the Answer, with which the executor goes on."""
        future = Future(executor=executor)
        # This is what wakes the executor.
        future.add_done_callback(_nothing)
        with self._lock:
            self._owed.setdefault(request, []).append(future)
        return future

    def give(self, answer: Answer) -> None:
        """Answer all who wait for this request."""
        with self._lock:
            waiting = self._owed.pop(answer.request, [])
        for future in waiting:
            future.set_result(answer)

    def give_up(self, reason: str) -> None:
        """Answer whoever still waits that it will not come to that."""
        for request in list(self._owed):
            self.give(Answer(request=request, success=False, message=f"{request}: {reason}"))


def _nothing(_: object) -> None:
    """Do nothing."""
