# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Connections of the raw protocol: float32 in, float32 out; errors are a connection that ends."""

from __future__ import annotations

import socket

import numpy as np

from policy_inference.service.connection import Connection
from policy_inference.service.protocol import Answer, Code, Hello, ServiceError
from policy_inference.service.serving import ServedModel

_HELLO = Hello()
_ITEM = 4


class RawConnection(Connection):
    """One robot, whose observations are scaled."""

    protocol = "raw"

    def __init__(self, connected: socket.socket, name: str, model: ServedModel) -> None:
        """Begin a session."""
        super().__init__(connected, name, model)
        self._size = _ITEM * model.obs_dim
        # One byte more than a request shows that a client sent more than one.
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
                Code.NOT_IN_TURN, f"more bytes than one request of {self._size} before its answer"
            )
        return False

    def answer(self) -> None:
        """Send the action; a problem with it ends the connection."""
        assert self.session is not None
        if self.session.problem is not None:
            raise self.session.problem
        self._send_whole(self._answer)

    def say(self, error: ServiceError) -> None:
        """Say nothing: the protocol has no words for it."""
