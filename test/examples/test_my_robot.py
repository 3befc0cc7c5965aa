# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`examples/my_robot` as docs/bring_your_robot.md has it: built elsewhere, proven, made to walk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.real_time]
ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own workspace, built on ours."""
    folder = tmp_path_factory.mktemp("my_ws")
    (folder / "src").mkdir()
    shutil.copytree(ROOT / "examples" / "my_robot", folder / "src" / "my_robot")
    built = in_shell("colcon build", folder)
    assert built.returncode == 0, built.stdout
    return folder


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell to its end."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def run(workspace: Path) -> Run:
    """Run a line after `install/setup.bash` of the workspace; return what it prints."""

    def run(line: str) -> str:
        done = in_shell(f". install/setup.bash && {line}", workspace)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.fixture
def nodes(workspace: Path) -> Iterator[Callable[[str], None]]:
    """Start nodes; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> None:
        shell = f". install/setup.bash && exec {line}"
        started.append(subprocess.Popen(["bash", "-c", shell], cwd=workspace, env=os.environ))

    yield start
    for process in started[::-1]:
        process.terminate()
    for process in started:
        process.wait(30.0)


def test_driver_of_the_example_does_what_every_driver_must_do(run: Run) -> None:
    printed = run(
        "python -m pytest -p no:cacheprovider -k 'not Times' src/my_robot/my_robot_driver/test"
    )
    assert " failed" not in printed


@pytest.mark.acceptance  # in real time: a robot of 500 Hz on a machine with nothing else to do
def test_simulated_my_robot_stands_and_walks(run: Run, nodes: Callable[[str], None]) -> None:
    nodes("my_robot_simulator")
    nodes("my_robot_driver")
    nodes("joint_policy_node --ros-args -p bundle:=lite3_walk")
    run("robot_operator --timeout 30 take_control")
    # On a machine that is busy a state may be too old in the moment of a request.
    run("robot_operator stand || robot_operator stand || robot_operator stand")
    assert "READY" in run("robot_operator status")
    run("robot_operator run && robot_operator drive 0.5 0 0 --seconds 3")
    status = run("robot_operator status")
    assert "RUN" in status
    assert "FOLLOWING" in status
    run("robot_operator damp && robot_operator release_control")
    assert "LISTENING" in run("robot_operator status")


def test_parameter_file_of_the_example_is_that_of_its_driver(run: Run) -> None:
    """Each parameter in the file exists, with the default value that the file shows."""
    check = (
        "import yaml; from my_robot_driver.driver import PARAMETERS; "
        "found = yaml.safe_load(open('src/my_robot/my_robot_driver/config/my_robot.yaml')); "
        "known = {each.name: each.initial for each in PARAMETERS}; "
        "given = found['/**/my_robot_driver']['ros__parameters']; "
        "assert given.items() <= known.items(), given.items() - known.items()"
    )
    run(f'python -c "{check}"')
