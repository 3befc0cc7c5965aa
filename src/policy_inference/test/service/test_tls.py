# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The framed protocol over TCP and TLS: who is let in, and that no client holds up the others."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from policy_inference.service.connection import set_options
from policy_inference.service.credentials import server_context
from policy_inference.service.endpoints import EndpointOptions
from policy_inference.service.protocol import Code, Hello, Type, frame
from policy_inference.service.tls import MOST, Handshake, Handshakes
from testkit.wording import check_wording

from .certificates import DAY, Certificate, make_certificate
from .lockstep import (
    PASS_S,
    Service,
    descriptors,
    expected_action,
    observation_frame,
    random_observation,
    receive_frame,
    require_action,
    serving,
)


@pytest.fixture
def tls_service(tmp_path: Path, ca: Certificate) -> Iterator[Service]:
    """A service with mutual TLS, and an endpoint for local clients."""
    made = make_certificate(tmp_path, "service", ca)
    context, _ = server_context(made.cert, made.key, ca.cert)
    with serving(
        tmp_path,
        EndpointOptions(
            framed_tcp=("127.0.0.1", 0), framed_socket=tmp_path / "framed.sock", tls=context
        ),
    ) as opened:
        yield opened


def connect_tcp(tls_service: Service, clients: ExitStack) -> socket.socket:
    port = next(listener.port for listener in tls_service.listeners if listener.port)
    client = clients.enter_context(socket.create_connection(("127.0.0.1", port), PASS_S))
    tls_service.loop.step(PASS_S)
    return client


def secured(client: socket.socket, ca: Certificate, own: Certificate | None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(ca.cert))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context.wrap_socket(client, server_hostname="127.0.0.1")


def let_in(tls_service: Service, client: ssl.SSLSocket) -> None:
    tls_service.loop.step(PASS_S)  # the handshake has ended
    client.sendall(frame(Type.HELLO, Hello(rows=3).pack()))
    tls_service.loop.step(PASS_S)


Welcomed = Callable[[], ssl.SSLSocket]


@pytest.fixture
def welcomed_robot(
    tls_service: Service, clients: ExitStack, ca: Certificate, tmp_path: Path
) -> Welcomed:
    """Connect a client that has a certificate of the CA."""

    def apply() -> ssl.SSLSocket:
        own = make_certificate(tmp_path, "robot", ca)
        client = secured(connect_tcp(tls_service, clients), ca, own)
        let_in(tls_service, client)
        assert receive_frame(client)[0].type == Type.WELCOME
        return client

    return apply


def test_a_client_with_a_certificate_of_the_ca_is_answered(
    tls_service: Service, welcomed_robot: Welcomed
) -> None:
    client = welcomed_robot()
    assert "'robot'" in tls_service.notes.names[-1]
    for rows in (1, 3):
        client.sendall(observation_frame(random_observation(rows=rows)))
        tls_service.loop.step(PASS_S)

        header, payload = receive_frame(client)
        assert header.type == Type.ACTION
        np.testing.assert_allclose(
            np.frombuffer(payload, np.float32).reshape(rows, -1),
            expected_action(random_observation(rows=rows)),
            rtol=1e-5,
        )


def test_a_frame_in_many_records_is_one_request(
    tls_service: Service, welcomed_robot: Welcomed
) -> None:
    client = welcomed_robot()
    data = observation_frame(random_observation())
    for begin in range(0, len(data), 7):
        client.sendall(data[begin : begin + 7])
    while not tls_service.notes.answers:
        tls_service.loop.step(PASS_S)

    assert receive_frame(client)[0].type == Type.ACTION


@pytest.mark.parametrize("whose", ["nobody", "another CA", "expired"])
def test_a_client_without_a_good_certificate_is_refused_with_the_reason(
    tls_service: Service, clients: ExitStack, ca: Certificate, tmp_path: Path, whose: str
) -> None:
    own = {
        "nobody": None,
        "another CA": make_certificate(tmp_path, "stranger", make_certificate(tmp_path, "ca2")),
        "expired": make_certificate(tmp_path, "old", ca, begins=-2 * DAY, ends=-DAY),
    }[whose]
    client = secured(connect_tcp(tls_service, clients), ca, own)
    tls_service.loop.step(PASS_S)

    with pytest.raises(ssl.SSLError):
        client.recv(1)
    check_wording(*tls_service.notes.refusals)


