# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which endpoints open, what is refused, and what is left behind."""

import contextlib
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from policy_core.errors import PolicyError
from policy_inference.service.credentials import read_certificate, read_token
from policy_inference.service.endpoints import (
    EndpointOptions,
    Listener,
    default_socket,
    open_listeners,
)
from testkit.wording import check_wording, refusal

from .certificates import make_certificate


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


@pytest.mark.parametrize("umask", [0o000, 0o077])
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


def test_at_the_end_only_its_own_file_is_removed(path: Path) -> None:
    (listener,) = open_listeners(EndpointOptions(socket=path))
    path.rename(path.with_name("moved"))
    path.write_text("precious", "utf-8")
    listener.close()
    assert path.read_text("utf-8") == "precious"


@pytest.mark.parametrize("name", ["nowhere/policy.sock", "x" * 200], ids=["no folder", "long"])
def test_paths_where_no_socket_can_be_leave_no_endpoint(
    path: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with refusal(PolicyError):
        open_listeners(EndpointOptions(socket=path, framed_socket=tmp_path / name))
    assert not path.exists()


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


def test_a_name_with_several_addresses_is_beyond_if_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
        ],
    )
    with refusal(PolicyError):
        open_listeners(EndpointOptions(tcp=("robot", 0)))


def write_token(folder: Path, content: bytes, mode: int = 0o640) -> Path:
    file = folder / "token"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_token_is_the_content_of_its_file_less_the_line_end(tmp_path: Path) -> None:
    assert read_token(write_token(tmp_path, b"0123456789abcdef\n")) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "mode"),
    [(b"0123456789abcde\n", 0o640), (b"x" * 257, 0o640), (b"0123456789abcdef", 0o644)],
    ids=["too short", "too long", "others can read it"],
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: bytes, mode: int) -> None:
    with refusal(PolicyError):
        read_token(write_token(tmp_path, content, mode))


@pytest.mark.parametrize("wrong", ["", "other key", "readable", "passphrase", "cert", "client_ca"])
def test_certificates_and_keys_that_cannot_be_used_are_refused(tmp_path: Path, wrong: str) -> None:
    ca = make_certificate(tmp_path, "ca")
    made = make_certificate(tmp_path, "service", ca)
    files = {"cert": made.cert, "key": made.key, "client_ca": ca.cert}
    if wrong == "other key":
        files["key"] = ca.key
    elif wrong == "readable":
        made.key.chmod(0o644)
    elif wrong == "passphrase":
        encrypt_key(made.key)
    elif wrong in files:
        files[wrong] = write_token(tmp_path, b"something else", 0o600)
    if not wrong:
        found = read_certificate(files["cert"], files["key"], files["client_ca"])
        assert found == tuple(file.read_bytes() for file in files.values())
        return
    with refusal(PolicyError):
        read_certificate(files["cert"], files["key"], files["client_ca"])


def encrypt_key(file: Path) -> None:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
