# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TLS over sockets that never wait: handshakes on a thread of their own, for they compute long.

OpenSSL reads a socket for as long as records without data come, such as KeyUpdate or empty ones: a
client that sends them faster than they are decrypted keeps `SSL_read` for ever. Here OpenSSL gets
its records from memory, one for each call, so that each call is bounded whatever comes.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from policy_inference.peers import PeerSlots, Waker

MOST = 32
"""Under way at once; with one more, the address that has most of them loses its oldest."""
WITHIN_S = 3.0
_HEADER_BYTES = 5
_LONGEST_RECORD = _HEADER_BYTES + (1 << 14) + 2048
"""RFC 5246, 6.2.3; TLS 1.3 has shorter ones."""
_MAJOR_VERSION = 3
"""Of each record of SSL 3.0 to TLS 1.3."""
_MOST_WITHOUT_DATA = 16
"""In a row. A client changes its key once in millions of records."""


@dataclass(slots=True, kw_only=True, eq=False)
class Handshake:
    """One of them.

    Attributes:
        connected: The socket; closed where it failed.
        context: What TLS is made from.
        where: It was accepted.
        address: Of the client's machine.
        client: Who it is, for people; with the name in its certificate once that was verified.
        failure: Why it failed; empty where it did not.
        stream: TLS over the socket, once it has begun.
    """

    connected: socket.socket
    context: ssl.SSLContext
    where: str
    address: str
    client: str
    failure: str = ""
    stream: TlsStream | None = None


class Handshakes:
    """Makes them; `begin`, `ended` and `close` belong to one thread."""

    def __init__(self, wake: Callable[[], None], within_s: float = WITHIN_S) -> None:
        """Start the thread.

        Args:
            wake: Called from that thread whenever one has ended.
            within_s: Time for each.
        """
        self._wake, self._count, self._is_closed = wake, 0, False
        self._new, self._ended = deque[Handshake](), deque[Handshake]()
        self._waker, self._selector = Waker(), selectors.DefaultSelector()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._under_way = PeerSlots[Handshake](MOST, within_s)
        self._thread = threading.Thread(target=self._run, name="handshakes", daemon=True)
        self._thread.start()

    @property
    def is_crowded(self) -> bool:
        """Whether those that come push others out."""
        return self._count >= MOST

    @property
    def is_full(self) -> bool:
        """Whether no more can begin: the thread does not keep up."""
        return self._count >= 2 * MOST

    def begin(self, handshake: Handshake) -> None:
        """Begin one; its socket belongs to the thread until it ends."""
        self._count += 1
        self._new.append(handshake)
        self._waker.wake()

    def ended(self) -> list[Handshake]:
        """Return those that have ended since the last call."""
        found = [self._ended.popleft() for _ in range(len(self._ended))]
        self._count -= len(found)
        return found

    def close(self) -> None:
        """End the thread and close the sockets of all handshakes that were not taken over."""
        self._is_closed = True
        self._waker.wake()
        self._thread.join()
        for handshake in (*self._new, *self._under_way, *self._ended):
            handshake.connected.close()
        self._selector.close()
        self._waker.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(self._under_way.left_s()):
                if key.data is not None:
                    self._go_on(key.data)
            self._waker.awake()
            while self._new:
                self._start(self._new.popleft())
            while (handshake := self._under_way.superfluous()) is not None:
                self._end(handshake, "no TLS handshake yet, and others come")
            while (handshake := self._under_way.late()) is not None:
                self._end(handshake, "no TLS handshake in time")

    def _start(self, handshake: Handshake) -> None:
        handshake.stream = TlsStream(handshake.connected, handshake.context)
        self._selector.register(handshake.connected, selectors.EVENT_READ, handshake)
        self._under_way.take(handshake, handshake.address)

    def _go_on(self, handshake: Handshake) -> None:
        """Take one record: a client that sends on and on leaves turns to the others."""
        stream = handshake.stream
        assert stream is not None
        try:
            owner = stream.common_name if stream.shake_hands() else None
        except BlockingIOError:
            events = selectors.EVENT_WRITE if stream.has_unsent else selectors.EVENT_READ
            self._selector.modify(handshake.connected, events, handshake)
        except ssl.SSLCertVerificationError as error:
            self._end(handshake, f"its certificate: {error.verify_message}")
        except OSError as error:
            self._end(handshake, f"TLS: {getattr(error, 'reason', None) or error.strerror}")
        except Exception as error:  # noqa: BLE001  # such as text in a certificate that is none
            self._end(handshake, f"its certificate: {type(error).__name__}: {error}")
        else:
            if owner is not None:
                handshake.client = f"{owner!r} at {handshake.client}" if owner else handshake.client
                self._end(handshake)

    def _end(self, handshake: Handshake, failure: str = "") -> None:
        self._selector.unregister(handshake.connected)
        self._under_way.leave(handshake)
        handshake.failure = failure
        if failure:
            handshake.connected.close()
        self._ended.append(handshake)
        self._wake()


