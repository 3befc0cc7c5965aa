# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The raw protocol: answers, and clients that are sent away."""

import socket
from pathlib import Path

import numpy as np
import pytest

from policy_inference.service.connection import set_options
from policy_inference.service.endpoints import EndpointOptions
from policy_inference.service.protocol import Code
from testkit.wording import check_wording

from .lockstep import (
    ACT_DIM,
    PASS_S,
    Service,
    closed_by_service,
    random_observation,
    receive,
    receive_action,
    require_action,
    serving,
)


def test_float32_in_is_answered_by_float32_out(service: Service) -> None:
    client = service.connect()
    for seed in range(3):
        client.sendall(random_observation(seed).tobytes())
        service.settle()
        require_action(client, seed)


@pytest.mark.parametrize("cuts", [(1,), (59,), (20, 21, 40)])
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


@pytest.mark.parametrize("together", [True, False])
def test_second_request_before_the_answer_to_the_first_ends_the_connection(
    service: Service, together: bool
) -> None:
    client, other = service.connect(), service.connect()
    if not together:
        service.model.meanwhile = lambda: client.sendall(b"x")
    client.sendall(random_observation().tobytes() * (2 if together else 1))
    other.sendall(random_observation().tobytes())
    service.settle()
    assert closed_by_service(client)
    assert service.notes.codes == [Code.NOT_IN_TURN]
    require_action(other)


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
