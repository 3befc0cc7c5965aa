# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which endpoints open, what is refused, and what is left behind."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_core.errors import PolicyError
from policy_inference.service import unix_socket
from policy_inference.service.endpoints import (
    EndpointOptions,
    Listener,
    default_socket,
    open_listeners,
)
from testkit.wording import check_wording, refusal

NOT_AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may do all of it")

FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@contextlib.contextmanager
def opened_endpoints(asked: EndpointOptions) -> Iterator[list[Listener]]:
    listeners = open_listeners(asked)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.sock"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_owner_and_group_may_connect(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with opened_endpoints(EndpointOptions(framed_socket=path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_the_socket_of_a_dead_process_is_replaced(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with caplog.at_level(logging.WARNING), opened_endpoints(EndpointOptions(socket=path)):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        check_wording(*caplog.messages)
    assert not path.exists()


def test_a_socket_in_use_stays_with_its_process_also_when_its_queue_is_full(path: Path) -> None:
    with opened_endpoints(EndpointOptions(socket=path)), contextlib.ExitStack() as stack:
        with refusal(PolicyError):
            open_listeners(EndpointOptions(framed_socket=path))
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path.with_name("busy")))
        busy.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(str(path.with_name("busy")))
        with refusal(PolicyError):
            open_listeners(EndpointOptions(socket=path.with_name("busy")))


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_what_is_no_socket_stays(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious", "utf-8")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        os.mkfifo(path)
    before = path.lstat()

    with refusal(PolicyError):
        open_listeners(EndpointOptions(socket=path))
    assert path.lstat().st_ino == before.st_ino


def test_of_services_that_begin_at_once_one_wins(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    begin, won, lost = threading.Barrier(8), list[Listener](), list[str]()

    def serve() -> None:
        begin.wait()
        try:
            won.extend(open_listeners(EndpointOptions(socket=path)))
        except PolicyError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    check_wording(*sorted(set(lost)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    winner.close()


def test_at_the_end_only_its_own_file_is_removed(path: Path) -> None:
    (listener,) = open_listeners(EndpointOptions(socket=path))
    path.rename(path.with_name("moved"))
    path.write_text("precious", "utf-8")
    listener.close()

    assert path.read_text("utf-8") == "precious"


@pytest.mark.parametrize(
    "name",
    ["nowhere/policy.sock", "file/policy.sock", "x" * 200],
    ids=["no folder", "no directory", "long"],
)
def test_paths_where_no_socket_can_be_leave_no_endpoint(
    path: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with refusal(PolicyError):
        open_listeners(EndpointOptions(socket=path, framed_socket=tmp_path / name))
    assert not path.exists()


def test_a_folder_that_another_process_keeps_locked_is_warned_of_and_does_not_prevent_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unix_socket, "_LOCKED_WITHIN_S", 0.0)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with (
            opened_endpoints(EndpointOptions(socket=path)),
            socket.socket(socket.AF_UNIX) as client,
        ):
            client.connect(str(path))
    finally:
        os.close(handle)
    check_wording(*caplog.messages)


def test_the_group_of_the_socket_is_set_or_named(path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    with opened_endpoints(EndpointOptions(socket=path, socket_group=group)):
        assert path.stat().st_gid == os.getgid()

    with refusal(PolicyError):
        open_listeners(EndpointOptions(socket=path, socket_group="no_such_group"))
    assert not path.exists()


def test_without_a_path_it_is_the_runtime_directory(tmp_path: Path) -> None:
    given, users = tmp_path / "given", tmp_path / "users"
    users.mkdir()

    assert (
        default_socket({"RUNTIME_DIRECTORY": f"{given}:/other", "XDG_RUNTIME_DIR": str(users)})
        == given / "policy.sock"
    )
    found = default_socket({"XDG_RUNTIME_DIR": str(users)})
    assert found == users / "policy_inference" / "policy.sock"
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    with refusal(PolicyError):
        default_socket({"XDG_RUNTIME_DIR": str(tmp_path / "nowhere")})


def test_tcp_on_loopback_needs_a_free_port_and_nothing_else() -> None:
    for host in ("127.0.0.1", "localhost"):
        with opened_endpoints(EndpointOptions(tcp=(host, 0))) as (listener,):
            assert listener.warning == ""
            socket.create_connection(("127.0.0.1", listener.port)).close()
            with refusal(PolicyError):
                open_listeners(EndpointOptions(tcp=("127.0.0.1", listener.port)))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::ffff:127.0.0.1"])
def test_beyond_this_machine_tcp_opens_only_where_it_is_asked_for(host: str) -> None:
    with refusal(PolicyError):
        open_listeners(EndpointOptions(tcp=(host, 0)))
    if host != "0.0.0.0":
        return
    with opened_endpoints(EndpointOptions(tcp=(host, 0), insecure_tcp=True)) as (listener,):
        assert "INSECURE" in listener.warning


@NOT_AS_ROOT
@pytest.mark.skipif(int(FIRST_FREE_PORT.read_text("utf-8")) <= 80, reason="all ports are free here")
def test_a_port_of_the_system_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"--tcp 127\.0\.0\.1:80: "):
        open_listeners(EndpointOptions(tcp=("127.0.0.1", 80)))


@pytest.mark.parametrize("host", ["x" * 300, "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_named(host: str) -> None:
    with pytest.raises(PolicyError, match=f"--tcp {host}:5555: "):
        open_listeners(EndpointOptions(tcp=(host, 5555), insecure_tcp=True))
