# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How clients come in: accepted a few at a time, and through TLS where their endpoint has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

from policy_inference.service.connection import Stream, client_name, set_options, source_of
from policy_inference.service.endpoints import Listener
from policy_inference.service.handshakes import Handshake, Handshakes
from policy_inference.service.observer import Observer
from policy_inference.service.unix_stream import Closer, UnixStream

PAUSE_NS = 5_000_000
"""After which clients are accepted again where the system or the handshakes can take few."""
LOOK_NS = 1_000_000_000
_ACCEPTED_PER_PASS = 2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

LetIn = Callable[[str, Stream, str, str], None]
"""Told the protocol, what is connected, and the client's name and source."""


class Entrance:
    """Takes clients from the listeners; all methods belong to the thread of the loop."""

    def __init__(
        self, listeners: Sequence[Listener], let_in: LetIn, observer: Observer,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        """Begin.

        Args:
            listeners: Where clients arrive.
            let_in: Gets those that are in.
            observer: Is told of those that are not.
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
        self._closer.end()
        for listener in self._listeners:
            listener.close()

    def _greet(self, listener: Listener, connected: socket.socket, address: Any) -> None:
        connected.setblocking(False)
        stream = (UnixStream(connected, self._closer.close)
                  if connected.family == socket.AF_UNIX else connected)
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
        self._handshakes.begin(Handshake(connected=connected, context=listener.tls, client=client,
                                         where=listener.where, address=source))
