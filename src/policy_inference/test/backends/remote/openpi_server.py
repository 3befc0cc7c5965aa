# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A server of openpi's protocol for tests, which refuses what a real one refuses.

It speaks first, with its metadata; it answers in order; it decodes arrays by keys that are bytes;
it answers an error with a text and ends the connection with code 1011.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from websockets.datastructures import Headers
from websockets.sync.server import ServerConnection, serve

from policy_core.interfaces import TensorSpec

STEPS, JOINTS = 4, 2
IMAGE = TensorSpec(name="image", shape=(1, 3, 6, 8), dtype="uint8")
STATE = TensorSpec(name="state", shape=(1, JOINTS))
CHUNK = TensorSpec(name="actions", shape=(1, STEPS, JOINTS))
ARTIFACT = """
images: {observation/image: image}
state: {observation/state: state}
prompt: reach
metadata: {policy: reach, version: "3"}
"""
Policy = Callable[[dict[str, Any]], Any]


def right(seen: dict[str, Any]) -> dict[str, Any]:
    """Answer as the policy of the tests does: the state, plus the mean of the image per step."""
    step = seen["observation/image"].mean() + len(seen.get("prompt", ""))
    actions = seen["observation/state"] + step * np.arange(STEPS)[:, np.newaxis]
    return {"actions": actions.astype(np.float64), "server_timing": {"infer_ms": 1.5}}


class OpenpiServer:
    """One that runs until it is closed; `policy` may be replaced at any time."""

    connection: ServerConnection
    """The last one."""

    def __init__(self, metadata: Any = None, port: int = 0) -> None:
        self.metadata: Any = {"policy": "reach", "version": 3} if metadata is None else metadata
        self.policy: Policy = right
        self.seen: list[dict[str, Any]] = []
        self.headers = Headers()
        self._server = serve(self._handle, "127.0.0.1", port, compression=None, max_size=None)
        # Little, so that a client notices when it stops reading.
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers, self.connection = connection.request.headers, connection
        connection.send(packed_answer(self.metadata))
        for content in connection:
            assert isinstance(content, bytes)
            try:
                seen = msgpack.unpackb(content, object_hook=_decoded_array)
                self.seen.append(seen)
                answer = self.policy(seen)
            except Exception as error:  # noqa: BLE001  # as the real one: whatever it is
                connection.send(f"Traceback (most recent call last):\n{error!r}")
                connection.close(
                    1011, "Internal server error. Traceback included in previous frame."
                )
                return
            connection.send(answer if isinstance(answer, bytes | str) else packed_answer(answer))


def packed_answer(value: Any) -> bytes:
    """Return what the server sends for a value."""

    def plain(array: Any) -> Any:
        if array.dtype.kind in "VOc":
            raise ValueError(f"unsupported dtype {array.dtype}")
        return {
            b"__ndarray__": True,
            b"data": array.tobytes(),
            b"dtype": array.dtype.str,
            b"shape": array.shape,
        }

    content: bytes = msgpack.packb(value, default=plain)
    return content


def _decoded_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in value:
        return value
    return np.ndarray(value[b"shape"], np.dtype(value[b"dtype"]), value[b"data"])