def test_garbage_in_the_place_of_handshakes_leaks_nothing(tls_service: Service) -> None:
    hello = bytes.fromhex("160301") + b"\x00\xff" + b"\x01" * 255
    local = tls_service.welcomed()
    before = descriptors()
    for number in range(60):
        with ExitStack() as stack:
            client = connect_tcp(tls_service, stack)
            client.sendall(hello[: number * 5] + bytes([number]))
            client.shutdown(socket.SHUT_WR)
            while len(tls_service.notes.refusals) <= number:
                tls_service.loop.step(PASS_S)
            assert tls_service.notes.refusals[-1].startswith("TLS: ")
        local.sendall(observation_frame(random_observation(), sequence=number))
        tls_service.settle()
        assert receive_frame(local)[0].sequence == number

    assert descriptors() == before


def test_silent_handshakes_hold_up_neither_others_nor_local_clients(
    tls_service: Service, clients: ExitStack, welcomed_robot: Welcomed
) -> None:
    for _ in range(MOST - 1):
        connect_tcp(tls_service, clients)
    local = tls_service.welcomed()
    local.sendall(observation_frame(random_observation()))
    tls_service.settle()
    assert receive_frame(local)[0].type == Type.ACTION

    welcomed_robot()


def test_a_certificate_that_cannot_be_read_ends_no_other_handshake(
    tls_service: Service,
    clients: ExitStack,
    ca: Certificate,
    tmp_path: Path,
    welcomed_robot: Welcomed,
) -> None:
    odd = make_certificate(tmp_path, "odd", ca, mail="jürgen@robot.local".encode("latin-1"))
    client = secured(connect_tcp(tls_service, clients), ca, odd)
    tls_service.loop.step(PASS_S)
    assert client.recv(1) == b""
    (reason,) = tls_service.notes.refusals
    assert "UnicodeDecodeError" in reason

    welcomed_robot()


def test_one_address_loses_its_own_handshakes_not_those_of_others(ca: Certificate) -> None:
    context, _ = server_context(ca.cert, ca.key)
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(MOST + 3)]
        for pair in pairs:
            for end in pair:
                stack.enter_context(end)
        woken = threading.Semaphore(0)
        handshakes = Handshakes(woken.release)
        stack.callback(handshakes.close)
        addresses = ["10.0.0.1", *["10.0.0.2"] * (MOST + 1), "10.0.0.3"]
        for (_, there), address in zip(pairs, addresses, strict=True):
            handshakes.begin(
                Handshake(
                    connected=there, context=context, where="here", address=address, client=address
                )
            )
        for _ in range(3):
            assert woken.acquire(timeout=PASS_S)
        ended = handshakes.ended()

    assert [one.client for one in ended] == ["10.0.0.2"] * 3
    check_wording(*{one.failure for one in ended})


def test_a_token_stands_in_for_a_certificate(
    tmp_path: Path, ca: Certificate, clients: ExitStack
) -> None:
    made = make_certificate(tmp_path, "service", ca)
    context, _ = server_context(made.cert, made.key)
    with serving(
        tmp_path,
        EndpointOptions(framed_tcp=("127.0.0.1", 0), tls=context),
        token=b"the token of this robot",
    ) as tls_service:
        client = secured(connect_tcp(tls_service, clients), ca, None)
        let_in(tls_service, client)

        assert receive_frame(client)[0].type == Type.ERROR
        assert tls_service.notes.codes == [Code.NOT_ALLOWED]


def test_a_handshake_that_is_not_made_in_time_ends(ca: Certificate) -> None:
    context, _ = server_context(ca.cert, ca.key)
    here, there = socket.socketpair()
    ended = threading.Event()
    handshakes = Handshakes(ended.set, within_s=0.01)
    handshakes.begin(
        Handshake(connected=there, context=context, where="here", address="here", client="silent")
    )
    assert ended.wait(PASS_S)
    (handshake,) = handshakes.ended()
    handshakes.close()

    check_wording(handshake.failure)
    with here:
        assert here.recv(1) == b""


def test_raw_tcp_answers_too(tmp_path: Path, clients: ExitStack) -> None:
    with serving(tmp_path, EndpointOptions(tcp=("127.0.0.1", 0))) as tls_service:
        client = connect_tcp(tls_service, clients)
        client.sendall(random_observation().tobytes())
        tls_service.loop.step(PASS_S)

        require_action(client)


def test_a_tcp_peer_that_vanishes_is_looked_for() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as connected,
    ):
        set_options(connected)

        def option(level: int, name: int) -> int:
            return connected.getsockopt(level, name)

        assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        silent_s = option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + option(
            socket.IPPROTO_TCP, socket.TCP_KEEPINTVL
        ) * option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert silent_s <= 15
        assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 15_000
