# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node that has a screen: the screen on the main thread, the node on another."""

import asyncio
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from policy_inference.nodes.process import ended_by, wait_for_end
from policy_inference.processes import remove_folders
from robot_operator.cockpit import Cockpit

_ENDS_WITHIN_S, _ANSWERED_WITHIN_S = 3.0, 2.0
_LOOKS_S = 0.2
_BYTES = 64


class ScreenNode(Cockpit, Protocol):
    """A node that has a screen and a parameter to enable it."""

    answering: int
    """Number of answers that the node still awaits or owes."""

    def get_parameter(self, name: str) -> Any:
        """Return a parameter."""

    def halt(self) -> None:
        """Leave the robot safe."""


def operate(node: ScreenNode, asked: socket.socket) -> None:
    """Show the screen, if there is a terminal, until a signal or a key ends the process."""
    if not (has_terminal() and node.get_parameter("screen").value):
        wait_for_end(node, asked)
        return
    # imported here, because only the screen needs textual
    from robot_operator.screen import Screen

    app = Screen(node)
    ending, shown = threading.Event(), threading.Event()
    guard = threading.Thread(target=_guard, args=(node, asked, ending, shown), daemon=True)

    def hear() -> None:
        if ended_by(asked.recv(1)):
            ending.set()
            app.exit()

    async def show() -> None:
        asyncio.get_running_loop().add_reader(asked, hear)
        await app.run_async(mouse=False)

    guard.start()
    try:
        with _logs_kept_back():
            asyncio.run(show())
    finally:
        shown.set()


def has_terminal() -> bool:
    """Return whether standard input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _guard(
    node: ScreenNode, asked: socket.socket, ending: threading.Event, shown: threading.Event
) -> None:
    """Stop the robot and end the process if the terminal, and with it the screen, hangs.

    A terminal whose output is no longer read, for example over a hung SSH connection, blocks
    threads that write to it, including the main thread, which then handles no signals.
    """
    while not shown.wait(_LOOKS_S):
        unheard = b""
        with suppress(BlockingIOError):
            unheard = asked.recv(_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if not (ending.is_set() or any(ended_by(bytes([byte])) for byte in unheard)):
            continue
        if shown.wait(_ENDS_WITHIN_S):
            return
        node.halt()
        ends_s = time.monotonic() + _ANSWERED_WITHIN_S
        while node.answering and time.monotonic() < ends_s:
            time.sleep(_LOOKS_S)
        remove_folders()
        os._exit(1)  # without a flush, which could wait for the terminal


@contextmanager
def _logs_kept_back() -> Iterator[None]:
    """Keep log output off the terminal until the block ends, then write it there.

    ROS's logger writes to the file descriptor of standard error, and so does textual through
    `sys.__stderr__`, which therefore gets its own descriptor.
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
            with suppress(OSError):  # the terminal may have closed
                terminal.close()
                os.write(2, log.read())
