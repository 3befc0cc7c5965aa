# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients of shared memory at the service: answers, faults, and that they harm no other client."""

import contextlib
import errno
import fcntl
import mmap
import os
import socket
import subprocess
import sys
import threading
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
    ServiceError,
    Transport,
    Type,
    Welcome,
    frame,
    read_header,
)
from policy_inference.service.shared_memory import WAKE, ClientMemory, ServiceMemory
from policy_inference.testing.process import open_descriptors
from testkit.wording import refusal

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
        frame(Type.OBSERVATION, bytes(4 * OBS_DIM), rows=2),
        HEADER.pack(0x464E4950, 1, Type.OBSERVATION, 0, (1 << 32) - 1, 1, 0, 0, 0),
        HEADER.pack(0x464E4950, 1, Type.OBSERVATION, 2, 4 * OBS_DIM, 1, 0, 0, 0),
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


def test_a_client_that_only_rings_is_sent_away(memory_client: Client, service: Service) -> None:
    for _ in range(100):
        with contextlib.suppress(BrokenPipeError):
            memory_client.socket.sendall(WAKE)
        service.loop.step(0)
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


def test_the_client_cannot_hold_the_service_where_it_is_woken(either: Service) -> None:
    """It reads into a page that never comes, which holds the lock of a pipe, not of a socket."""
    with shared_client(either) as memory_client, shared_client(either) as other:
        with page_that_never_comes() as (page, is_awaited):
            reading = threading.Thread(
                target=memory_client.socket.recv_into, args=(page,), daemon=True
            )
            assert memory_client.is_answered_as()  # wakes it, so that there is something to read
            reading.start()
            assert is_awaited()
            assert memory_client.is_answered_as(seed=1)
            assert other.is_answered_as(seed=2)
        reading.join(TIMEOUT_S)
        assert not reading.is_alive()


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


@pytest.mark.slow
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
    assert not open_descriptors() - before


ROWS, VALUES_IN, VALUES_OUT = 2, 5, 3
REQUEST, ANSWER = bytes(range(80)), bytes(range(64))
ROUNDS = 10_000
F_SEAL_FUTURE_WRITE = 0x10  # That Python's fcntl has since 3.13 only.
CLIENT = """
import os, select, sys
from policy_inference.service.protocol import Welcome
from policy_inference.service.shared_memory import WAKE, ClientMemory
memory, connection, size, rounds = map(int, sys.argv[1:])
end = ClientMemory(memory, Welcome(policy_sha256=bytes(32), obs_dim=5, act_dim=3, rows=2,
                                   shared_bytes=size))
for number in range(rounds):
    if end.request(bytes([number % 251]) * 80):
        os.write(connection, WAKE)
    for _ in range(number % 70):  # looks, more or less long, before it sleeps
        if end.answered():
            break
    while not end.answered():
        assert select.select([connection], [], [], 20.0)[0], f"answer {number} woke nobody"
        os.read(connection, 4096)
    answer = end.take()
    assert answer[:64] == bytes([number % 251]) * 64, (number, answer)
"""
"""A client in a process of its own: for threads of one process, the interpreter keeps order."""


@pytest.fixture
def service_end() -> Iterator[ServiceMemory]:
    memory = ServiceMemory(ROWS, VALUES_IN, VALUES_OUT)
    yield memory
    memory.close()


@pytest.fixture
def client_end(service_end: ServiceMemory) -> Iterator[ClientMemory]:
    end = ClientMemory(
        service_end.file,
        Welcome(
            policy_sha256=bytes(32),
            obs_dim=VALUES_IN,
            act_dim=VALUES_OUT,
            rows=ROWS,
            shared_bytes=service_end.bytes,
        ),
    )
    yield end
    end.close()


@pytest.fixture
def forged(service_end: ServiceMemory) -> Iterator[mmap.mmap]:
    """The memory as a client has it that keeps to no rule."""
    with mmap.mmap(service_end.file, service_end.bytes) as block:
        yield block


def private() -> memoryview:
    return memoryview(bytearray(len(REQUEST)))


