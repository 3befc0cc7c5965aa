# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated arm reaches with its models on a server that is killed, stopped, started again."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demos.arm_operator import ArmOperator
from examples.demos.runner import Processes
from model_tools.cli import main

pytest.importorskip("grpc", reason="grpcio is not installed")
slow_network: Any = importlib.import_module(
    "src.policy_inference.test.backends.remote.slow_network"
).slow_network
pytestmark = [pytest.mark.ros, pytest.mark.slow]
_WITHIN_S = 120.0


class Server:
    """`policy_inference serve --open-inference` with the arm's policy, always on the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        verb = [sys.executable, "-m", "policy_inference.commands.main", "serve"]
        where = ["--open-inference", f"127.0.0.1:{self.port}", "--bundle", "so101_reach"]
        self._process = subprocess.Popen([*verb, *where], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        while "ready" not in (line := self._process.stderr.readline()):
            assert line, "the service ended"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def remote_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bundles") / "so101_remote"
    assert (
        main(
            [
                "compile",
                "oip",
                "--bundle",
                "so101_reach",
                "--precision",
                "fp32",
                "--output",
                str(output),
            ]
        )
        == 0
    )
    # In lockstep, time passes as fast as the machine can: HOLD lasts long before a server is back.
    contract = output / "policy.yaml"
    text = contract.read_text("utf-8")
    assert "damp_after_s: 1.0" in text
    contract.write_text(text.replace("damp_after_s: 1.0", "damp_after_s: 3600"), "utf-8")
    return output


def reached(remote_bundle: Path, port: int, output: Path) -> dict[str, Any]:
    """Let the arm reach once with its models behind a port; return the summary."""
    command = [
        sys.executable,
        "-m",
        "examples.demos.act",
        "--bundle",
        str(remote_bundle),
        "--output",
        str(output),
    ]
    remote = ["--backend", "oip", "--backend-option", f"oip.endpoint=127.0.0.1:{port}"]
    episode = ["--episodes", "1", "--seed", "3001", "--no-images"]
    done = subprocess.run([*command, *remote, *episode], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary


@pytest.mark.acceptance
def test_slow_network_that_loses_packets_loses_no_chunk(
    server: Server, remote_bundle: Path, tmp_path: Path
) -> None:
    with slow_network(server.port, delay_s=0.15, jitter_s=0.05, loss=0.01) as port:
        summary = reached(remote_bundle, port, tmp_path)

    assert (summary["successes"], summary["hold_ticks"]) == (1, 0)
    assert summary["guard_events"] == {}


@pytest.mark.acceptance
def test_server_that_is_killed_or_hangs_during_a_reach_means_hold_with_the_reason_until_it_is_back(
    server: Server, remote_bundle: Path, tmp_path: Path
) -> None:
    with Processes() as nodes:
        nodes.start(
            "arm_sim_node",
            {
                "lockstep": True,
                "seed": 3001,
                "rate_hz": 30.0,
                "camera_rate_hz": 30.0,
                "image_height": 96,
                "image_width": 128,
            },
            tmp_path / "arm_sim_node.log",
        )
        nodes.start(
            "act_policy_node",
            {
                "bundle": str(remote_bundle),
                "backend": "oip",
                "backend_options": f"oip.endpoint=127.0.0.1:{server.port}",
                "use_sim_time": True,
            },
            tmp_path / "act_policy_node.log",
        )
        with ArmOperator(use_sim_time=True, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.stand()
            operator.demand("run")
            operator.wait_until(lambda: operator.chunks > 0, "a chunk", _WITHIN_S)

            server.kill()
            _holds(operator)
            server.start()
            _goes_on(operator)
            server.pause()
            _holds(operator)
            server.go_on()
            _goes_on(operator)


def _holds(operator: ArmOperator) -> None:
    operator.wait_until(lambda: operator.mode == "HOLD", "HOLD", _WITHIN_S)
    assert "oip: 127.0.0.1:" in operator.status.reason
    assert not operator.status.latched


def _goes_on(operator: ArmOperator) -> None:
    before = operator.chunks
    operator.wait_until(
        lambda: operator.mode == "RUN" and operator.chunks > before, "RUN again", _WITHIN_S
    )
