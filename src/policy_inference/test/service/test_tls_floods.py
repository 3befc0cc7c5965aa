# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TLS clients without token or HELLO that keep OpenSSL busy: the others get their answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from policy_inference.service.credentials import server_context
from policy_inference.service.endpoints import Asked
from policy_inference.service.protocol import Type

from .certificates import make_certificate
from .lockstep import PASS_S, Service, observation, receive_frame, request, serving
from .openssl_client import LIBRARY, OpensslClient

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libssl here")
UPDATES, PASSES = 20_000, 10


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = make_certificate(tmp_path, "service")
    context, _ = server_context(made.cert, made.key)
    with serving(tmp_path, Asked(framed_tcp=("127.0.0.1", 0), framed_socket=tmp_path /
                                 "framed.sock", tls=context), token=b"") as opened:  # fmt: skip
        yield opened


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(service: Service, clients: ExitStack) -> tuple[socket.socket, OpensslClient]:
    """Return a client that the loop has let in after its handshake, and its socket."""
    port = next(listener.port for listener in service.listeners if listener.port)
    connected = clients.enter_context(socket.create_connection(("127.0.0.1", port), PASS_S))
    service.loop.step(PASS_S)
    client = OpensslClient(connected)
    clients.callback(client.close)
    known = len(service.notes.names)
    while len(service.notes.names) == known:
        service.loop.step(PASS_S)
    return connected, client


@pytest.mark.parametrize("answered", [False, True])
def test_a_flood_of_key_updates_is_sent_away_and_holds_up_nobody(
    service: Service, clients: ExitStack, answered: bool
) -> None:
    local, (connected, hostile) = service.welcomed(), connect(service, clients)
    records, taken = hostile.key_updates(UPDATES, answered=answered), list[int]()
    began = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):  # sent away
            while sum(taken) < len(records):
                taken.append(connected.send(records[sum(taken):]))
                began.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert began.wait(PASS_S)
    for sequence in range(PASSES):
        local.sendall(request(observation(), sequence=sequence))
        service.settle()
        assert receive_frame(local)[0].sequence == sequence
    with contextlib.suppress(OSError):  # sent away
        connected.shutdown(socket.SHUT_RDWR)
    thread.join()

    assert service.notes.ended == ["more than 16 TLS records in a row without data"]
    local.sendall(request(observation()))
    service.settle()
    assert receive_frame(local)[0].type == Type.ACTION
