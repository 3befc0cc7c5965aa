# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Framed-protocol connections: a HELLO, then observations and actions in frames."""

from __future__ import annotations

import contextlib
import socket
import time

import numpy as np

from policy_core.interfaces import F32
from policy_inference.service.connection import Connection
from policy_inference.service.protocol import (
    ANY,
    HEADER,
    HELLO_BYTES,
    MAGIC,
    RESET,
    VERSION,
    Code,
    FrameHeader,
    Hello,
    ServiceError,
    Transport,
    Type,
    Welcome,
    error_frame,
    frame,
    read_header,
)
from policy_inference.service.serving import ClientSession, ServedModel
from policy_inference.service.shared_memory import WAKE, ServiceMemory

_ITEM = 4
# Plain numbers: in Python 3.11 each access to an enumeration member is a call.
_OBSERVATION, _ACTION = int(Type.OBSERVATION), int(Type.ACTION)
_HEADER_BYTES = HEADER.size
_OF_EACH = FrameHeader._fields.index("sequence")
"""Index of `sequence` in a header; most clients send the same earlier fields in every request."""
_MOST_WAKES = 64
"""Maximum number of wake-ups read at once; a correct client sends one, rarely two."""


class FramedConnection(Connection):
    """A framed-protocol client, which identifies itself and receives errors with reasons."""

    protocol = "framed"

    def __init__(self, connected: socket.socket, name: str, model: ServedModel) -> None:
        super().__init__(connected, name, model)
        # One byte more than a frame reveals a client that sends more than one.
        self._request = memoryview(bytearray(HELLO_BYTES + 1))
        self._header = FrameHeader(*[0] * len(FrameHeader._fields))
        self._answer, self._answer_row_bytes = memoryview(b""), 0
        self._usual: tuple[int, ...] = ()
        self._wakes = memoryview(bytearray(_MOST_WAKES))

    def read(self) -> bool:
        if self.memory is not None:
            self._take_wakes()
            return self.read_memory()
        return self._take()

    def has_more(self) -> bool:
        return self.memory is None and super().has_more()

    def answer(self) -> None:
        """Send ACTION; raise the error if there is no answer."""
        session, header = self.session, self._header
        assert session is not None
        if session.problem is not None:
            raise session.problem
        rows = header.rows
        length = rows * self._answer_row_bytes
        HEADER.pack_into(
            self._answer,
            0,
            MAGIC,
            VERSION,
            _ACTION,
            0,
            length,
            rows,
            header.sequence,
            header.stamp_ns,
            time.monotonic_ns(),
        )
        said = self._answer[: _HEADER_BYTES + length]
        if self.memory is None:
            self._send_whole(said)
        elif self.memory.answer(said):
            self._wake()

    def say(self, error: ServiceError) -> None:
        """Send an ERROR about the latest frame."""
        said = error_frame(
            error,
            sequence=self._header.sequence,
            stamp_ns=self._header.stamp_ns,
            answered_ns=time.monotonic_ns(),
        )
        if self.memory is not None and self.memory.reply_pending and self.memory.answer(said):
            self._wake()
        if self.memory is None or error.code.closes:
            self._send_whole(said)

    def read_memory(self) -> bool:
        """Take a request from shared memory; return True if there is one."""
        assert self.memory is not None
        assert self.session is not None
        if not self.memory.take(self._request[:-1]):
            return False
        self._header = header = read_header(self._request)
        self._check(header)
        self._begin(self.session, header)
        return True

    def _take(self) -> bool:
        """Implement `read` for a request over the socket, with one system call."""
        got = self._got
        got += self._receive(self._request[got:] if got else self._request)
        self._got = got
        if got < _HEADER_BYTES:
            return False
        self._header = header = read_header(self._request)
        self._check(header)
        size = _HEADER_BYTES + header.length
        if got < size:
            return False
        if got > size:
            raise ServiceError(
                Code.NOT_IN_TURN, "sent a second frame before the first was answered"
            )
        self._got, session = 0, self.session
        if session is None:
            self._greet(Hello.unpack(bytes(self._request[HEADER.size : size])))
            return False
        self._begin(session, header)
        return True

    def _take_wakes(self) -> None:
        """Read the bytes that woke the service."""
        count = self._receive(self._wakes)
        if any(self._wakes[:count]):
            raise ServiceError(
                Code.BAD_FRAME,
                "expected requests through shared memory, found bytes over the connection",
            )

    def _wake(self) -> None:
        """Wake a sleeping client, which costs the same as an answer through the socket."""
        # If the socket is full, the client has been woken often enough; if broken, the next read
        # notices.
        with contextlib.suppress(OSError):
            self._send(WAKE)

    def _begin(self, session: ClientSession, header: FrameHeader) -> None:
        session.rows = header.rows
        if header.flags == RESET:
            session.restarts = True

    def _check(self, header: FrameHeader) -> None:
        if header[:_OF_EACH] == self._usual:
            return
        session = self.session
        if session is None:
            size = HELLO_BYTES - HEADER.size
            if header.type == Type.HELLO and header.length == size and not header.flags:
                return
            raise ServiceError(
                Code.BAD_FRAME,
                f"expected a HELLO of {size} bytes with "
                f"flags 0 first, found a frame of type {header.type}, "
                f"{header.length} bytes, flags {header.flags}",
            )
        rows, obs_dim = session.observation.shape
        if (
            header.type == _OBSERVATION
            and 1 <= header.rows <= rows
            and header.length == header.rows * obs_dim * _ITEM
            and header.flags in (0, RESET)
        ):
            return
        raise ServiceError(
            Code.BAD_FRAME,
            f"expected OBSERVATION of 1 to {rows} rows of "
            f"{obs_dim * _ITEM} bytes with flags 0 or {RESET}, found a frame of "
            f"type {header.type}, {header.rows} rows, {header.length} bytes, flags "
            f"{header.flags}",
        )

    def _greet(self, hello: Hello) -> None:
        model = self._model
        answer_dim = model.answer_dim(hello.answer)
        _require_same_policy(hello, model, answer_dim)
        model.require_offered(hello)
        request = bytearray(HEADER.size + hello.rows * model.obs_dim * _ITEM + 1)
        answer = bytearray(HEADER.size + hello.rows * answer_dim * _ITEM)
        self.session = model.open_session(
            hello, _rows(request, hello.rows, model.obs_dim), _rows(answer, hello.rows, answer_dim)
        )
        self._request, self._answer = memoryview(request), memoryview(answer)
        self._answer_row_bytes = answer_dim * _ITEM
        self._usual = (
            MAGIC,
            VERSION,
            _OBSERVATION,
            0,
            hello.rows * model.obs_dim * _ITEM,
            hello.rows,
        )
        if hello.transport is Transport.SHARED_MEMORY:
            self.memory = ServiceMemory(hello.rows, model.obs_dim, answer_dim)
        self._welcome(
            Welcome(
                policy_sha256=model.sha256,
                obs_dim=model.obs_dim,
                act_dim=answer_dim,
                rows=hello.rows,
                shared_bytes=self.memory.bytes if self.memory else 0,
                rate_hz=model.rate_hz,
                name=model.name,
                version=model.version,
                joints=model.joints,
            )
        )

    def _welcome(self, welcome: Welcome) -> None:
        said = frame(
            Type.WELCOME,
            welcome.pack(),
            sequence=self._header.sequence,
            stamp_ns=self._header.stamp_ns,
            answered_ns=time.monotonic_ns(),
        )
        if self.memory is None:
            self._send_whole(said)
        else:
            self._send_whole(said, (self.memory.file,))
            self.memory.passed()


def _require_same_policy(hello: Hello, model: ServedModel, answer_dim: int) -> None:
    if hello.policy_sha256 not in (ANY, model.sha256):
        raise ServiceError(
            Code.OTHER_POLICY,
            f"expected a client of {model.name} {model.version} "
            f"(sha256 {model.sha256.hex()}), found one built for "
            f"{hello.policy_sha256.hex()}",
        )
    for name, asked, there in (
        ("obs_dim", hello.obs_dim, model.obs_dim),
        ("act_dim", hello.act_dim, answer_dim),
    ):
        if asked not in (0, there):
            raise ServiceError(
                Code.OTHER_POLICY,
                f"expected {name} {there} of {model.name} {model.version}, found {asked}",
            )


def _rows(buffer: bytearray, rows: int, columns: int) -> F32:
    return np.frombuffer(buffer, "<f4", rows * columns, HEADER.size).reshape(rows, columns)
