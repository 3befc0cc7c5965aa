# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of the service: what it refuses, and with which exit status."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_inference.commands.main import main

from ..nodes.bundles import write_bundle

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Give the level back that the command sets."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--tls-cert", "a.pem", "--framed-tcp", "127.0.0.1:0"], "--tls-cert and --tls-key belong"),
        (["--tls-key", "a.key", "--framed-tcp", "127.0.0.1:0"], "--tls-cert and --tls-key belong"),
        (["--tls-client-ca", "a.pem"], "--tls-client-ca needs --tls-cert"),
        (
            ["--tls-cert", "a", "--tls-key", "b", "--tcp", "127.0.0.1:0"],
            "--tls-cert needs --framed",
        ),
        (["--insecure-tcp", "--framed-tcp", "0.0.0.0:0"], "--insecure-tcp needs --tcp"),
        (["--token-file", "a", "--socket", "b"], "--token-file needs a framed endpoint"),
        (["--socket", "a", "--framed-socket", "a"], "expected two paths, found one"),
        (["--tcp", "5555"], "expected HOST:PORT"),
        (["--tcp", "::1:5555"], "expected HOST:PORT"),
        (["--tcp", "127.0.0.1:65536"], "expected HOST:PORT"),
        (["--tcp", "127.0.0.1:x"], "expected HOST:PORT"),
        (["--tcp", ":5555"], "expected HOST:PORT"),
        (["--clients", "0"], "expected a number from 1 to 4096"),
    ],
)
def test_arguments_that_contradict_end_with_status_2(
    bundle: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--bundle", str(bundle), *arguments])

    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_token_that_others_can_read_ends_with_status_1_before_the_model_opens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN, "utf-8")
    token.chmod(0o644)

    assert main(["serve", "--bundle", "no such bundle", "--token-file", str(token)]) == 4
    assert f"{token}: expected a file that others" in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "refused"),
    [
        (["--framed-socket", "policy.sock"], "expected a file that clients cannot read"),
        ([], "expected a file that clients cannot read"),
        (["--framed-tcp", "127.0.0.1:0"], "no such bundle"),
    ],
)
def test_a_token_that_clients_of_the_unix_socket_can_read_ends_with_status_1(
    tmp_path: Path, endpoint: list[str], refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN, "utf-8")
    os.chown(token, -1, os.getegid())
    token.chmod(0o640)

    assert main(["serve", "--bundle", "no such bundle", "--token-file", str(token), *endpoint]) == 4
    assert refused in caplog.text


def test_a_credential_of_systemd_is_read_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("too short", "utf-8")
    (tmp_path / "token").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert main(["serve", "--bundle", "none", "--token-file", "credential:token"]) == 4
    assert f"{tmp_path}/token: expected a token of 16 to 256 bytes, found 9" in caplog.text


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("", "token", "LoadCredential=token:FILE"),
        ("/run/credentials/x", "", "expected credential:NAME"),
        ("/run/credentials/x", "../../etc/shadow", "expected credential:NAME"),
        ("/run/credentials/x", "..", "expected credential:NAME"),
    ],
)
def test_a_credential_that_is_none_ends_with_status_2(
    folder: str,
    name: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)

    with pytest.raises(SystemExit) as ended:
        main(["serve", "--bundle", "none", "--token-file", f"credential:{name}"])

    assert ended.value.code == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_a_socket_in_use_ends_with_status_1(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        assert main(["serve", "--bundle", str(bundle), "--socket", str(path)]) == 4
    assert f"{path}: expected a socket that no process uses, found one in use" in caplog.text


@pytest.mark.parametrize(
    "arguments", [["--tcp", "0.0.0.0:0"], ["--framed-tcp", "0.0.0.0:0"], ["--framed-tcp", "[::]:0"]]
)
def test_what_is_not_safe_ends_with_status_1(
    bundle: Path, arguments: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["serve", "--bundle", str(bundle), *arguments]) == 4
    assert "expected an address of this machine alone" in caplog.text


def test_a_port_of_metrics_that_is_taken_ends_with_status_1(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"

        assert main(["serve", "--bundle", str(bundle), "--metrics", place]) == 4
    assert f"--metrics {place}: " in caplog.text
    assert "choose another port" in caplog.text


@pytest.mark.parametrize(
    "arguments", [["--cpus", "4096"], ["--priority", "100"], ["--metrics", "9464"]]
)
def test_cores_priorities_and_places_that_are_none_end_with_status_2(
    bundle: Path, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--bundle", str(bundle), *arguments])

    assert ended.value.code == 2


def test_systemd_hears_when_clients_are_answered_and_when_that_ends(
    bundle: Path, tmp_path: Path
) -> None:
    path, notify = tmp_path / "raw.sock", tmp_path / "notify"
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "5000000"}
    command = [
        sys.executable,
        "-m",
        "policy_inference.commands.main",
        "serve",
        "--bundle",
        str(bundle),
        "--socket",
        str(path),
        "--metrics",
        "127.0.0.1:0",
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(60)
        with subprocess.Popen(command, env=environment) as process:
            try:
                assert manager.recv(4096).startswith(b"READY=1\nSTATUS=serves two_joints 1.2.3")
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(60)
                    client.connect(str(path))
                    client.sendall(bytes(4 * 15))
                    assert len(client.recv(8)) == 8
                assert manager.recv(4096) == b"WATCHDOG=1"
                process.send_signal(signal.SIGTERM)
                said = [*iter(lambda: manager.recv(4096), b"STOPPING=1")]
                assert set(said) <= {b"WATCHDOG=1"}
                assert process.wait(60) == 0
            finally:
                process.kill()


def test_a_log_without_a_reader_delays_neither_answers_nor_the_end(
    bundle: Path, tmp_path: Path
) -> None:
    path, notify = tmp_path / "raw.sock", tmp_path / "notify"
    reading, writing = os.pipe()
    os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
    command = [
        sys.executable,
        "-m",
        "policy_inference.commands.main",
        "serve",
        "--bundle",
        str(bundle),
        "--socket",
        str(path),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(60)
        with subprocess.Popen(
            command, stderr=writing, env={**os.environ, "NOTIFY_SOCKET": str(notify)}
        ) as process:
            try:
                assert manager.recv(4096).startswith(b"READY=1")
                for _ in range(3):
                    with socket.socket(socket.AF_UNIX) as client:
                        client.settimeout(60)
                        client.connect(str(path))
                        client.sendall(bytes(4 * 15))
                        assert len(client.recv(8)) == 8
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
            finally:
                process.kill()
                os.close(reading)
                os.close(writing)


def test_what_only_tls_and_metrics_need_is_not_imported() -> None:
    code = (
        "import sys, policy_inference.commands.serving\n"
        "print(*{'cryptography', 'http', 'prometheus_client', 'rosbags'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
