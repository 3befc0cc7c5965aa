# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TLS over a socket that never waits, one record at a time.

OpenSSL reads a socket for as long as records without data come, such as KeyUpdate or empty ones: a
client that sends them faster than they are decrypted keeps `SSL_read` for ever. Here OpenSSL gets
its records from memory, one for each call, so that each call is bounded whatever comes.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Iterable
from typing import Any

_HEADER_BYTES = 5
_LONGEST_RECORD = _HEADER_BYTES + (1 << 14) + 2048
"""RFC 5246, 6.2.3; TLS 1.3 has shorter ones."""
_MAJOR_VERSION = 3
"""Of each record of SSL 3.0 to TLS 1.3."""
_MOST_WITHOUT_DATA = 16
"""In a row. A client changes its key once in millions of records."""


class TlsStream:
    """The server's side of a connection; it is used like a socket that never waits.

    Attributes:
        has_unsent: Whether the system did not take all that was to be sent.
    """

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
        """See the class."""
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
                raise OSError(errno.EPROTO, f"more than {_MOST_WITHOUT_DATA} TLS records in a row "
                              "without data") from None
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
        return bytes(into[:self.recv_into(memoryview(into))])

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
            count = self._socket.recv_into(self._record[self._got:self._size])
            if not count:
                return False
            self._got += count
            if self._got == _HEADER_BYTES == self._size:
                self._size += int.from_bytes(self._record[3:_HEADER_BYTES], "big")
                if self._record[1] != _MAJOR_VERSION or self._size > _LONGEST_RECORD:
                    raise OSError(errno.EPROTO, "expected a TLS record, found other bytes")
        self._encrypted.write(self._record[:self._size])
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
            self._unsent = self._unsent[self._socket.send(self._unsent):]
