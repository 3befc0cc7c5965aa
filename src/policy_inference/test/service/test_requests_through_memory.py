# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients of shared memory at the service: answers, faults, and that they harm no other client."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from policy_inference.interfaces import F32
from policy_inference.service.endpoints import EndpointOptions
from policy_inference.service.protocol import (
    HEADER,
    Code,
    Hello,
    Transport,
    Type,
    Welcome,
    frame,
    read_header,
)
from policy_inference.service.shared_memory import WAKE, ClientMemory
from policy_inference.testing.process import open_descriptors

from .lockstep import (
    ACT_DIM,
    OBS_DIM,
    Service,
    action,
    is_closed,
    observation,
    receive,
    receive_error,
    receive_frame,
    request,
    serving,
)
from .userfault import page_that_never_comes

SPIN_NS, TIMEOUT_S = 1_000_000, 20.0
SHARED = Hello(transport=Transport.SHARED_MEMORY)


class Client:
    """A client of shared memory that may break its rules."""

    def __init__(self, service: Service, rows: int = 1) -> None:
        """Introduce itself, and see to it that the service says WELCOME."""
        self.service, self.rows = service, rows
        self.socket = service.connect(service.framed)
        self.socket.sendall(
            frame(Type.HELLO, Hello(transport=Transport.SHARED_MEMORY, rows=rows).pack())
        )
        service.settle()
        head, (self.file,), _, _ = socket.recv_fds(self.socket, HEADER.size, 8)
        self.welcome = Welcome.unpack(receive(self.socket, read_header(head).length))
        self.memory = ClientMemory(self.file, self.welcome)
        self.block = mmap.mmap(self.file, self.welcome.shared_bytes)

    def close(self) -> None:
        self.memory.close()
        self.block.close()
        self.socket.close()
        os.close(self.file)

    def send(self, data: bytes) -> None:
        if self.memory.request(data):
            self.socket.sendall(WAKE)

    def ask(self, data: bytes) -> None:
        self.send(data)
        self.service.settle()

    def last_error(self) -> Code:
        """Return what the service says at last over the connection, after what wakes its client."""
        begin = receive(self.socket, 1)
        while begin == WAKE:
            begin = receive(self.socket, 1)
        header = read_header(begin + receive(self.socket, HEADER.size - 1))
        assert header.type == Type.ERROR
        receive(self.socket, header.length)
        return Code(header.rows)

    def answer(self) -> tuple[int, bytes]:
        """Return type, of an ERROR minus its code, and payload of what must be there."""
        assert self.memory.answered()
        data = self.memory.take()
        header = read_header(data)
        payload = data[HEADER.size : HEADER.size + header.length]
        return -header.rows if header.type == Type.ERROR else header.type, payload

    def is_answered_as(self, rows: int = 1, seed: int = 0) -> bool:
        """Return whether an observation gets the model's answer now."""
        values = observation(seed, rows)
        self.ask(request(values))
        kind, payload = self.answer()
        return kind == Type.ACTION and is_action(payload, values)


def is_action(payload: bytes, rows: F32) -> bool:
    found = np.frombuffer(payload, np.float32).reshape(len(rows), ACT_DIM)
    return np.allclose(found, action(rows), rtol=1e-5)


@contextmanager
def shared_client(service: Service, rows: int = 1) -> Iterator[Client]:
    client = Client(service, rows)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with shared_client(service) as opened:
        yield opened


