# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`examples/my_robot` as docs/bring_your_robot.md has it: built elsewhere, proven, made to walk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from testkit.command_run import CommandRun, require_launch

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.real_time]
ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]


class Mutant(NamedTuple):
    """A mistake in the example's driver, as many people make it.

    Attributes:
        edits: What is written in `driver.py` instead of what.
        test: The test that fails, as an expression for `pytest -k` that begins with its name.
        says: What its message contains.
    """

    edits: dict[str, str]
    test: str
    says: tuple[str, ...]


STATES, IMU = "test_state_of_each_joint_is_the_robots", "test_imu_is_the_robots"
COMMANDS = "test_each_value_of_a_command_reaches_its_joint"
EXPIRES = "test_command_that_expires_brings_to_rest_and_is_latched"
COLUMNS = "columns = np.ascontiguousarray(values.T, dtype=np.float32)"
MUTANTS = {
    "two joint names swapped": Mutant(
        {
            "G_M_S2 = 9.81": "G_M_S2 = 9.81\n"
            "JOINT_NAMES = (JOINT_NAMES[3], *JOINT_NAMES[1:3], JOINT_NAMES[0], *JOINT_NAMES[4:])"
        },
        STATES,
        (
            "position of FR_HipX_joint is that of FL_HipX_joint:",
            "position of FL_HipX_joint is that of FR_HipX_joint:",
        ),
    ),
    "an offset added twice": Mutant(
        {"joint_pos=": "joint_pos=each_leg(0.0, 0.0, 0.1) + "},
        STATES,
        ("position of FR_Knee_joint, FL_Knee_joint, HR_Knee_joint and 1 more has an offset",),
    ),
    "stamps 60 ms old": Mutant(
        {
            "joint_states_topic(JOINT_NAMES),": "__import__('dataclasses').replace(\n"
            "    joint_states_topic(JOINT_NAMES),\n"
            "    fill=lambda s, ns: joint_states_topic(JOINT_NAMES).fill(s, ns - 60_000_000),\n"
            "),"
        },
        "test_stamps_are_those_of_the_receipt",
        ("the stamp of joint_states is ", " ms (median) older than the robot's state"),
    ),
    "acceleration in g": Mutant(
        {" * G_M_S2": ""},
        IMU,
        ("acceleration of x, y, z is 9.81 times too small (g taken for m/s^2)",),
    ),
    "stiffness and damping swapped": Mutant(
        {"effort, stiffness, damping = columns": "effort, damping, stiffness = columns"},
        COMMANDS,
        (
            "stiffness of FR_HipX_joint, FR_HipY_joint, FR_Knee_joint and 9 more is its damping",
            "damping of FR_HipX_joint, FR_HipY_joint, FR_Knee_joint and 9 more is its stiffness",
        ),
    ),
    "commands that do not expire": Mutant(
        {
            "G_M_S2 = 9.81": "G_M_S2 = 9.81\n"
            "import robot_driver.following\n"
            "robot_driver.following.Follower.unexpired = lambda self, now_ns: self.newest"
        },
        EXPIRES,
        ("the command does not expire", "valid for 1.0 s"),
    ),
    "short commands that expire too late": Mutant(
        {
            "G_M_S2 = 9.81": "G_M_S2 = 9.81\n"
            "import robot_driver.following\n"
            "def unexpired(self, now_ns):\n"
            "    command = self.newest\n"
            "    if command is None:\n"
            "        return None\n"
            "    longer_ns = command.valid_for_ns * (2 if command.valid_for_ns < 10**9 else 1)\n"
            "    return command if now_ns - command.received_ns < longer_ns else None\n"
            "robot_driver.following.Follower.unexpired = unexpired"
        },
        f"{EXPIRES} and 0.2",
        ("the command expires too late", "valid for 0.2 s"),
    ),
    "gains of the frame before": Mutant(
        {
            "effort, stiffness, damping = columns": "effort, stiffness, damping = columns\n"
            "        gains, self._gains = getattr(self, '_gains', columns[3:]), columns[3:]\n"
            "        stiffness, damping = gains"
        },
        "test_each_frame_has_the_values_of_one_command",
        ("frames are of no command that was sent",),
    ),
    "the last state again for 0.4 s": Mutant(
        {
            "DEFAULT = MyRobotSettings()": "DEFAULT = MyRobotSettings()\n"
            "import time\n"
            "class TopicTransport(TopicTransport):\n"
            "    last, came_s = None, 0.0\n"
            "    def receive(self, ready):\n"
            "        for self.last in super().receive(ready):\n"
            "            self.came_s = time.monotonic()\n"
            "            yield self.last\n"
            "        if self.last and 0.04 < time.monotonic() - self.came_s < 0.4:\n"
            "            message = deserialize_message(self.last.data, LowState)\n"
            "            message.tick_ms += 10\n"
            "            message.number += 1\n"
            "            message.acceleration_g[0] += 1e-4\n"
            "            data = bytes(serialize_message(message))\n"
            "            self.last = self.last._replace(data=data, received_ns=time.time_ns())\n"
            "            yield self.last"
        },
        "test_each_state_is_published_once",
        ("joint_states show the robot's last state", "with new stamps"),
    ),
    "lost states that are not counted": Mutant(
        {"state.number - before.number - 1": "0"},
        "test_lost_states_are_counted",
        ("5 of which were lost on the way", "neither in `received` nor in `missed`"),
    ),
    "states that are dropped uncounted": Mutant(
        {
            "        if self.imu_stands": "        if before and state.number % 10 == 0:\n"
            "            self.state = state\n"
            "            return None\n"
            "        if self.imu_stands"
        },
        "test_lost_states_are_counted",
        ("5 of which were lost on the way", "neither in `received` nor in `missed`"),
    ),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own workspace, built on ours."""
    folder = tmp_path_factory.mktemp("my_ws")
    (folder / "src").mkdir()
    shutil.copytree(ROOT / "examples" / "my_robot", folder / "src" / "my_robot")
    built = in_shell_at("colcon build", folder)
    assert built.returncode == 0, built.stdout
    return folder


def in_shell_at(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
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
def run_there(workspace: Path) -> Run:
    """Run a line after `install/setup.bash` of the workspace; return what it prints."""

    def run_there(line: str) -> str:
        done = in_shell_at(f". install/setup.bash && {line}", workspace)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run_there


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


@pytest.mark.parametrize("tests", [f"{STATES} or {COMMANDS}", "not Times"], ids=["short", "all"])
def test_driver_of_the_example_does_what_every_driver_must_do(run_there: Run, tests: str) -> None:
    printed = run_there(
        f"python -m pytest -p no:cacheprovider -k '{tests}' src/my_robot/my_robot_driver/test"
    )
    assert " passed" in printed
    assert " failed" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mistake_in_a_driver_fails_a_test_that_names_it(
    workspace: Path, tmp_path: Path, mutant: Mutant
) -> None:
    package = "src/my_robot/my_robot_driver"
    shutil.copytree(workspace / package / "my_robot_driver", tmp_path / "my_robot_driver")
    driver = tmp_path / "my_robot_driver" / "driver.py"
    text = driver.read_text()
    for old, new in mutant.edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    driver.write_text(text)
    done = in_shell_at(
        # A test that fails shall not run again, whatever runs this one.
        f". install/setup.bash && PYTHONPATH={tmp_path}:$PYTHONPATH PYTEST_ADDOPTS= "
        f"python -m pytest -p no:cacheprovider --junitxml={tmp_path}/report.xml "
        f"-k '{mutant.test}' {package}/test",
        workspace,
    )
    report = ElementTree.parse(tmp_path / "report.xml")
    failed = {
        case.get("name", "").partition("[")[0]
        for case in report.iter("testcase")
        if case.find("failure") is not None
    }
    assert failed == {mutant.test.partition(" ")[0]}, done.stdout
    for text in mutant.says:
        assert text in done.stdout, done.stdout


@pytest.mark.acceptance  # in real time: a robot of 500 Hz on a machine with nothing else to do
def test_simulated_my_robot_stands_and_walks(run_there: Run, nodes: Callable[[str], None]) -> None:
    nodes("my_robot_simulator")
    nodes("my_robot_driver")
    nodes("joint_policy_node --ros-args -p bundle:=lite3_walk")
    run_there("robot_operator --timeout 30 take_control")
    # On a machine that is busy a state may be too old in the moment of a request.
    run_there("robot_operator stand || robot_operator stand || robot_operator stand")
    assert "READY" in run_there("robot_operator status")
    run_there("robot_operator run && robot_operator drive 0.5 0 0 --seconds 3")
    status = run_there("robot_operator status")
    assert "RUN" in status
    assert "FOLLOWING" in status
    run_there("robot_operator damp && robot_operator release_control")
    assert "LISTENING" in run_there("robot_operator status")


def test_launched_policy_receives_my_robot_and_ctrl_c_ends_all_nodes(workspace: Path) -> None:
    require_launch()
    from testkit.talk import Talk

    line = "ros2 launch my_robot_driver my_robot.launch.py simulated:=true"
    shell = f"cd {workspace} && . install/setup.bash && exec {line}"
    with closing(CommandRun("bash", "-c", shell)) as run, Talk("/") as talk:
        talk.hear_inputs("joint_policy_node", ("joint_states", "imu/data"))
        run.is_interrupted(3)
