# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `operator_node` as a process: in a terminal, without one, and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.executors import SingleThreadedExecutor

from testkit.fast_dds import run_python

from .robot import DEADLINE_S, Robot

pytestmark = pytest.mark.ros
COMMAND = ["operator_node", "--ros-args", "-p", "joy_timeout_s:=5.0"]


class Terminal:
    """A command in a terminal of 80 x 24."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._hand, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(self._hand, False)
        self.text = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=far,
            stdout=far,
            stderr=far,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        self._far = far

    def type(self, keys: str) -> None:
        self.send({"enter": "\r"}.get(keys, keys).encode())

    def send(self, data: bytes) -> None:
        os.write(self._hand, data)

    def shows(self, text: str) -> bool:
        """Whether this was written since the beginning."""
        with suppress(BlockingIOError, OSError):
            while more := os.read(self._hand, 65536):
                self.text += more
        return text.encode() in self.text

    def stand_still(self) -> None:
        """Take nothing any more: a writer is held up."""
        termios.tcflow(self._far, termios.TCOOFF)

    def hang_up(self) -> None:
        if self._far >= 0:
            os.close(self._far)
            self._far = -1
        if self._hand >= 0:
            os.close(self._hand)
            self._hand = -1

    def has_ended(self) -> bool:
        if self._hand >= 0:
            self.shows("")  # a full terminal would hold it up
        return self.process.poll() is not None


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_one(*command: str) -> Terminal:
        terminals.append(Terminal(command or COMMAND))
        return terminals[-1]

    yield open_one
    for terminal in terminals:
        terminal.hang_up()
        terminal.process.kill()
        terminal.process.wait()


@pytest.fixture
def terminal(open_terminal: Callable[..., Terminal]) -> Terminal:
    """`operator_node` in a terminal."""
    return open_terminal()


@pytest.fixture
def headless(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return what starts the command without a terminal; it writes to the file `log`."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("wb") as log:
            started.append(
                subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_screen_in_a_terminal_stands_the_robot_up_and_quitting_damps_it(
    terminal: Terminal, met_robot: Robot
) -> None:
    met_robot.until(lambda: terminal.shows("stand (s, Enter)"), "the screen")
    met_robot.types(terminal.type, "s", lambda: met_robot.asked)
    met_robot.is_asked("stand")
    met_robot.until(lambda: terminal.shows("READY"), "the next mode")
    terminal.type("q")
    met_robot.is_asked("damp")
    met_robot.until(terminal.has_ended, "the end")
    assert terminal.process.returncode == 0
    # What was logged meanwhile stays in the terminal, after the screen has gone.
    assert terminal.shows("[operator_node]: stand:")


@pytest.mark.slow
def test_command_without_an_action_is_the_screen_of_the_robot_that_is_found_in_its_namespace(
    open_terminal: Callable[..., Terminal],
    operator_executor: SingleThreadedExecutor,
    tmp_path: Path,
) -> None:
    parameters = tmp_path / "operator.yaml"
    parameters.write_text("/**/operator_node: {ros__parameters: {key_share: 0.3}}\n")
    robot = Robot(operator_executor, namespace="one")
    robot.has_driver()
    terminal = open_terminal("robot_operator", "--params-file", str(parameters))

    robot.until(lambda: terminal.shows("take control (t, Enter)"), "the driver on the screen")
    robot.until(lambda: terminal.shows("keys: 30 %"), "the parameter")
    terminal.type("e")
    robot.until(lambda: True in robot.estops, "the e-stop on the topic")
    robot.is_asked("estop")
    assert robot.driver is not None
    robot.policy.mode, robot.driver.state = JointCommand.MODE_RUN, RobotStatus.FOLLOWING
    robot.until(lambda: bool(robot.velocities), "velocities")
    robot.node.destroy_node()


def test_screen_goes_on_after_bytes_that_are_no_text_and_after_it_was_stopped(
    terminal: Terminal, met_robot: Robot
) -> None:
    met_robot.until(lambda: terminal.shows("stand (s, Enter)"), "the screen")
    for typed, request in (
        (b"\xff\xfed\x80", "damp"),
        (b"\xe9e", "estop"),
        (b"\xff\x1b", "estop"),
        (b"\xff\xff", ""),
        (b"c", "reset"),
    ):
        terminal.send(typed)
        if request:
            met_robot.is_asked(request)
    for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGSTOP, signal.SIGCONT):
        terminal.process.send_signal(number)
    terminal.type("d")
    met_robot.is_asked("damp")
    met_robot.until(lambda: terminal.shows("damp: DAMP"), "the answer")
    assert terminal.text.count(b"\x1b[?1049h") == 1, "began a second time"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["hang up", "signal"])
def test_terminal_that_closes_and_a_signal_damp_the_robot_and_end_the_process(
    terminal: Terminal, met_robot: Robot, end: str
) -> None:
    met_robot.policy.mode, met_robot.policy.reason = (JointCommand.MODE_RUN, "the policy runs")
    met_robot.until(lambda: terminal.shows("the policy runs"), "the screen")
    met_robot.until(lambda: met_robot.velocities, "velocities")
    if end == "signal":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        terminal.hang_up()
    met_robot.is_asked("damp")
    met_robot.until(terminal.has_ended, "the end")
    assert terminal.process.returncode == 0
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "the last velocity")


@pytest.mark.acceptance
@pytest.mark.parametrize("end", ["signal", "hang_up"])
def test_screen_whose_terminal_stands_still_ends_all_the_same(
    terminal: Terminal, met_robot: Robot, end: str
) -> None:
    met_robot.policy.mode, met_robot.policy.reason = (JointCommand.MODE_RUN, "the policy runs")
    met_robot.until(lambda: terminal.shows("the policy runs"), "the screen")
    met_robot.until(lambda: met_robot.velocities, "velocities")
    terminal.stand_still()
    for number in range(100):
        # More than what waits to be written may be.
        met_robot.policy.reason = f"reason {number}"
        met_robot.until(
            partial(met_robot.heard_since, len(met_robot.velocities)), "the next velocity"
        )

    if end == "signal":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        terminal.hang_up()

    met_robot.is_asked("damp")
    met_robot.until(lambda: terminal.process.poll() is not None, "the end")
    assert terminal.process.returncode == (1 if end == "signal" else 0)
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "the last velocity")


@pytest.mark.slow
def test_without_a_terminal_changes_are_logged_and_sigint_damps(
    headless: Callable[[], subprocess.Popen[bytes]], met_robot: Robot, tmp_path: Path
) -> None:
    process, log = headless(), tmp_path / "log"
    met_robot.policy.mode, met_robot.policy.reason = (JointCommand.MODE_RUN, "the policy runs")
    met_robot.until(lambda: b"policy: RUN: the policy runs" in log.read_bytes(), "the log")
    met_robot.until(lambda: met_robot.velocities, "velocities")
    process.send_signal(signal.SIGINT)
    met_robot.is_asked("damp")
    assert process.wait(DEADLINE_S) == 0


@pytest.mark.slow
def test_policy_node_that_does_not_answer_holds_the_end_up_for_a_moment_only(
    headless: Callable[[], subprocess.Popen[bytes]], met_robot: Robot
) -> None:
    process = headless()
    met_robot.policy.mode = JointCommand.MODE_RUN
    met_robot.until(lambda: met_robot.velocities, "velocities")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0


ALONE = """
from pathlib import Path
from robot_operator.nodes.own_node import own_node

with own_node("alone", silent=True):
    print("/dev/shm/fast" in Path("/proc/self/maps").read_text())
"""


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_command_uses_no_shared_memory_of_fast_dds_unless_the_user_configured_it(
    is_configured: bool,
) -> None:
    """With it, a press of the e-stop could wait 0.33 s."""
    ran = run_python(ALONE, is_configured=is_configured)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(is_configured))
