# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Local clients that pass descriptors whose close waits: the service does not wait with it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from policy_inference.service.protocol import Hello, Type, frame
from policy_inference.service.unix_socket import PASSES_RIGHTS
from policy_inference.service.unix_stream import INTERRUPTS_CLOSE, Closer, UnixStream

from .lockstep import (
    PASS_S,
    Service,
    closed_by_service,
    random_observation,
    receive_frame,
    require_action,
    serving,
)

LINGERS_S = 2
NEVER_S = 600


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Handle what interrupts a close, as the command does."""
    before = signal.signal(INTERRUPTS_CLOSE, lambda *_: None)
    yield
    signal.signal(INTERRUPTS_CLOSE, before)


@pytest.fixture
def passing_service(tmp_path: Path) -> Iterator[Service]:
    """A service on a kernel that lets clients pass descriptors: before Linux 6.16 all do."""
    with serving(tmp_path) as opened:
        let_descriptors_pass(opened)
        yield opened


def let_descriptors_pass(service: Service) -> None:
    for listener in service.listeners:
        with contextlib.suppress(OSError):
            listener.socket.setsockopt(socket.SOL_SOCKET, PASSES_RIGHTS, 1)


def test_descriptors_are_refused_where_the_kernel_can(tmp_path: Path) -> None:
    with serving(tmp_path) as passing_service:
        client = passing_service.connect()
        try:
            assert not passing_service.listeners[0].socket.getsockopt(
                socket.SOL_SOCKET, PASSES_RIGHTS
            )
        except OSError:
            pytest.skip("before Linux 6.16")
        with pytest.raises(PermissionError):
            socket.send_fds(client, [b"x"], [0])


def lingering_socket(clients: ExitStack, seconds: int = LINGERS_S) -> socket.socket:
    """Return a socket whose last close waits so long: its other end reads nothing."""
    listening = clients.enter_context(socket.create_server(("127.0.0.1", 0)))
    connected = socket.create_connection(listening.getsockname())
    clients.enter_context(listening.accept()[0])
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    connected.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connected.send(bytes(1 << 20))
    return connected


def pass_away(
    client: socket.socket, data: bytes, lingers: socket.socket, *, urgent: bool = False
) -> None:
    """Send data and the last reference of a socket, which may come with an urgent byte before."""
    # Not closed, which would shut it down for both.
    descriptor = lingers.detach()
    if urgent:
        passed = socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor)
        try:
            client.sendmsg([b"!"], [passed], socket.MSG_OOB)
        except OSError:
            pytest.skip("before Linux 5.15, or without CONFIG_AF_UNIX_OOB")
        client.send(data)
    else:
        socket.send_fds(client, [data], [descriptor])
    os.close(descriptor)


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("protocol", ["raw", "framed"])
def test_a_client_that_passes_descriptors_is_sent_away_without_its_request(
    passing_service: Service, clients: ExitStack, protocol: str, urgent: bool
) -> None:
    good = passing_service.connect()
    if protocol == "raw":
        hostile, said = passing_service.connect(), random_observation().tobytes()
    else:
        hostile, said = (
            passing_service.connect(passing_service.framed),
            frame(Type.HELLO, Hello().pack()),
        )
    passing_service.settle()
    pass_away(hostile, said, lingering_socket(clients), urgent=urgent)
    passing_service.settle()
    assert passing_service.notes.ended == ["passes descriptors"]
    assert passing_service.notes.answers == 0

    good.sendall(random_observation().tobytes())
    passing_service.settle()
    require_action(good)
    assert closed_by_service(hostile)


def test_a_client_that_passes_them_through_its_turn_is_not_waited_for(
    passing_service: Service, clients: ExitStack
) -> None:
    hostile = passing_service.connect(passing_service.framed)
    passing_service.settle()
    passing_service.model.meanwhile = lambda: pass_away(hostile, b"more", lingering_socket(clients))
    hostile.sendall(frame(Type.HELLO, Hello().pack()))
    passing_service.settle()
    assert receive_frame(hostile)[0].type == Type.WELCOME
    hostile.sendall(frame(Type.OBSERVATION, random_observation().tobytes(), rows=1))
    passing_service.settle()
    assert passing_service.notes.ended == ["passes descriptors"]


def test_clients_that_nobody_let_in_do_not_hold_up_the_end(
    tmp_path: Path, clients: ExitStack
) -> None:
    with serving(tmp_path) as passing_service:
        let_descriptors_pass(passing_service)
        for _ in range(3):
            pass_away(passing_service.connect(), b"x", lingering_socket(clients, NEVER_S))
        began_s = time.monotonic()
    assert time.monotonic() - began_s < NEVER_S / 10


@pytest.mark.parametrize("passes", [True, False])
def test_what_still_holds_descriptors_is_closed_elsewhere(clients: ExitStack, passes: bool) -> None:
    elsewhere = list[socket.socket]()
    here, there = (clients.enter_context(one) for one in socket.socketpair())
    stream = UnixStream(there, elsewhere.append)
    for _ in range(3):
        here.send(bytes(1000))
    if passes:
        socket.send_fds(here, [b"x"], [0])
    stream.close()

    assert elsewhere == ([there] if passes else [])
    assert (there.fileno() < 0) == (not passes)


@pytest.mark.usefixtures("_interruptible")
def test_a_close_that_lingers_is_interrupted(clients: ExitStack) -> None:
    here, there = socket.socketpair()
    clients.enter_context(here)
    pass_away(here, b"x", lingering_socket(clients, NEVER_S))
    closed = threading.Event()

    class Last(socket.socket):
        def close(self) -> None:
            super().close()
            closed.set()

    closer = Closer()
    closer.close(Last(fileno=there.detach()))
    assert closed.wait(PASS_S)
    closer.end()
