# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The framed protocol over a Unix socket: greeting, answers, and each error that is named."""

import errno
import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from policy_inference.service.endpoints import EndpointOptions
from policy_inference.service.protocol import (
    HEADER,
    MAGIC,
    RESET,
    VERSION,
    Code,
    Hello,
    Transport,
    Type,
    Welcome,
    frame,
)
from testkit.wording import check_wording

from .lockstep import (
    ACT_DIM,
    OBS_DIM,
    PASS_S,
    Service,
    closed_by_service,
    expected_action,
    observation_frame,
    random_observation,
    receive,
    receive_action,
    receive_error,
    receive_frame,
    require_action,
    serving,
)


def test_welcome_says_what_is_served(service: Service) -> None:
    client = service.connect(service.framed)
    hello = Hello(rows=3, policy_sha256=service.model.sha256, obs_dim=OBS_DIM, act_dim=ACT_DIM)
    client.sendall(frame(Type.HELLO, hello.pack(), sequence=7))
    service.settle()
    header, payload = receive_frame(client)
    assert (header.type, header.sequence) == (Type.WELCOME, 7)
    assert Welcome.unpack(payload) == Welcome(
        policy_sha256=service.model.sha256,
        obs_dim=OBS_DIM,
        act_dim=ACT_DIM,
        rows=3,
        rate_hz=50.0,
        name="two_joints",
        version="1.2.3",
        joints=("left", "right"),
    )


@pytest.mark.parametrize("rows", [1, 4])
def test_each_row_is_answered_with_the_sequence_and_stamp_of_the_request(
    service: Service, rows: int
) -> None:
    client, sent = service.welcomed(Hello(rows=4)), random_observation(rows=rows)
    client.sendall(
        frame(Type.OBSERVATION, sent.tobytes(), rows=rows, sequence=2**64 - 1, stamp_ns=12345)
    )
    service.settle()
    header, payload = receive_frame(client)
    assert (header.type, header.rows, header.sequence) == (Type.ACTION, rows, 2**64 - 1)
    assert header.stamp_ns == 12345
    assert header.answered_ns > 0
    np.testing.assert_allclose(
        np.frombuffer(payload, np.float32).reshape(rows, -1), expected_action(sent), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (Hello(policy_sha256=b"x" * 32), Code.OTHER_POLICY),
        (Hello(obs_dim=OBS_DIM + 1), Code.OTHER_POLICY),
        (Hello(act_dim=ACT_DIM + 1), Code.OTHER_POLICY),
        (Hello(rows=0), Code.NOT_OFFERED),
        (Hello(transport=Transport.SHARED_MEMORY, rows=0), Code.NOT_OFFERED),
    ],
)
def test_a_hello_that_does_not_fit_is_refused(service: Service, hello: Hello, code: Code) -> None:
    client = service.connect(service.framed)
    client.sendall(frame(Type.HELLO, hello.pack()))
    service.settle()
    assert receive_error(client) is code
    assert closed_by_service(client)


_ROW = random_observation().tobytes()
_HELLO = Hello().pack()

NO_HELLO = [
    _ROW,
    frame(Type.OBSERVATION, _ROW, rows=1),
    frame(Type.HELLO, _HELLO[:-1]),
    frame(Type.HELLO, _HELLO, flags=1),
    frame(Type.HELLO, _HELLO[:44] + b"\x09\0" + _HELLO[46:]),
    HEADER.pack(MAGIC, VERSION, Type.HELLO, 0, 2**32 - 1, 0, 0, 0, 0),
]
NO_OBSERVATION = [
    frame(Type.HELLO, _HELLO),
    frame(Type.ACTION, _ROW, rows=1),
    frame(Type.OBSERVATION, _ROW, rows=0),
    frame(Type.OBSERVATION, _ROW * 3, rows=3),
    frame(Type.OBSERVATION, _ROW[:-4], rows=1),
    frame(Type.OBSERVATION, _ROW, rows=1, flags=RESET | 2),
]
OTHER_VERSION = struct.pack("<IBB", MAGIC, VERSION + 1, Type.HELLO) + bytes(34)


@pytest.mark.parametrize(
    ("data", "welcomed", "code"),
    [
        *((data, False, Code.BAD_FRAME) for data in NO_HELLO),
        *((data, True, Code.BAD_FRAME) for data in NO_OBSERVATION),
        (OTHER_VERSION, False, Code.OTHER_VERSION),
    ],
)
def test_what_is_not_the_frame_that_is_due_ends_the_connection(
    service: Service, data: bytes, welcomed: bool, code: Code
) -> None:
    client = service.welcomed(Hello(rows=2)) if welcomed else service.connect(service.framed)
    client.sendall(data)
    service.settle()
    assert receive_error(client) is code
    assert closed_by_service(client)


def test_hello_must_come_within_a_second_and_later_a_client_may_be_silent(service: Service) -> None:
    welcomed, client = service.welcomed(), service.connect(service.framed)
    service.settle()
    service.after(999)
    assert not closed_by_service(client)
    service.after(1)
    assert receive_error(client) is Code.TOO_LATE
    assert closed_by_service(client)
    service.after(3_600_000)
    assert not closed_by_service(welcomed)


@pytest.mark.parametrize("when", ["at once", "during the answer", "with HELLO"])
def test_second_request_before_the_answer_to_the_first_is_not_in_turn(
    service: Service, when: str
) -> None:
    first = observation_frame(random_observation())
    if when == "with HELLO":
        client = service.connect(service.framed)
        client.sendall(frame(Type.HELLO, _HELLO) + first)
    else:
        client = service.welcomed()
        if when == "during the answer":
            service.model.meanwhile = lambda: client.sendall(b"\x50")
        client.sendall(first if service.model.meanwhile else first * 2)
    service.settle()
    assert receive_error(client) is Code.NOT_IN_TURN
    assert closed_by_service(client)


