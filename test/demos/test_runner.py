# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: what they print is kept, their end is seen, they do not outlive the demo."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demos.runner import Processes, start_node
from robot_sim.errors import SimError
from testkit.wording import refusal

MakeCommand = Callable[[str, str], str]
FOREVER = "while true; do sleep 0.01; done"


def made_fifo(folder: Path) -> Path:
    """Return a pipe whose reader waits for a writer."""
    os.mkfifo(folder / "ready")
    return folder / "ready"


@pytest.fixture
def make_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCommand:
    """Return what puts a bash script on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, script: str) -> str:
        file = folder / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)
        return name

    return make


def test_parameters_arrive_as_ros_arguments(make_command: MakeCommand, tmp_path: Path) -> None:
    command = make_command("node", 'printf "%s\\n" "$@"')
    parameters = {"bundle": "2026", "lockstep": True, "rate_hz": 200.0, "faults": ["drop:imu"]}
    process = start_node(command, parameters, tmp_path / "log", remappings={"a": "b"})
    assert process.wait() == 0
    assert process.output().split("\n")[:-1] == [
        "--ros-args",
        "-p",
        'bundle:="2026"',
        "-p",
        "lockstep:=true",
        "-p",
        "rate_hz:=200.0",
        "-p",
        'faults:=["drop:imu"]',
        "-r",
        "a:=b",
    ]


def test_a_process_that_ends_is_reported_with_the_end_of_its_log(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    command = make_command("node", "echo no such bundle >&2; exit 2")
    with Processes() as nodes:
        process = nodes.start(command, {}, tmp_path / "node.log")
        process.wait()
        with refusal(SimError):
            nodes.check()


def test_leaving_ends_all_processes_the_last_first(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    order, ready = tmp_path / "order", made_fifo(tmp_path)
    script = f"trap 'echo $0 >> {order}; exit 0' INT; echo > {ready}; {FOREVER}"
    with Processes() as nodes:
        for name in ("first", "second"):
            nodes.start(make_command(name, script), {}, tmp_path / f"{name}.log")
            ready.read_text()
        nodes.check()
    assert [Path(line).name for line in order.read_text().split()] == ["second", "first"]


def test_a_process_that_does_not_listen_is_killed(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    ready = made_fifo(tmp_path)
    script = f"trap '' INT TERM; echo > {ready}; {FOREVER}"
    process = start_node(make_command("node", script), {}, tmp_path / "log")
    ready.read_text()
    process.stop(0.1)
    assert process.status == -signal.SIGKILL
