# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm, and a system without resources: the others get their answers."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policy_inference.service.protocol import Code

from .lockstep import (
    Service,
    closed_by_service,
    random_observation,
    receive_error,
    require_action,
    serving,
)


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
