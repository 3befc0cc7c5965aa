# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node with a screen in the terminal: the screen has the main thread, the node another."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from policy_inference.nodes.process import ended_by, wait_for_end
from robot_operator.cockpit import Cockpit


class Shown(Cockpit, Protocol):
    """A node that has a screen, and a parameter that says whether to show it."""

    def get_parameter(self, name: str) -> Any:
        """Return a parameter."""


def operate(node: Shown, asked: socket.socket) -> None:
    """Show the screen, where there is a terminal, until the process is asked to end, or by key."""
    if not (has_terminal() and node.get_parameter("screen").value):
        wait_for_end(node, asked)
        return
    # Here, so that nothing but the screen needs textual.
    from robot_operator.screen import Screen

    app = Screen(node)

    def hear() -> None:
        if ended_by(asked.recv(1)):
            app.exit()

    async def show() -> None:
        asyncio.get_running_loop().add_reader(asked, hear)
        await app.run_async(mouse=False)

    with _logs_kept_back():
        asyncio.run(show())


def has_terminal() -> bool:
    """Return whether there is somebody to show a screen to, who has keys."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def _logs_kept_back() -> Iterator[None]:
    """Keep what is logged from the terminal meanwhile, and write it there afterwards.

    The logger of ROS writes to the file descriptor of the standard error, and so does textual
    through `sys.__stderr__`, which therefore gets a descriptor of its own.
    """
    before, kept = sys.__stderr__, os.dup(2)
    terminal = os.fdopen(os.dup(kept), "w")
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        sys.__stderr__ = terminal  # type: ignore[misc]  # textual has no other way
        try:
            yield
        finally:
            sys.__stderr__ = before  # type: ignore[misc]
            os.dup2(kept, 2)
            os.close(kept)
            log.seek(0)
            with suppress(OSError):  # the terminal may be gone
                terminal.close()
                os.write(2, log.read())
