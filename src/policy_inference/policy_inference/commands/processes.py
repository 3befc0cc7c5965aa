# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that live and end together, such as a node and the drivers of its cameras."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from policy_inference.command_line import INTERRUPTING

_KEPT = "policy_inference.commands.kept"
_TIME_TO_LEAVE_S = 15.0
"""Longer than a policy node takes to leave its robot safe."""


class Together:
    """Modules that run as processes, in a `with` block that ends all of them.

    They are in sessions of their own: a Ctrl-C, or a terminal that closes, comes to this process
    alone, which ends them in order. Where it is killed itself, they end too: see `kept`.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._running = list[subprocess.Popen[bytes]]()
        self._lifelines = list[int]()

    def __enter__(self) -> Together:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all, the last that began first; a second Ctrl-C does not cut that short."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTING}
        try:
            while self._running:
                _end(self._running.pop())
            while self._lifelines:
                os.close(self._lifelines.pop())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, module: str, arguments: Sequence[str]) -> None:
        """Start one more."""
        # One pipe for each: the kernel tells one process of a pipe's end.
        held, lifeline = os.pipe()
        self._lifelines.append(lifeline)
        try:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-m", _KEPT, str(held), module, *arguments],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=[held],
                )
            )
        finally:
            os.close(held)

    def wait(self) -> int:
        """Wait for the first of them to end; return its exit status."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        statuses = [
            process.poll()
            for process in self._running
            if ended is None or process.pid == ended.si_pid
        ]
        return next((status for status in statuses if status is not None), 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and insist after a while."""
    if process.poll() is None:
        # Not SIGINT, which makes a Python that has only begun print a traceback.
        process.terminate()
        try:
            process.wait(_TIME_TO_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