class TlsStream:
    """The server's side of a connection; it is used like a socket that never waits."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        """Take over a connected socket, and wait for a handshake."""
        connected.setblocking(False)
        self._socket = connected
        self._encrypted, self._sending = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted, self._sending, server_side=True)
        self._record = memoryview(bytearray(_LONGEST_RECORD))
        self._got, self._size, self._without_data = 0, _HEADER_BYTES, 0
        self._unsent, self._is_over = b"", False

    @property
    def has_unsent(self) -> bool:
        """Whether the system did not take all that was to be sent."""
        return bool(self._unsent)

    @property
    def common_name(self) -> str:
        """The name in a client's certificate that was verified; empty where there is none."""
        subject: Iterable[Any] = (self._tls.getpeercert() or {}).get("subject", ())
        return next((value for part in subject for key, value in part if key == "commonName"), "")

    def shake_hands(self) -> bool:
        """Go on with the handshake by one record; return whether it is over.

        Call it again when the socket is readable, or writable where it `has_unsent`.

        Raises:
            BlockingIOError: Nothing has come, or the system does not take what is to be sent.
            OSError: It failed, or the client is gone.
        """
        if not self._is_over:
            self._flush()
            if not self._receive_record():
                raise OSError(errno.ECONNRESET, "closed by the client")
            try:
                self._tls.do_handshake()
                self._is_over = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._send_alert()
                raise
        self._flush()
        return self._is_over

    def recv_into(self, into: memoryview) -> int:
        """Receive data of one record at most; return its length, 0 where the client has ended.

        Raises:
            BlockingIOError: No data has come.
            OSError: The client broke the rules of TLS, sends records without data, or is gone.
        """
        if not self._tls.pending() and not self._receive_record():
            return 0
        try:
            # typeshed knows the one without a buffer only, which returns bytes.
            count: int = self._tls.read(len(into), into)  # type: ignore[assignment]
        except ssl.SSLWantReadError:
            self._without_data += 1
            if self._without_data > _MOST_WITHOUT_DATA:
                raise OSError(
                    errno.EPROTO,
                    f"more than {_MOST_WITHOUT_DATA} TLS records in a row without data",
                ) from None
            count = 0
        except ssl.SSLError:
            self._send_alert()
            raise
        else:
            self._without_data = 0
        try:
            self._flush()
        except BlockingIOError:
            raise OSError(errno.EPROTO, "the client does not take what TLS sends") from None
        if self._without_data:
            raise BlockingIOError
        return count

    def recv(self, size: int) -> bytes:
        """Receive as `recv_into` does."""
        into = bytearray(size)
        return bytes(into[: self.recv_into(memoryview(into))])

    def pending(self) -> int:
        """Return how much is decrypted, which no longer shows on the descriptor."""
        return self._tls.pending()

    def send(self, data: memoryview | bytes) -> int:
        """Send all of it, in records; return its length.

        Raises:
            BlockingIOError: The system does not take all: the connection cannot go on.
            OSError: The client is gone.
        """
        sent = self._tls.write(data)
        self._flush()
        return sent

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        # Bytes left unread would make the kernel's last word a reset, not what was said.
        with contextlib.suppress(OSError):
            self._socket.recv(1 << 16)
        self._socket.close()

    def _receive_record(self) -> bool:
        """Hand the next record to OpenSSL; return whether there was one: the client may have ended.

        Raises:
            BlockingIOError: Not all of it has come yet.
            OSError: It is none.
        """
        while self._got < self._size:
            count = self._socket.recv_into(self._record[self._got : self._size])
            if not count:
                return False
            self._got += count
            if self._got == _HEADER_BYTES == self._size:
                self._size += int.from_bytes(self._record[3:_HEADER_BYTES], "big")
                if self._record[1] != _MAJOR_VERSION or self._size > _LONGEST_RECORD:
                    raise OSError(errno.EPROTO, "expected a TLS record, found other bytes")
        self._encrypted.write(self._record[: self._size])
        self._got, self._size = 0, _HEADER_BYTES
        return True

    def _send_alert(self) -> None:
        """Say why the connection ends, as far as the client takes it."""
        with contextlib.suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        if self._sending.pending:
            self._unsent += self._sending.read()
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
