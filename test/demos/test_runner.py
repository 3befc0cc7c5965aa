# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: what they print is kept, their end is seen, they do not outlive the demo."""

import os
import signal
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demos.runner import DemoOutcome, Processes, own_domain, run_demo, start_node
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from testkit.wording import check_wording, lines_with, refusal

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


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    with refusal(SimError):
        start_node("no_such_node", {}, tmp_path / "log")


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


def test_a_process_group_of_its_own_is_spared_by_the_terminals_ctrl_c(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    process = start_node(make_command("node", "ps -o pgid= -p $$"), {}, tmp_path / "log")
    process.wait()
    assert int(process.output()) != os.getpgrp()


def test_a_domain_of_its_own_is_never_the_default_one_and_stays_on_this_machine() -> None:
    assert own_domain({"ROS_DOMAIN_ID": "7"}, seed=1) == {}
    assert [own_domain({}, seed=seed)["ROS_DOMAIN_ID"] for seed in (0, 100, 101)] == [
        "1",
        "101",
        "1",
    ]
    assert "ROS_LOCALHOST_ONLY" in own_domain({"ROS_DISTRO": "humble"}, seed=0)
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" in own_domain({"ROS_DISTRO": "jazzy"}, seed=0)


def test_what_a_node_said_is_shown_where_a_demo_waits_for_it_in_vain(
    make_command: MakeCommand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready = made_fifo(tmp_path)
    command = make_command("node", f"echo remedy: calibrate it >&2; echo > {ready}; {FOREVER}")

    def wait_in_vain() -> None:
        with Processes() as nodes:
            nodes.start(command, {}, tmp_path / "log")
            ready.read_bytes()
            raise OperatorError("no status of the policy node has come")

    with pytest.raises(OperatorError):
        wait_in_vain()
    check_wording(*lines_with(caplog.messages, "calibrate"))


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/none"])
def test_an_output_that_is_no_folder_is_one_clear_error(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    (tmp_path / "file").touch()
    given = Namespace(bundle="lite3_walk", images=False, output=tmp_path / name)

    def demonstrate(given: Namespace) -> DemoOutcome:
        raise AssertionError("nothing is started")

    assert run_demo("demo", given, (), demonstrate, lambda bundle: bundle) == 4
    check_wording(*lines_with(caplog.messages, str(given.output)))