def test_the_one_too_many_learns_that_it_is_full(tmp_path: Path) -> None:
    with serving(tmp_path, clients=2) as service:
        service.connect().sendall(random_observation().tobytes())
        client = service.welcomed()
        late, raw = service.connect(service.framed), service.connect()
        service.settle()
        assert receive_error(late) is Code.FULL
        assert closed_by_service(late)
        assert closed_by_service(raw)
        client.close()
        service.settle()
        service.welcomed()


def test_clients_learn_that_the_service_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        clients = [service.welcomed(), service.welcomed()]
        service.loop.close()
        for client in clients:
            assert receive_error(client) is Code.ENDING
            assert closed_by_service(client)
        assert not service.framed.exists()
        assert not service.raw.exists()


@pytest.mark.parametrize("cuts", [(1,), (20, 21, 40)])
def test_a_request_may_come_in_parts(service: Service, cuts: tuple[int, ...]) -> None:
    client, data = service.connect(), random_observation().tobytes()
    for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        client.sendall(data[begin:end])
        service.after(20)
    service.settle()
    require_action(client)
    service.after(1000)
    assert not closed_by_service(client)


def test_the_rest_must_follow_within_100_ms_of_the_first_byte_or_be_there_when_it_is_looked_for(
    service: Service,
) -> None:
    client, late, data = service.connect(), service.connect(), random_observation().tobytes()
    for one in (client, late):
        one.sendall(data[:10])
    service.settle()
    service.after(60)
    late.sendall(data[10:20])
    service.after(39)
    assert not closed_by_service(late)
    client.sendall(data[10:])
    service.after(5000)  # the service was busy
    assert len(receive(client, 4 * ACT_DIM)) == 4 * ACT_DIM
    assert closed_by_service(late)
    assert service.notes.codes == [Code.TOO_LATE]
    check_wording(*service.notes.ended)


def test_client_that_goes_while_its_answer_is_computed_harms_no_other(service: Service) -> None:
    client, good = service.connect(), service.connect()
    service.model.meanwhile = client.close
    for one in (client, good):
        one.sendall(random_observation().tobytes())
    service.settle()
    assert receive_action(good).size == ACT_DIM
    assert len(service.notes.ended) == 1


def test_a_client_that_ends_its_half_still_gets_its_answer(service: Service) -> None:
    client = service.connect()
    client.sendall(random_observation().tobytes())
    client.shutdown(1)
    service.settle()
    assert receive_action(client).size == ACT_DIM
    check_wording(*service.notes.ended)


def test_an_observation_that_is_not_finite_ends_the_connection(service: Service) -> None:
    client, row = service.connect(), random_observation()
    row[0, 3] = np.nan
    client.sendall(row.tobytes())
    service.settle()
    assert closed_by_service(client)
    assert service.notes.codes == [Code.OBSERVATION_NOT_FINITE]


def test_a_client_that_takes_no_answers_is_sent_away(service: Service) -> None:
    client, good = service.connect(), service.connect()
    data = random_observation().tobytes()
    for _ in range(10_000):
        if service.notes.ended:
            break
        client.sendall(data)
        good.sendall(data)
        service.settle()
        assert receive_action(good).size == ACT_DIM
    check_wording(*service.notes.ended)


def test_tcp_is_answered_too(tmp_path: Path) -> None:
    with serving(tmp_path, EndpointOptions(tcp=("127.0.0.1", 0))) as service:
        (listener,) = service.listeners
        with socket.create_connection(("127.0.0.1", listener.port), PASS_S) as client:
            client.sendall(random_observation().tobytes())
            service.settle()
            require_action(client)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def require_answered(service: Service, client: socket.socket) -> None:
    """Require an answer from the very next pass."""
    client.sendall(random_observation().tobytes())
    service.loop.step(0)
    require_action(client)


def test_without_descriptors_the_loop_does_not_spin_and_recovers(service: Service) -> None:
    good = service.connect()
    service.settle()
    require_answered(service, good)
    late = service.connect()
    with no_descriptor_left():
        for _ in range(5):
            require_answered(service, good)
        assert service.notes.exhausted == [os.strerror(errno.EMFILE)]
        service.after(100)
        service.settle()
        assert len(service.notes.exhausted) == 2
    service.after(100)
    service.settle()
    require_answered(service, late)


@pytest.mark.parametrize("endpoint", ["raw", "framed"])
def test_silent_clients_of_the_raw_protocol_keep_no_other_out(
    tmp_path: Path, endpoint: str
) -> None:
    with serving(tmp_path, clients=3) as service:
        good = service.connect()
        service.settle()
        require_answered(service, good)
        silent = [service.connect() for _ in range(2)]
        service.settle()
        if endpoint == "raw":
            late = service.connect()
            service.settle()
            require_answered(service, late)
        else:
            service.welcomed()
        require_answered(service, good)
        assert closed_by_service(silent[0])
        assert not closed_by_service(silent[1])


def test_a_full_service_sends_clients_away_that_ask_no_more_and_no_others(tmp_path: Path) -> None:
    with serving(tmp_path, clients=2) as service:
        first, second = service.connect(), service.welcomed()
        service.settle()
        require_answered(service, first)
        service.after(6000)
        require_answered(service, first)
        refused = service.connect()
        service.settle()
        assert closed_by_service(refused)
        service.after(5000)
        late = service.connect()
        service.settle()
        require_answered(service, late)
        require_answered(service, first)
        assert receive_error(second) is Code.FULL
        assert closed_by_service(second)