@pytest.fixture(params=[0, SPIN_NS])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service that sleeps, and one that spins."""
    with serving(tmp_path, spin_ns=request.param) as opened:
        yield opened


def test_requests_through_shared_memory_are_answered(either: Service) -> None:
    with shared_client(either) as client:
        for seed in range(5):
            assert client.is_answered_as(seed=seed)
            either.clock.ns += 2 * SPIN_NS * (seed % 2)  # in and after the time of spinning


def test_clients_of_memory_and_of_sockets_share_an_inference(either: Service) -> None:
    with shared_client(either, rows=2) as one, shared_client(either) as other:
        streaming = either.welcomed()
        for _ in range(3):
            one.send(request(observation(1, 2)))
            other.send(request(observation(2)))
            streaming.sendall(request(observation(3)))
            either.settle()
            assert is_action(one.answer()[1], observation(1, 2))
            assert is_action(other.answer()[1], observation(2))
            assert is_action(receive_frame(streaming)[1], observation(3))
    assert either.model.together == 3


def test_an_observation_that_is_not_finite_leaves_the_session_open(
    client: Client, service: Service
) -> None:
    client.ask(request(np.full((1, OBS_DIM), np.nan, np.float32)))
    assert client.answer()[0] == -Code.OBSERVATION_NOT_FINITE
    assert not is_closed(client.socket)
    assert client.is_answered_as()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        bytes(40),
        frame(Type.HELLO, SHARED.pack()),
        frame(Type.OBSERVATION, b"", rows=1),
        frame(Type.OBSERVATION, bytes(4 * OBS_DIM), rows=2),
        HEADER.pack(0x464E4950, 1, Type.OBSERVATION, 0, (1 << 32) - 1, 1, 0, 0, 0),
        HEADER.pack(0x464E4950, 1, Type.OBSERVATION, 2, 4 * OBS_DIM, 1, 0, 0, 0),
        HEADER.pack(0x464E4950, 2, Type.OBSERVATION, 0, 4 * OBS_DIM, 1, 0, 0, 0),
    ],
)
def test_what_is_no_observation_ends_the_session_with_a_reason(
    client: Client, service: Service, data: bytes
) -> None:
    client.ask(data)
    kind, text = client.answer()
    assert kind in (-Code.BAD_FRAME, -Code.OTHER_VERSION)
    assert text
    assert client.last_error() == -kind
    assert is_closed(client.socket)
    assert service.notes.codes == [-kind]


@pytest.mark.parametrize("count", [2, 1 << 40, (1 << 64) - 1])
def test_a_counter_that_jumps_ends_the_session(either: Service, count: int) -> None:
    with shared_client(either) as client:
        assert client.is_answered_as()
        client.block[0:8] = ((1 + count) % (1 << 64)).to_bytes(8, "little")
        client.socket.sendall(WAKE)
        either.settle()
        assert client.last_error() is Code.BAD_FRAME
        assert is_closed(client.socket)


def test_bytes_over_the_socket_end_the_session(client: Client, service: Service) -> None:
    client.socket.sendall(request(observation()))
    service.settle()
    assert receive_error(client.socket) is Code.BAD_FRAME
    assert is_closed(client.socket)


def test_a_client_that_only_rings_is_sent_away(client: Client, service: Service) -> None:
    for _ in range(100):
        with contextlib.suppress(BrokenPipeError):
            client.socket.sendall(WAKE)
        service.loop.step(0)
    assert receive_error(client.socket) is Code.BAD_FRAME
    assert is_closed(client.socket)


def test_a_client_that_reads_nothing_and_never_sleeps_is_answered_all_the_same(
    either: Service,
) -> None:
    """What wakes it no longer fits into its socket, and the service does not wait for that."""
    with shared_client(either) as client:
        for _ in range(2000):
            assert client.is_answered_as()


def test_a_wake_that_comes_while_its_request_is_computed_is_no_fault(either: Service) -> None:
    with shared_client(either) as client:
        either.model.meanwhile = lambda: client.socket.sendall(WAKE)
        for seed in range(3):
            assert client.is_answered_as(seed=seed)


def test_the_client_cannot_hold_the_service_where_it_is_woken(either: Service) -> None:
    """It reads into a page that never comes, which holds the lock of a pipe, not of a socket."""
    with shared_client(either) as client, shared_client(either) as other:
        with page_that_never_comes() as (page, is_awaited):
            reading = threading.Thread(target=client.socket.recv_into, args=(page,), daemon=True)
            assert client.is_answered_as()  # wakes it, so that there is something to read
            reading.start()
            assert is_awaited()
            assert client.is_answered_as(seed=1)
            assert other.is_answered_as(seed=2)
        reading.join(TIMEOUT_S)
        assert not reading.is_alive()


def test_a_request_that_comes_while_another_is_computed_is_answered(either: Service) -> None:
    with shared_client(either) as early, shared_client(either) as late:

        def meanwhile() -> None:
            either.model.meanwhile = None
            late.send(request(observation(2)))

        either.model.meanwhile = meanwhile
        assert early.is_answered_as()
        assert is_action(late.answer()[1], observation(2))


def test_a_dead_client_ends_its_session_alone(either: Service) -> None:
    with shared_client(either) as other:
        client = Client(either)
        assert client.is_answered_as()
        client.send(request(observation()))
        client.close()  # as the kernel does for a process that was killed
        either.settle()
        assert either.notes.ended == ["Connection reset by peer"]  # it had not read what woke it
        assert other.is_answered_as()


def test_shared_memory_over_tcp_is_not_offered(tmp_path: Path) -> None:
    with serving(tmp_path, EndpointOptions(framed_tcp=("127.0.0.1", 0))) as service:
        address = service.listeners[0].socket.getsockname()
        with socket.create_connection(address[:2]) as client:
            client.sendall(frame(Type.HELLO, SHARED.pack()))
            service.settle()
            assert receive_error(client) is Code.NOT_OFFERED


def test_without_file_descriptors_a_client_of_memory_is_refused_and_the_others_go_on(
    service: Service,
) -> None:
    streaming, hungry = service.welcomed(), service.connect(service.framed)
    service.settle()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        hungry.sendall(frame(Type.HELLO, SHARED.pack()))
        service.settle()
        assert receive_error(hungry) is Code.FULL
        streaming.sendall(request(observation()))
        service.settle()
        assert receive_frame(streaming)[0].type == Type.ACTION
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_sessions_leave_no_file_behind(either: Service) -> None:
    def is_sent_away(client: Client) -> None:
        client.ask(b"\xff" * 64)
        client.close()

    before = open_descriptors()
    for end in (Client.close, is_sent_away) * 5:
        client = Client(either)
        assert client.is_answered_as()
        end(client)
        either.settle()
    assert open_descriptors() == before