def test_each_end_is_woken_only_where_it_sleeps(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    service_end.stay_awake()
    assert not client_end.request(REQUEST)
    forged[128:132] = bytes(4)
    assert not service_end.answer(ANSWER)
    service_end.sleep()
    assert client_end.request(REQUEST)
    forged[128:132] = b"\x01\0\0\0"
    assert service_end.answer(ANSWER)


def test_the_offsets_are_those_of_the_document(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    client_end.request(REQUEST)
    service_end.answer(ANSWER)
    service_end.sleep()
    assert [forged[0], forged[64], forged[128], forged[192]] == [1, 1, 1, 1]
    assert forged[256 : 256 + len(REQUEST)] == REQUEST
    # 40 + 4 * 2 * 5 = 80 bytes, rounded up to 128
    assert forged[384 : 384 + len(ANSWER)] == ANSWER


@pytest.mark.parametrize("count", [0, 3, 1 << 63, (1 << 64) - 1])
def test_a_counter_that_jumps_or_goes_back_is_refused(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap, count: int
) -> None:
    client_end.request(REQUEST)
    service_end.answer(ANSWER)
    forged[0:8] = count.to_bytes(8, "little")
    with refusal(ServiceError) as no:
        service_end.take(private())
    assert no.value.code is Code.BAD_FRAME


def test_what_the_client_changes_later_is_not_seen(
    service_end: ServiceMemory, client_end: ClientMemory, forged: mmap.mmap
) -> None:
    copied = private()
    client_end.request(REQUEST)
    service_end.take(copied)
    forged[256 : 256 + len(REQUEST)] = bytes(len(REQUEST))
    assert copied == REQUEST


def test_the_client_cannot_take_the_memory_away(service_end: ServiceMemory) -> None:
    memory = service_end.file
    for size in (0, service_end.bytes - 1, service_end.bytes + 4096):
        with pytest.raises(PermissionError):
            os.ftruncate(memory, size)
    with pytest.raises(OSError, match="busy"):
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_the_client_may_seal_the_memory_against_the_loss_of_pages(
    service_end: ServiceMemory, client_end: ClientMemory
) -> None:
    fcntl.fcntl(service_end.file, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    client_end.request(REQUEST)
    copied = private()
    assert service_end.take(copied)
    assert copied == REQUEST
    service_end.answer(ANSWER)
    assert client_end.answered()


def serve_in_bursts(service_end: ServiceMemory, connection: socket.socket, rounds: int) -> None:
    """Answer so many requests with their own bytes, spinning at times, asleep at others."""
    connection.settimeout(TIMEOUT_S)
    observation_frame = private()
    for number in range(rounds):
        if number % 3:
            service_end.stay_awake()
            for _ in range(number % 50):
                if service_end.has_request():
                    break
            service_end.sleep()
        while not service_end.has_request():
            assert connection.recv(4096), f"request {number} woke nobody"
        assert service_end.take(observation_frame)
        if service_end.answer(bytes(observation_frame[:64])):
            connection.sendall(WAKE)


def test_nothing_is_torn_or_slept_through_however_the_two_ends_meet(
    service_end: ServiceMemory,
) -> None:
    own, others = socket.socketpair()
    passed, served = (service_end.file, others.fileno()), threading.Event()
    with (
        own,
        others,
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, *map(str, (*passed, service_end.bytes, ROUNDS))],
            pass_fds=passed,
            stderr=subprocess.PIPE,
            text=True,
        ) as client_end,
    ):
        try:
            serve_in_bursts(service_end, own, ROUNDS)
            served.set()
        finally:
            if not served.is_set():
                client_end.kill()
        _, said = client_end.communicate(timeout=TIMEOUT_S)
    assert (client_end.returncode, said) == (0, "")


def test_machine_whose_calls_are_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    before = open_descriptors()
    with pytest.raises(ServiceError, match="sparc64"):
        ServiceMemory(ROWS, VALUES_IN, VALUES_OUT)
    assert not open_descriptors() - before
