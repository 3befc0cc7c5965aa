# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Python client with the service, and against peers that keep to a script."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
import pytest

from policy_core.errors import PolicyError
from policy_inference.service.client import PolicyClient, connect
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
from policy_inference.service.shared_memory import WAKE, ServiceMemory
from testkit.wording import refusal

from . import lockstep
from .lockstep import Service

OBS_DIM, ACT_DIM = 3, 2
OBSERVATION, ACTION = [1.0, 2.0, 3.0], np.array([[4.0, 5.0]], np.float32)
WELCOME = Welcome(
    policy_sha256=b"p" * 32,
    obs_dim=OBS_DIM,
    act_dim=ACT_DIM,
    rows=1,
    rate_hz=50.0,
    name="walk",
    version="1.2.3",
    joints=("hip", "knee"),
)
GREETING = frame(Type.WELCOME, WELCOME.pack())
SHARED = Hello(transport=Transport.SHARED_MEMORY)


def action_frame(sequence: int = 1, rows: int = 1) -> bytes:
    return frame(Type.ACTION, ACTION.tobytes() * rows, rows=rows, sequence=sequence)


@contextmanager
def scripted_peer(serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """The client's end of a connection whose other end a thread serves, and then closes."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        # A client that has gone is what many wait for.
        with theirs, suppress(ConnectionResetError):
            serve(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    with ours:
        yield ours
    thread.join()


def read_raw_frame(connection: socket.socket) -> bytes:
    head = connection.recv(HEADER.size, socket.MSG_WAITALL)
    return head + connection.recv(read_header(head).length, socket.MSG_WAITALL)


def says(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer each frame with the next of these."""

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            read_raw_frame(connection)
            connection.sendall(answer)
        connection.recv(1)  # until the client goes

    return serve


def test_an_observation_is_sent_as_documented_and_its_action_comes_back() -> None:
    got = list[bytes]()

    def serve(connection: socket.socket) -> None:
        got.append(read_raw_frame(connection))
        connection.sendall(GREETING)
        got.append(read_raw_frame(connection))
        for byte in action_frame():  # as slow as a connection can be
            connection.sendall(bytes([byte]))

    with scripted_peer(serve) as connection, PolicyClient(connection, Hello(obs_dim=3)) as client:
        assert client.welcome == WELCOME
        np.testing.assert_array_equal(
            client.infer(OBSERVATION, stamp_ns=7, reset=True), ACTION, strict=True
        )
    head = {"flags": 1, "rows": 1, "sequence": 1, "stamp_ns": 7}
    observed = frame(Type.OBSERVATION, np.array(OBSERVATION, "<f4").tobytes(), **head)
    assert got == [frame(Type.HELLO, Hello(obs_dim=3).pack()), observed]


def test_an_error_about_one_observation_leaves_the_connection_open() -> None:
    not_finite = frame(Type.ERROR, b"no number", rows=Code.OBSERVATION_NOT_FINITE, sequence=1)
    with scripted_peer(says(GREETING, not_finite, action_frame(2))) as connection:
        client = PolicyClient(connection, Hello())
        with refusal(ServiceError) as refused:
            client.infer(OBSERVATION)
        assert refused.value.code is Code.OBSERVATION_NOT_FINITE
        assert not refused.value.code.closes
        np.testing.assert_array_equal(client.infer(OBSERVATION), ACTION)


def test_a_refused_client_says_why_and_closes() -> None:
    refused_frame = frame(Type.ERROR, "für eine andere".encode(), rows=Code.OTHER_POLICY)
    with scripted_peer(says(refused_frame)) as connection:
        with refusal(ServiceError) as refused:
            PolicyClient(connection, Hello())
        assert connection.fileno() == -1
    assert refused.value.code is Code.OTHER_POLICY


@pytest.mark.parametrize(
    "answers",
    [(), (GREETING,), (GREETING, action_frame()[:-1])],
    ids=["nothing", "a welcome", "half an action"],
)
def test_silence_is_too_late(answers: Sequence[bytes]) -> None:
    def serve(connection: socket.socket) -> None:
        says(*answers)(connection)
        while connection.recv(4096):
            """What the client says after its last answer is not answered."""

    with scripted_peer(serve) as connection:
        with refusal(ServiceError) as late:
            client = PolicyClient(connection, Hello(), timeout_s=0.05)
            client.infer(OBSERVATION)
        assert late.value.code is Code.TOO_LATE
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request, and forty bytes more of it",
        action_frame(sequence=2),
        GREETING,
        frame(Type.ERROR, b"?", rows=99),
        HEADER.pack(0x464E4950, 1, Type.ACTION, 0, (1 << 32) - 1, 1, 1, 0, 0),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with scripted_peer(says(GREETING, answer)) as connection:
        client = PolicyClient(connection, Hello())
        with pytest.raises(ServiceError) as refused:
            client.infer(OBSERVATION)
        assert refused.value.code is Code.BAD_FRAME
        client.close()


@pytest.mark.parametrize("greeting", [GREETING, GREETING[:10]])
def test_a_service_that_goes_is_an_error(greeting: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_raw_frame(connection)
        connection.sendall(greeting)

    with scripted_peer(serve) as connection, pytest.raises(PolicyError, match="connection"):
        PolicyClient(connection, Hello()).infer(OBSERVATION)


@pytest.mark.parametrize(
    "observation",
    [[1.0, 2.0], [[1.0, 2.0, 3.0]] * 2, [[[1.0, 2.0, 3.0]]]],
    ids=["values", "rows", "axes"],
)
def test_an_observation_of_another_shape_is_not_sent(observation: npt.ArrayLike) -> None:
    with (
        scripted_peer(says(GREETING)) as connection,
        PolicyClient(connection, Hello()) as client,
        refusal(ValueError),
    ):
        client.infer(observation)


def greet_with_memory(connection: socket.socket, memory: ServiceMemory) -> None:
    read_raw_frame(connection)
    welcome = Welcome(
        policy_sha256=b"p" * 32, obs_dim=OBS_DIM, act_dim=ACT_DIM, rows=1, shared_bytes=memory.bytes
    )
    socket.send_fds(connection, [frame(Type.WELCOME, welcome.pack())], [memory.file])
    memory.passed()


@pytest.mark.parametrize("last", [frame(Type.ERROR, b"connection ends", rows=Code.ENDING), b""])
def test_the_end_of_a_session_through_shared_memory_comes_over_its_connection(last: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        memory = ServiceMemory(1, OBS_DIM, ACT_DIM)
        greet_with_memory(connection, memory)
        while not memory.has_request():
            """There is nothing to sleep for."""
        connection.sendall(WAKE + last)
        memory.close()

    with scripted_peer(serve) as connection, pytest.raises(PolicyError, match="connection"):
        PolicyClient(connection, SHARED, timeout_s=10.0).infer(OBSERVATION)


def test_a_welcome_without_its_files_is_refused() -> None:
    with scripted_peer(says(GREETING)) as connection, refusal(ServiceError):
        PolicyClient(connection, SHARED)


@contextmanager
def running_loop(service: Service) -> Iterator[None]:
    """Let the service make its passes by itself."""
    thread = threading.Thread(target=service.loop.run)
    thread.start()
    try:
        yield
    finally:
        service.loop.stop()
        thread.join()


def gets_actions(client: PolicyClient, rows: int) -> bool:
    sent = lockstep.random_observation(rows=rows)
    return np.allclose(client.infer(sent), lockstep.expected_action(sent), rtol=1e-5)


@pytest.mark.parametrize("transport", Transport)
def test_over_a_unix_socket_one_robot_or_several_get_actions(
    service: Service, transport: Transport
) -> None:
    hello = Hello(rows=3, obs_dim=lockstep.OBS_DIM, transport=transport)
    with running_loop(service), connect(str(service.framed), hello, timeout_s=10.0) as client:
        assert [gets_actions(client, rows) for rows in (1, 3, 2)] == [True] * 3
