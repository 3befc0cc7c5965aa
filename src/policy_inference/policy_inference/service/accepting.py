# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accepts clients, a few at a time, and makes room for them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Sequence

from policy_inference.service.connection import Connection, client_name, set_options
from policy_inference.service.endpoints import Listener
from policy_inference.service.observer import Observer
from policy_inference.service.protocol import Code, ServiceError

PAUSE_NS = 5_000_000
"""After which clients are accepted again where the system can take no more."""
LOOK_NS = 1_000_000_000
IDLE_NS = 10_000_000_000
"""A client that has sent no request for so long is disconnected where the next one needs room."""
_ACCEPTED_PER_PASS = 2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

OnAccepted = Callable[[str, socket.socket, str], None]
"""Takes the protocol, the connected socket, which never waits, and the client's name."""


class ClientAcceptor:
    """Takes clients from the listeners; all methods belong to the thread of the loop."""

    def __init__(
        self, listeners: Sequence[Listener], let_in: OnAccepted, observer: Observer
    ) -> None:
        """Begin.

        Args:
            listeners: Where clients arrive.
            let_in: Gets those that are accepted.
            observer: Gets a report of those that are not.
        """
        self._listeners, self._let_in, self._observer = listeners, let_in, observer

    def accept(self, listener: Listener) -> bool:
        """Accept a few; return whether more are to be accepted now, of that one."""
        for _ in range(_ACCEPTED_PER_PASS):
            try:
                connected, address = listener.socket.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._observer.cannot_accept(listener.where, str(error.strerror))
                    return False
                continue  # that client is gone already
            connected.setblocking(False)
            try:
                client = client_name(connected, address)
                set_options(connected)
            except OSError:  # it is gone already
                connected.close()
                continue
            self._let_in(listener.protocol, connected, f"{listener.where}: {client}")
        return True

    def look(self) -> None:
        """Look whether clients still find the listeners; to be done every `LOOK_NS`."""
        for listener in self._listeners:
            listener.look()

    def close(self) -> None:
        """Close all listeners."""
        for listener in self._listeners:
            listener.close()


def no_room(most: int) -> ServiceError:
    """Return the error for a client that comes when there are as many as are allowed."""
    return ServiceError(
        Code.FULL,
        f"expected at most {most} clients, found as many; end one, or allow more: --clients",
    )


def longest_silent(
    clients: Collection[Connection], now_ns: int
) -> tuple[Connection, ServiceError] | None:
    """Return the client that has been silent longest, and the error for it; None if all ask."""
    found = min(clients, key=lambda client: client.asked_ns)
    if found.asked_ns >= 0 and now_ns - found.asked_ns <= IDLE_NS:
        return None
    since = "yet" if found.asked_ns < 0 else f"for {IDLE_NS // 1_000_000_000} s"
    return found, ServiceError(Code.FULL, f"has asked nothing {since}, and others come")
