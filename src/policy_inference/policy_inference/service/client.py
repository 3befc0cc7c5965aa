# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Python client for the inference service, over its framed protocol."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np
import numpy.typing as npt

from policy_core.errors import PolicyError
from policy_core.interfaces import F32
from policy_inference.service.protocol import (
    HEADER,
    RESET,
    Code,
    FrameHeader,
    Hello,
    ServiceError,
    Transport,
    Type,
    Welcome,
    frame,
    read_header,
)
from policy_inference.service.shared_memory import WAKE, ClientMemory

_LONGEST = 1 << 20
_LATE = "the policy service did not answer in time"


def connect(path: str, hello: Hello | None = None, *, timeout_s: float = 1.0) -> PolicyClient:
    """Connect to a framed socket.

    Args:
        path: Socket path.
        hello: HELLO request; by default for one robot, any policy, SCALED values, over the socket.
        timeout_s: Time limit for connecting, and later for each answer.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_s)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise PolicyError(f"{path}: expected a policy service, found: {error}") from error
    return PolicyClient(connection, hello or Hello(), timeout_s=timeout_s)


class PolicyClient:
    """A connection over the framed protocol; requests use shared memory if the HELLO selects it.

    Use it from one thread only. An error makes it unusable, so close it and connect again, except
    after an error about a single observation (its `Code.closes` is False).

    Attributes:
        welcome: Description of the served policy.
    """

    def __init__(self, connection: socket.socket, hello: Hello, *, timeout_s: float = 1.0) -> None:
        self._stream, self._timeout_s, self._sequence = _FrameStream(connection), timeout_s, 0
        self._through: _FrameStream | _Shared = self._stream
        try:
            self._stream.send(frame(Type.HELLO, hello.pack()), timeout_s)
            shared = hello.transport is Transport.SHARED_MEMORY
            header, payload = self._stream.receive(files=int(shared))
            if header.type != Type.WELCOME:
                raise ServiceError(Code.BAD_FRAME, f"expected a WELCOME, found {header}")
            self.welcome = Welcome.unpack(payload)
            if shared:
                self._through = _Shared(self._stream, self.welcome)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def infer(self, observation: npt.ArrayLike, *, stamp_ns: int = 0, reset: bool = False) -> F32:
        """Return the policy's answer to an observation.

        Args:
            observation: Observation of one robot [obs_dim], or of all [rows, obs_dim].
            stamp_ns: Time of measurement, on this client's clock.
            reset: True to reset the recurrent state first.

        Returns:
            Answers [rows, act_dim], owned by the caller.
        """
        rows = np.atleast_2d(np.asarray(observation, "<f4"))
        if rows.shape[1:] != (self.welcome.obs_dim,) or len(rows) > self.welcome.rows:
            raise ValueError(
                f"observation: expected an array of shape [rows, {self.welcome.obs_dim}] with "
                f"rows <= {self.welcome.rows}, found shape {list(rows.shape)}"
            )
        self._sequence += 1
        self._through.send(
            frame(
                Type.OBSERVATION,
                rows.tobytes(),
                flags=RESET if reset else 0,
                rows=len(rows),
                sequence=self._sequence,
                stamp_ns=stamp_ns,
            ),
            self._timeout_s,
        )
        header, payload = self._through.receive()
        expected = Type.ACTION, self._sequence, len(rows), 4 * len(rows) * self.welcome.act_dim
        if (header.type, header.sequence, header.rows, header.length) != expected:
            raise ServiceError(
                Code.BAD_FRAME,
                f"expected action {self._sequence} for {len(rows)} robots, found {header}",
            )
        return np.frombuffer(payload, "<f4").reshape(len(rows), -1).astype(np.float32)

    def close(self) -> None:
        self._through.close()


class _FrameStream:
    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.deadline_s = connection, 0.0
        self.files = list[int]()
        """File descriptors that arrived with frames."""

    def send(self, data: bytes, timeout_s: float) -> None:
        self.deadline_s = time.monotonic() + timeout_s
        with _as_errors():
            self.connection.settimeout(timeout_s)
            self.connection.sendall(data)

    def receive(self, files: int = 0, begin: bytes = b"") -> tuple[FrameHeader, bytes]:
        """Return the next frame, within the time limit since the last send; raise any ERROR."""
        header = read_header(begin + self._exactly(HEADER.size - len(begin), files))
        if header.length > _LONGEST:
            raise ServiceError(Code.BAD_FRAME, f"expected at most {_LONGEST} bytes, found {header}")
        return _no_error(header, self._exactly(header.length))

    def sleep(self) -> None:
        """Return once the service wakes this client; raise the error in an ERROR frame."""
        said = self._some(HEADER.size).lstrip(WAKE)
        if said:
            self.receive(begin=said)

    def _exactly(self, size: int, files: int = 0) -> bytes:
        data = b""
        while len(data) < size:
            data += self._some(size - len(data), files)
        return data

    def _some(self, size: int, files: int = 0) -> bytes:
        with _as_errors():
            # 0 would mean non-blocking, which fails with another error than a timeout.
            self.connection.settimeout(max(1e-6, self.deadline_s - time.monotonic()))
            if files:
                part, found, _, _ = socket.recv_fds(self.connection, size, files)
                self.files += found
            else:
                part = self.connection.recv(size)
        if not part:
            raise PolicyError("the policy service has closed the connection")
        return part

    def close(self) -> None:
        for fd in self.files:
            os.close(fd)
        self.files.clear()
        self.connection.close()


class _Shared:
    """Frames in shared memory; the end of the session still arrives over the connection."""

    def __init__(self, stream: _FrameStream, welcome: Welcome) -> None:
        if len(stream.files) != 1:
            raise ServiceError(
                Code.BAD_FRAME,
                f"expected one descriptor with the WELCOME, found {len(stream.files)}",
            )
        self._stream, self._memory = stream, ClientMemory(stream.files[0], welcome)

    def send(self, data: bytes, timeout_s: float) -> None:
        self._stream.deadline_s = time.monotonic() + timeout_s
        if self._memory.request(data):
            try:
                self._stream.send(WAKE, timeout_s)
            except ServiceError:
                raise
            except PolicyError:  # The service has ended: `receive` reads its last message.
                return

    def receive(self) -> tuple[FrameHeader, bytes]:
        while not self._memory.answered():
            self._stream.sleep()
        answer = self._memory.take()
        header = read_header(answer)
        if header.length > len(answer) - HEADER.size:
            raise ServiceError(
                Code.BAD_FRAME, f"expected a frame of {len(answer)} bytes, found {header}"
            )
        return _no_error(header, answer[HEADER.size : HEADER.size + header.length])

    def close(self) -> None:
        self._memory.close()
        self._stream.close()


def _no_error(header: FrameHeader, payload: bytes) -> tuple[FrameHeader, bytes]:
    """Return the frame; raise the error in an ERROR frame."""
    if header.type != Type.ERROR:
        return header, payload
    try:
        code = Code(header.rows)
    except ValueError:
        code = Code.BAD_FRAME
    raise ServiceError(code, payload.decode("utf-8", "replace"))


@contextmanager
def _as_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise ServiceError(Code.TOO_LATE, _LATE) from None
    except OSError as error:
        raise PolicyError(f"the connection to the policy service has ended: {error}") from error
