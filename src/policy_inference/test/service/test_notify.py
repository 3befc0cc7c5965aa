# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What systemd hears, over the datagram socket that sd_notify(3) describes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from policy_inference.service.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Yield a listening socket and what NOTIFY_SOCKET says of it."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5.0)
        listening.bind(name if request.param == "file" else "\0" + name)
        yield listening, name if request.param == "file" else "@" + name


def test_ready_alive_status_and_stopping_reach_systemd(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    with closing(Notifier({"NOTIFY_SOCKET": address})) as notifier:
        notifier.ready("serves lite3_walk")
        notifier.alive()
        notifier.status("slow")
        notifier.stopping()
        heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1\nSTATUS=serves lite3_walk", "WATCHDOG=1", "STATUS=slow", "STOPPING=1"]


def test_a_manager_that_does_not_read_delays_nothing(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    with closing(Notifier({"NOTIFY_SOCKET": address})) as notifier:
        for _ in range(5000):  # more than any queue of datagrams holds
            notifier.alive()
        listening.recv(4096)
        notifier.stopping()
        listening.setblocking(False)
        heard = [*iter(lambda: _received(listening), "")]
    assert heard[-1] == "STOPPING=1"
    assert len(heard) < 5000


def test_a_socket_that_is_not_there_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})) as notifier:
        notifier.alive()
    (line,) = caplog.messages
    assert str(tmp_path / "gone") in line
    assert os.strerror(errno.ENOENT) in line


@pytest.mark.parametrize(
    ("variables", "period_s"),
    [
        ({"USEC": "5000000", "PID": str(os.getpid())}, 5.0),
        ({"USEC": "5000000"}, 5.0),
        ({"USEC": "5000000", "PID": "1"}, None),
        *(({"USEC": text}, None) for text in ("", "0", "soon", "-5")),
    ],
)
def test_watchdog_is_this_process_s_or_none(
    variables: dict[str, str], period_s: float | None
) -> None:
    environment = {f"WATCHDOG_{name}": value for name, value in variables.items()}
    assert Notifier(environment).watchdog_s == period_s


def _received(listening: socket.socket) -> str:
    try:
        return listening.recv(4096).decode()
    except BlockingIOError:
        return ""
