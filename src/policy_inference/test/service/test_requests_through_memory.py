# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients of shared memory at the service: answers, faults, and that they harm no other client."""

from __future__ import annotations

import errno
import mmap
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from policy_core.interfaces import F32
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
    closed_by_service,
    expected_action,
    observation_frame,
    random_observation,
    receive,
    receive_error,
    receive_frame,
    serving,
)

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
        values = random_observation(seed, rows)
        self.ask(observation_frame(values))
        kind, payload = self.answer()
        return kind == Type.ACTION and is_action(payload, values)


def is_action(payload: bytes, rows: F32) -> bool:
    found = np.frombuffer(payload, np.float32).reshape(len(rows), ACT_DIM)
    return np.allclose(found, expected_action(rows), rtol=1e-5)


@contextmanager
def shared_client(service: Service, rows: int = 1) -> Iterator[Client]:
    memory_client = Client(service, rows)
    try:
        yield memory_client
    finally:
        memory_client.close()


@pytest.fixture
def memory_client(service: Service) -> Iterator[Client]:
    with shared_client(service) as opened:
        yield opened


@pytest.fixture(params=[0, SPIN_NS])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service that sleeps, and one that spins."""
    with serving(tmp_path, spin_ns=request.param) as opened:
        yield opened


def test_requests_through_shared_memory_are_answered(either: Service) -> None:
    with shared_client(either) as memory_client:
        for seed in range(5):
            assert memory_client.is_answered_as(seed=seed)
            either.clock.ns += 2 * SPIN_NS * (seed % 2)  # in and after the time of spinning


def test_clients_of_memory_and_of_sockets_share_an_inference(either: Service) -> None:
    with shared_client(either, rows=2) as one, shared_client(either) as other:
        streaming = either.welcomed()
        for _ in range(3):
            one.send(observation_frame(random_observation(1, 2)))
            other.send(observation_frame(random_observation(2)))
            streaming.sendall(observation_frame(random_observation(3)))
            either.settle()
            assert is_action(one.answer()[1], random_observation(1, 2))
            assert is_action(other.answer()[1], random_observation(2))
            assert is_action(receive_frame(streaming)[1], random_observation(3))
    assert either.model.together == 3


def test_an_observation_that_is_not_finite_leaves_the_session_open(memory_client: Client) -> None:
    memory_client.ask(observation_frame(np.full((1, OBS_DIM), np.nan, np.float32)))
    assert memory_client.answer()[0] == -Code.OBSERVATION_NOT_FINITE
    assert not closed_by_service(memory_client.socket)
    assert memory_client.is_answered_as()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        frame(Type.HELLO, SHARED.pack()),
        frame(Type.OBSERVATION, b"", rows=1),
        frame(Type.OBSERVATION, bytes(4 * OBS_DIM), rows=2),
        HEADER.pack(0x464E4950, 1, Type.OBSERVATION, 0, (1 << 32) - 1, 1, 0, 0, 0),
        HEADER.pack(0x464E4950, 2, Type.OBSERVATION, 0, 4 * OBS_DIM, 1, 0, 0, 0),
    ],
)
def test_what_is_no_observation_ends_the_session_with_a_reason(
    memory_client: Client, service: Service, data: bytes
) -> None:
    memory_client.ask(data)
    kind, text = memory_client.answer()
    assert kind in (-Code.BAD_FRAME, -Code.OTHER_VERSION)
    assert text
    assert memory_client.last_error() == -kind
    assert closed_by_service(memory_client.socket)
    assert service.notes.codes == [-kind]


def test_bytes_over_the_socket_end_the_session(memory_client: Client, service: Service) -> None:
    memory_client.socket.sendall(observation_frame(random_observation()))
    service.settle()
    assert receive_error(memory_client.socket) is Code.BAD_FRAME
    assert closed_by_service(memory_client.socket)


def test_a_client_that_reads_nothing_and_never_sleeps_is_answered_all_the_same(
    either: Service,
) -> None:
    """What wakes it no longer fits into its socket, and the service does not wait for that."""
    with shared_client(either) as memory_client:
        for _ in range(500):  # more than the socket holds
            assert memory_client.is_answered_as()


def test_a_wake_that_comes_while_its_request_is_computed_is_no_fault(either: Service) -> None:
    with shared_client(either) as memory_client:
        either.model.meanwhile = lambda: memory_client.socket.sendall(WAKE)
        for seed in range(3):
            assert memory_client.is_answered_as(seed=seed)


def test_a_request_that_comes_while_another_is_computed_is_answered(either: Service) -> None:
    with shared_client(either) as early, shared_client(either) as late:

        def meanwhile() -> None:
            either.model.meanwhile = None
            late.send(observation_frame(random_observation(2)))

        either.model.meanwhile = meanwhile
        assert early.is_answered_as()
        assert is_action(late.answer()[1], random_observation(2))


def test_a_dead_client_ends_its_session_alone(either: Service) -> None:
    with shared_client(either) as other:
        memory_client = Client(either)
        assert memory_client.is_answered_as()
        memory_client.send(observation_frame(random_observation()))
        memory_client.close()  # as the kernel does for a process that was killed
        either.settle()
        # It had not read what woke it.
        assert either.notes.ended == [os.strerror(errno.ECONNRESET)]
        assert other.is_answered_as()


def test_sessions_leave_no_file_behind(either: Service) -> None:
    def is_sent_away(memory_client: Client) -> None:
        memory_client.ask(b"\xff" * 64)
        memory_client.close()

    before = open_descriptors()
    for end in (Client.close, is_sent_away) * 5:
        memory_client = Client(either)
        assert memory_client.is_answered_as()
        end(memory_client)
        either.settle()
    assert open_descriptors() == before
