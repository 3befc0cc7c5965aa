# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What wakes a thread that waits for sockets, from other threads."""

from __future__ import annotations

import contextlib
import socket


class Waker:
    """A pair of sockets; the thread that waits watches `fileno`."""

    def __init__(self) -> None:
        """Make them."""
        self._asked, self._asking = socket.socketpair()
        self._asked.setblocking(False)
        self._asking.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._asked.fileno()

    def wake(self) -> None:
        """Wake the thread; does nothing where it is awake already, or gone."""
        with contextlib.suppress(OSError):
            self._asking.send(b"\0")

    def awake(self) -> None:
        """Take note of it, so that it can be woken again."""
        with contextlib.suppress(BlockingIOError):
            self._asked.recv(4096)

    def close(self) -> None:
        """Close both."""
        self._asked.close()
        self._asking.close()
