# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service and its clients in one thread: what a client sees follows from the passes alone."""

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32
from policy_inference.backends.registry import open_models
from policy_inference.service.batching import batch_axes, with_rows
from policy_inference.service.connection import Connection
from policy_inference.service.endpoints import EndpointOptions, Listener, open_listeners
from policy_inference.service.loop import ServiceLoop
from policy_inference.service.observer import Observer
from policy_inference.service.policy import make_served
from policy_inference.service.protocol import (
    HEADER,
    Code,
    FrameHeader,
    Hello,
    ServiceError,
    Type,
    frame,
    read_header,
)
from policy_inference.service.serving import ClientSession, ServedModel
from policy_inference.testing.models import weights

from ..nodes.bundles import write_bundle

OBS_DIM, ACT_DIM, BATCH = 15, 2, 4
MS = 1_000_000
PASS_S = 5.0
"""Far longer than any pass waits for what was sent before it."""


class Model(ServedModel):
    """The real one, of which a test says what happens while it computes."""

    meanwhile: Callable[[], None] | None = None
    together: int = 0
    """Most sessions that were in one inference."""

    def infer(self, sessions: Iterable[ClientSession]) -> None:
        sessions = list(sessions)
        self.together = max(self.together, len(sessions))
        super().infer(sessions)
        if self.meanwhile is not None:
            self.meanwhile()


class Notes(Observer):
    def __init__(self) -> None:
        self.ended = list[str]()
        self.codes = list[Code]()
        self.exhausted = list[str]()

    def disconnected(self, connection: Connection, reason: str) -> None:
        self.ended.append(reason)

    def failed(self, connection: Connection, error: ServiceError) -> None:
        self.codes.append(error.code)

    def cannot_accept(self, where: str, reason: str) -> None:
        self.exhausted.append(reason)


class Clock:
    ns = 0

    def __call__(self) -> int:
        return self.ns


class Service:
    """A loop over real sockets, of which a test makes the passes."""

    def __init__(
        self,
        folder: Path,
        asked: EndpointOptions | None = None,
        *,
        clients: int = 64,
        spin_ns: int = 0,
        watched_by: Callable[[Model, Clock], Observer] | None = None,
    ) -> None:
        bundle = load_bundle(write_bundle(folder / "bundle", batch="rows"), kind=JointBundle)
        files, (_, file) = bundle.models[0], bundle.artifact("onnx")
        axes = batch_axes("onnx", file, ())
        backend, batched = (
            open_models([one], ["onnx"]).first for one in (files, with_rows(files, axes, BATCH))
        )
        self.raw, self.framed = folder / "raw.sock", folder / "framed.sock"
        self.model = Model(make_served(bundle), backend, (batched, axes, BATCH))
        self.notes, self.clock = Notes(), Clock()
        usual = EndpointOptions(socket=self.raw, framed_socket=self.framed)
        self.listeners: Sequence[Listener] = open_listeners(asked or usual)
        observer = watched_by(self.model, self.clock) if watched_by else self.notes
        how: Any = {"clients": clients, "spin_ns": spin_ns, "clock": self.clock}
        self.loop = ServiceLoop(self.model, self.listeners, observer=observer, **how)
        self._clients = contextlib.ExitStack()

    def close(self) -> None:
        self._clients.close()
        self.loop.close()
        self.model.close()

    def settle(self) -> None:
        """Make passes until there is nothing to do."""
        for _ in range(8):
            self.loop.step(0)

    def after(self, ms: float) -> None:
        """Let time pass, and the loop notice."""
        self.clock.ns += int(ms * MS)
        self.loop.step(0)

    def connect(self, path: Path | None = None) -> socket.socket:
        """Connect a client; the loop lets it in with its next pass."""
        client = self._clients.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(PASS_S)
        client.connect(str(path or self.raw))
        return client

    def welcomed(self, hello: Hello | None = None) -> socket.socket:
        """Connect a client of the framed protocol that was welcomed."""
        client = self.connect(self.framed)
        client.sendall(frame(Type.HELLO, (hello or Hello()).pack()))
        self.settle()
        header, _ = receive_frame(client)
        assert header.type == Type.WELCOME
        return client


@contextlib.contextmanager
def serving(
    folder: Path, asked: EndpointOptions | None = None, *, clients: int = 64, spin_ns: int = 0
) -> Iterator[Service]:
    service = Service(folder, asked, clients=clients, spin_ns=spin_ns)
    try:
        yield service
    finally:
        service.close()


def random_observation(seed: int = 0, rows: int = 1) -> F32:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, OBS_DIM)).astype(np.float32)


def expected_action(rows: F32) -> F32:
    found: F32 = rows @ weights(OBS_DIM, ACT_DIM)
    return found


def observation_frame(rows: F32, sequence: int = 1, flags: int = 0) -> bytes:
    return frame(Type.OBSERVATION, rows.tobytes(), rows=len(rows), sequence=sequence, flags=flags)


def receive(client: socket.socket, size: int) -> bytes:
    """Receive so many bytes, less where the service has closed."""
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def receive_action(client: socket.socket) -> F32:
    return np.frombuffer(receive(client, 4 * ACT_DIM), np.float32)


def require_action(client: socket.socket, seed: int = 0) -> None:
    """Receive the answer to a random observation over the raw protocol."""
    np.testing.assert_allclose(
        receive_action(client), expected_action(random_observation(seed))[0], rtol=1e-5
    )


def receive_frame(client: socket.socket) -> tuple[FrameHeader, bytes]:
    header = read_header(receive(client, HEADER.size))
    return header, receive(client, header.length)


def receive_error(client: socket.socket) -> Code:
    header, _ = receive_frame(client)
    assert header.type == Type.ERROR
    return Code(header.rows)


def closed_by_service(client: socket.socket) -> bool:
    """Return whether the service has closed it; what it said before must have been read."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        client.settimeout(PASS_S)
