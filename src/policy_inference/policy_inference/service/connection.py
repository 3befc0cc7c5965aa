# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A client's connection: requests arrive on a non-blocking socket, and answers leave on it."""

from __future__ import annotations

import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from policy_inference.service.protocol import Answer, Code, Hello, ServiceError
from policy_inference.service.serving import ClientSession, ServedModel
from policy_inference.service.shared_memory import ServiceMemory

_CREDENTIALS = struct.Struct("3i")
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}
"""Keep-alive settings (s and counts): a failed peer or cable is detected after about 11 s."""
_USER_TIMEOUT_MS = 10_000
"""Maximum time without acknowledgement of an answer."""
_DRAINED_BYTES = 1 << 16


class Disconnected(Exception):  # noqa: N818  # mostly no error: clients come and go
    """The connection is closed and can no longer be used."""


class Connection(ABC):
    """Common parts of both protocols; call all methods on the loop's thread.

    Attributes:
        protocol: "raw" or "framed".
        name: The client's name, used in messages.
        session: Session with the model; None until a framed-protocol client has been welcomed.
        asked_ns: Time of the client's last request or HELLO; negative if there was none.
        memory: Shared memory for the client's requests, if requested; otherwise None.
    """

    protocol: str

    def __init__(self, connected: socket.socket, name: str, model: ServedModel) -> None:
        self._socket, self.name, self._model = connected, name, model
        self._recv_into, self._send = connected.recv_into, connected.send
        self.session: ClientSession | None = None
        self.asked_ns, self._got = -1, 0
        self.memory: ServiceMemory | None = None

    @property
    def is_incomplete(self) -> bool:
        """True if a request has arrived only in part."""
        return self._got > 0

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    @abstractmethod
    def read(self) -> bool:
        """Receive without waiting; return True if a request is complete.

        At most one request is taken, so that clients share each pass of the loop equally.
        """

    def has_more(self) -> bool:
        """Return True if the client sent more before its answer; consumes one byte of that data.

        A client that has only closed its sending half still gets the answer.
        """
        try:
            return bool(self._socket.recv(1))
        except OSError:
            return False

    @abstractmethod
    def answer(self) -> None:
        """Send the answer to the complete request."""

    @abstractmethod
    def say(self, error: ServiceError) -> None:
        """Send an error to the client, if the protocol and the client permit it."""

    def close(self) -> None:
        """Close the socket, and release the memory."""
        if self.memory is not None:
            self.memory.close()
        # Unread bytes would make the kernel send a reset instead of the last message.
        with contextlib.suppress(OSError):
            self._socket.recv(_DRAINED_BYTES)
        self._socket.close()

    def _receive(self, into: memoryview) -> int:
        """Receive what has arrived; return the number of bytes, 0 if nothing has arrived."""
        try:
            count = self._recv_into(into)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Disconnected(error.strerror or str(error)) from None
        if not count:
            raise Disconnected(
                "closed by the client in the middle of a request"
                if self.is_incomplete
                else "closed by the client"
            )
        return count

    def _send_whole(self, data: memoryview | bytes, files: Sequence[int] = ()) -> None:
        """Send everything; a client that does not read is disconnected."""
        try:
            sent = socket.send_fds(self._socket, [data], files) if files else self._send(data)
            if sent == len(data):
                return
        except BlockingIOError:
            pass
        except OSError as error:
            raise Disconnected(error.strerror or str(error)) from None
        raise Disconnected("the client does not read its answers")


def client_name(connected: socket.socket, address: object) -> str:
    """Return the peer's name, used in messages."""
    if connected.family == socket.AF_UNIX:
        pid, uid, _ = _CREDENTIALS.unpack(
            connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        return f"user {uid}, process {pid}"
    assert isinstance(address, tuple)
    return f"{address[0]}, port {address[1]}"


def set_options(connected: socket.socket) -> None:
    """Set socket options that make TCP fast and detect a dead peer."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


_HELLO = Hello()
_ITEM = 4


class RawConnection(Connection):
    """Raw-protocol connection for one robot, whose observations are scaled."""

    protocol = "raw"

    def __init__(self, connected: socket.socket, name: str, model: ServedModel) -> None:
        super().__init__(connected, name, model)
        self._size = _ITEM * model.obs_dim
        # One byte more than a request reveals a client that sends more than one.
        buffer = bytearray(self._size + 1)
        answer = bytearray(_ITEM * model.answer_dim(Answer.ACTION))
        self._request, self._answer = memoryview(buffer), memoryview(answer)
        self.session = model.open_session(
            _HELLO,
            np.frombuffer(buffer, "<f4", model.obs_dim).reshape(1, -1),
            np.frombuffer(answer, "<f4").reshape(1, -1),
        )

    def read(self) -> bool:
        got = self._got
        got += self._receive(self._request[got:] if got else self._request)
        if got == self._size:
            self._got = 0
            return True
        self._got = got
        if got > self._size:
            raise ServiceError(
                Code.NOT_IN_TURN,
                f"sent a second request before the first ({self._size} bytes) was answered",
            )
        return False

    def answer(self) -> None:
        """Send the action; an unusable action ends the connection."""
        assert self.session is not None
        if self.session.problem is not None:
            raise self.session.problem
        self._send_whole(self._answer)

    def say(self, error: ServiceError) -> None:
        """Do nothing, since the protocol has no error messages."""
