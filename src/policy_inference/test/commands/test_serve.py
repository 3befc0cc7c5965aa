# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of the service: what it refuses, and with which exit status."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policy_inference.commands.main import main
from testkit.wording import check_wording, lines_with

from ..nodes.bundles import write_bundle

OPEN_INFERENCE = "--bundle no/such --open-inference 127.0.0.1:0"


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Give the level back that the command sets."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture
def served_bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def refused_with(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[[int], None]:
    """Check the words of a refusal with an exit status."""

    def check(status: int) -> None:
        err = capsys.readouterr().err
        check_wording(*(lines_with(err, "error:") if status == 2 else caplog.messages[-1:]))

    return check


def exit_status(words: str) -> int:
    try:
        return main(["serve", *words.split()])
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--tls-cert a.pem --open-inference 127.0.0.1:0", 2),
        ("--tls-client-ca a.pem", 2),
        ("--tcp 5555", 2),
        ("--tcp 127.0.0.1:65536", 2),
        ("--open-inference 127.0.0.1:0 --batch 4", 2),
        # What is not safe.
        ("--tcp 0.0.0.0:0", 4),
        ("--open-inference 0.0.0.0:0", 4),
    ],
)
def test_arguments_that_contradict_or_are_not_safe_are_refused(
    served_bundle: Path, words: str, status: int, refused_with: Callable[[int], None]
) -> None:
    assert exit_status(f"--bundle {served_bundle} {words}") == status
    refused_with(status)


@pytest.mark.parametrize(
    ("folder", "name", "status"),
    [
        ("", "token", 2),
        ("/run/credentials/x", "../../etc/shadow", 2),
        ("FOLDER", "token", 4),  # read from its folder, and too short
    ],
)
def test_a_credential_of_systemd_that_is_none_is_refused(
    folder: str, name: str, status: int, tmp_path: Path, monkeypatch: Any, refused_with: Any
) -> None:
    (tmp_path / "token").write_text("too short", "utf-8")
    (tmp_path / "token").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder.replace("FOLDER", str(tmp_path)))
    assert exit_status(f"{OPEN_INFERENCE} --token-file credential:{name}") == status
    refused_with(status)


def test_a_socket_or_a_port_of_metrics_that_is_taken_is_refused(
    served_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert exit_status(f"--bundle {served_bundle} --socket {path}") == 4
    check_wording(caplog.messages[-1])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert exit_status(f"--bundle {served_bundle} --metrics {place}") == 4
    assert place in caplog.messages[-1]
    check_wording(caplog.messages[-1].replace(place, "PLACE"))


@pytest.mark.slow
def test_systemd_hears_when_clients_are_answered_and_when_that_ends(
    served_bundle: Path, tmp_path: Path
) -> None:
    path, notify = tmp_path / "raw.sock", tmp_path / "notify"
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "5000000"}
    words = f"-m policy_inference.commands.main serve --bundle {served_bundle} --socket {path}"
    command = [sys.executable, *words.split(), "--metrics", "127.0.0.1:0"]
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


def test_what_only_tls_and_metrics_need_is_not_imported() -> None:
    code = (
        "import sys, policy_inference.commands.serving\n"
        "print(*{'cryptography', 'http', 'prometheus_client', 'rosbags'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
