# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accepts clients, a few at a time, through TLS where their endpoint has it.

And how many there may be: a user or a machine with many clients leaves room to others.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from policy_inference.peers import source_of
from policy_inference.service.connection import Connection, Stream, client_name, set_options
from policy_inference.service.endpoints import Listener
from policy_inference.service.observer import Observer
from policy_inference.service.protocol import Code, ServiceError
from policy_inference.service.tls import Handshake, Handshakes
from policy_inference.service.unix_stream import Closer, UnixStream

PAUSE_NS = 5_000_000
"""After which clients are accepted again where the system or the handshakes can take few."""
LOOK_NS = 1_000_000_000
IDLE_NS = 10_000_000_000
"""A client that has sent no request for so long is disconnected where the next one needs room."""
_KEPT_FOR_OTHERS = 8
"""So many of a user's or machine's clients leave one place to others, which is one at least."""
_ACCEPTED_PER_PASS = 2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

OnAccepted = Callable[[str, Stream, str, str], None]
"""Takes the protocol, the stream, and the client's name and source."""


class ClientAcceptor:
    """Takes clients from the listeners; all methods belong to the thread of the loop."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        let_in: OnAccepted,
        observer: Observer,
        wake: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            listeners: Where clients arrive.
            let_in: Gets those that are accepted.
            observer: Gets a report of those that are not.
            wake: Called from another thread; `take_over` is to be called then.
        """
        self._listeners, self._let_in, self._observer = listeners, let_in, observer
        needs_tls = any(listener.tls for listener in listeners)
        self._handshakes = Handshakes(wake) if needs_tls else None
        self._closer = Closer()

    def accept(self, listener: Listener) -> bool:
        """Accept a few; return whether more are to be accepted now, of that one."""
        for _ in range(_ACCEPTED_PER_PASS):
            if listener.tls and self._handshakes and self._handshakes.is_full:
                return False
            try:
                connected, address = listener.socket.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._observer.cannot_accept(listener.where, str(error.strerror))
                    return False
                continue  # that client is gone already
            self._greet(listener, connected, address)
        return not (listener.tls and self._handshakes and self._handshakes.is_crowded)

    def take_over(self) -> None:
        """Let those in whose handshakes have ended."""
        for handshake in self._handshakes.ended() if self._handshakes else ():
            name = f"{handshake.where}: {handshake.client}"
            if handshake.failure:
                self._observer.refused(name, handshake.failure)
            else:
                assert handshake.stream is not None
                self._let_in("framed", handshake.stream, name, handshake.address)

    def look(self) -> None:
        """Look whether clients still find the listeners; to be done every `LOOK_NS`."""
        for listener in self._listeners:
            listener.look()

    def close(self) -> None:
        """Close all listeners."""
        if self._handshakes is not None:
            self._handshakes.close()
        for listener in self._listeners:
            if listener.socket.family == socket.AF_UNIX:
                self._turn_away(listener.socket)
        self._closer.end()
        for listener in self._listeners:
            listener.close()

    def _turn_away(self, listening: socket.socket) -> None:
        """Close elsewhere those that wait to be let in, who may have passed descriptors already."""
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RD)  # none can come any more
            while True:
                self._closer.close(listening.accept()[0])

    def _greet(self, listener: Listener, connected: socket.socket, address: Any) -> None:
        connected.setblocking(False)
        stream = (
            UnixStream(connected, self._closer.close)
            if connected.family == socket.AF_UNIX
            else connected
        )
        try:
            client = client_name(connected, address)
            source = source_of(client)
            set_options(connected)
        except OSError:  # it is gone already
            stream.close()
            return
        if listener.tls is None:
            self._let_in(listener.protocol, stream, f"{listener.where}: {client}", source)
            return
        assert self._handshakes is not None
        self._handshakes.begin(
            Handshake(
                connected=connected,
                context=listener.tls,
                client=client,
                where=listener.where,
                address=source,
            )
        )


class ClientLimits:
    """Limits of the number of clients.

    Attributes:
        most: Clients of all users and machines.
        full: Error for a client that finds no room.
    """

    def __init__(self, clients: int) -> None:
        """Allow so many clients of one user or machine."""
        self._clients, self.most = clients, clients + max(1, clients // _KEPT_FOR_OTHERS)
        self.full = ServiceError(
            Code.FULL,
            f"expected at most {clients} clients of one user or "
            f"machine and {self.most} of all, found as many; end one, or "
            "allow more: --clients",
        )

    def crowd(self, source: str, there: Iterable[Connection]) -> list[Connection]:
        """Return the clients of which one must leave before one of that source may come."""
        everyone = [*there]
        own = [client for client in everyone if client.source == source]
        if len(own) >= self._clients:
            return own
        return everyone if len(everyone) >= self.most else []


def ended_for_others(
    crowd: Iterable[Connection], now_ns: int
) -> tuple[Connection, ServiceError] | None:
    """Return the client that has been silent longest, and the error for it; None if all ask."""
    silent = min(crowd, key=lambda client: client.asked_ns)
    if silent.asked_ns >= 0 and now_ns - silent.asked_ns <= IDLE_NS:
        return None
    since = "yet" if silent.asked_ns < 0 else f"for {IDLE_NS // 1_000_000_000} s"
    return silent, ServiceError(Code.FULL, f"has asked nothing {since}, and others come")
