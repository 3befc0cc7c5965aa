# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Connections over Unix sockets whose clients may pass descriptors, which the service never takes.

A descriptor that is passed and not taken is closed by the kernel in the thread that receives the
bytes it came with, or closes the socket it waits in. Where it is the last one of a TCP socket with
SO_LINGER, that close waits as long as the client of the service wants. Since Linux 6.16 a socket
can refuse them. Before that, the service looks for them before it receives the bytes, which takes
1.3 us, and lets a thread that may wait close the socket.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from policy_inference.service.unix_socket import PASSES_RIGHTS

INTERRUPTS_CLOSE = signal.SIGURG
"""Ends the wait of a close that lingers, where a handler is installed for it; otherwise ignored."""
_LONGEST_CLOSE_S = 0.005
_AT_ONCE_BYTES = 1 << 16
_MOST_DRAINED = 16
"""Times that much: more than the system lets one client leave unread."""


class UnixStream:
    """The service's side of a connection; it is used like a socket that never waits.

    Attributes:
        recv_into: As of a socket; raises OSError where a descriptor came with the bytes.
        send: As of a socket.
    """

    def __init__(
        self, connected: socket.socket, close_elsewhere: Callable[[socket.socket], None]
    ) -> None:
        """Take over a connected socket.

        Args:
            connected: It.
            close_elsewhere: Closes one that holds descriptors of its client.
        """
        connected.setblocking(False)
        # Urgent bytes, which may bring descriptors too, would be left out when looking and closed
        # when receiving.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self._socket, self._close_elsewhere = connected, close_elsewhere
        self._look, self._take, self.send = (
            connected.recvmsg_into,
            connected.recv_into,
            connected.send,
        )
        self.recv_into: Callable[[memoryview], int] = (
            connected.recv_into if _refuses_descriptors(connected) else self._look_and_take
        )

    def recv(self, size: int) -> bytes:
        """Receive as `recv_into` does."""
        into = bytearray(size)
        return bytes(into[: self.recv_into(memoryview(into))])

    def send_with(self, data: memoryview | bytes, files: Sequence[int]) -> int:
        """Send data and descriptors; return how many bytes."""
        return socket.send_fds(self._socket, [data], files)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; elsewhere where it holds descriptors of the client."""
        if self._is_drained():
            self._socket.close()
        else:
            self._close_elsewhere(self._socket)

    def _look_and_take(self, into: memoryview) -> int:
        # Looking gives nothing back whose descriptors would be closed.
        count, _, flags, _ = self._look((into,), 0, socket.MSG_PEEK)
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EPROTO, "passes descriptors")
        return self._take(into, count) if count else 0

    def _is_drained(self) -> bool:
        """Receive what is left; return whether nothing is."""
        try:
            self._socket.shutdown(socket.SHUT_RD)  # nothing more can come
            for _ in range(_MOST_DRAINED):
                # Bytes left unread would make the kernel's last word a reset, not what was said.
                if not self.recv(_AT_ONCE_BYTES):
                    return True
        except BlockingIOError:
            return True
        except OSError as error:
            return error.errno in (errno.ENOTCONN, errno.ECONNRESET)
        return False


def _refuses_descriptors(connected: socket.socket) -> bool:
    try:
        return not connected.getsockopt(socket.SOL_SOCKET, PASSES_RIGHTS)
    except OSError:
        return False


class Closer:
    """Closes sockets on a thread of its own, which is interrupted where one takes long."""

    def __init__(self) -> None:
        """Begin; the threads start with the first socket."""
        self._sockets, self._closes = SimpleQueue[socket.socket | None](), threading.Event()
        self._is_ended = threading.Event()
        self._closing = threading.Thread(target=self._close, name="closer", daemon=True)
        self._interrupting = threading.Thread(
            target=self._interrupt, name="interrupter", daemon=True
        )

    def close(self, connected: socket.socket) -> None:
        """Close a socket soon."""
        if self._closing.ident is None:
            self._closing.start()
            self._interrupting.start()
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)  # its client need not wait for the close
        self._sockets.put(connected)

    def end(self) -> None:
        """End the threads, by and by."""
        self._sockets.put(None)

    def _close(self) -> None:
        while (connected := self._sockets.get()) is not None:
            self._closes.set()
            connected.close()
            self._closes.clear()
        # It must not end before the other one: a signal to a thread that is gone is undefined.
        self._is_ended.set()
        self._closes.set()
        self._interrupting.join()

    def _interrupt(self) -> None:
        while self._closes.wait() and not self._is_ended.wait(_LONGEST_CLOSE_S):
            if self._closes.is_set():
                assert self._closing.ident is not None
                signal.pthread_kill(self._closing.ident, INTERRUPTS_CLOSE)
