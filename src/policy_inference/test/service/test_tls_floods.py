# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TLS clients without token or HELLO that keep OpenSSL busy: the others get their answers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from policy_inference.service.credentials import server_context
from policy_inference.service.endpoints import EndpointOptions
from policy_inference.service.loop import HELLO_WITHIN_NS
from policy_inference.service.protocol import HEADER, Code, Hello, Type, frame, read_header
from testkit.wording import check_wording

from .certificates import make_certificate
from .lockstep import (
    MS,
    PASS_S,
    Service,
    observation_frame,
    random_observation,
    receive_frame,
    serving,
)
from .openssl_client import LIBRARY, OpensslClient

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libssl here")
UPDATES, PASSES = 20_000, 10


@pytest.fixture
def tls_only_service(tmp_path: Path) -> Iterator[Service]:
    made = make_certificate(tmp_path, "service")
    context, _ = server_context(made.cert, made.key)
    with serving(
        tmp_path,
        EndpointOptions(
            framed_tcp=("127.0.0.1", 0), framed_socket=tmp_path / "framed.sock", tls=context
        ),
        token=b"",
    ) as opened:
        yield opened


def connect_openssl(
    tls_only_service: Service, clients: ExitStack
) -> tuple[socket.socket, OpensslClient]:
    """Return a client that the loop has let in after its handshake, and its socket."""
    port = next(listener.port for listener in tls_only_service.listeners if listener.port)
    connected = clients.enter_context(socket.create_connection(("127.0.0.1", port), PASS_S))
    tls_only_service.loop.step(PASS_S)
    client = OpensslClient(connected)
    clients.callback(client.close)
    known = len(tls_only_service.notes.names)
    while len(tls_only_service.notes.names) == known:
        tls_only_service.loop.step(PASS_S)
    return connected, client


@pytest.mark.parametrize("answered", [False, True])
def test_a_flood_of_key_updates_is_sent_away_and_delays_no_other_client(
    tls_only_service: Service, clients: ExitStack, answered: bool
) -> None:
    local, (connected, hostile) = (
        tls_only_service.welcomed(),
        connect_openssl(tls_only_service, clients),
    )
    records, taken = hostile.key_updates(UPDATES, answered=answered), list[int]()
    began = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):  # sent away
            while sum(taken) < len(records):
                taken.append(connected.send(records[sum(taken) :]))
                began.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert began.wait(PASS_S)
    for sequence in range(PASSES):
        local.sendall(observation_frame(random_observation(), sequence=sequence))
        tls_only_service.settle()
        assert receive_frame(local)[0].sequence == sequence
    with contextlib.suppress(OSError):  # sent away
        connected.shutdown(socket.SHUT_RDWR)
    thread.join()

    check_wording(*tls_only_service.notes.ended)
    local.sendall(observation_frame(random_observation()))
    tls_only_service.settle()
    assert receive_frame(local)[0].type == Type.ACTION


def test_half_a_record_holds_no_hello_open(tls_only_service: Service, clients: ExitStack) -> None:
    connected, _ = connect_openssl(tls_only_service, clients)
    for byte in b"\x17\x03\x03\x40\x00" + bytes(20):
        connected.send(bytes([byte]))
        tls_only_service.settle()
    tls_only_service.after(HELLO_WITHIN_NS / MS)

    assert tls_only_service.notes.codes == [Code.TOO_LATE]


def test_bytes_that_are_no_record_end_the_connection(
    tls_only_service: Service, clients: ExitStack
) -> None:
    for wrong in (b"\x17\x03\x03\xff\xff", b"GET / HTTP/1.0\r\n\r\n"):
        connected, _ = connect_openssl(tls_only_service, clients)
        connected.send(wrong)
        tls_only_service.settle()

    check_wording(*tls_only_service.notes.ended)


def test_a_handshake_in_many_small_records_is_one(
    tls_only_service: Service, clients: ExitStack
) -> None:
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(theirs, ours)
    port = next(listener.port for listener in tls_only_service.listeners if listener.port)
    connected = clients.enter_context(socket.create_connection(("127.0.0.1", port), PASS_S))
    tls_only_service.loop.step(PASS_S)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = ours.read()[5:]
    for begin in range(0, len(hello), 50):
        part = hello[begin : begin + 50]
        connected.sendall(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
    while True:
        theirs.write(connected.recv(1 << 16))
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass
    client.write(frame(Type.HELLO, Hello().pack()))
    connected.sendall(ours.read())
    while not tls_only_service.notes.names:
        tls_only_service.loop.step(PASS_S)
    tls_only_service.settle()
    with pytest.raises(ssl.SSLWantReadError):
        client.read(1)
    theirs.write(connected.recv(1 << 16))

    assert read_header(client.read(HEADER.size)).type == Type.WELCOME
