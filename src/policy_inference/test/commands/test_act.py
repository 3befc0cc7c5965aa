# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `act`: what it refuses, and what it starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import rclpy
from policy_msgs.msg import JointCommand

from policy_inference.commands.act import ros_arguments
from policy_inference.commands.main import main
from policy_inference.nodes.act_policy_node import ActPolicyNode
from policy_store.signals import SIGNALLED
from testkit.wording import check_wording

from ..nodes.arm import Arm
from ..nodes.colour_bundle import RATE_HZ, write_colours
from ..nodes.harness import StageOf

WITHIN_S = 30.0


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A chunk policy of two cameras, front and wrist."""
    return write_colours(tmp_path / "colours")


class TestRefused:
    @pytest.mark.parametrize(
        "given",
        [
            "--fps 30",
            "--camera laptop=/dev/video0",
            "--camera front=0 --camera wrist=0",
        ],
    )
    def test_what_does_not_fit_the_contract_is_named_before_anything_starts(
        self, colours: Path, caplog: pytest.LogCaptureFixture, given: str
    ) -> None:
        assert main(["act", "--bpu-act-path", str(colours), *given.split()]) == 4
        check_wording(caplog.messages[-1])

    def test_joint_policy_is_sent_to_its_own_node(self, caplog: pytest.LogCaptureFixture) -> None:
        walk = Path(__file__).parents[4] / "config" / "bundles" / "lite3_walk"
        assert main(["act", "--bundle", str(walk)]) == 4
        assert "joint_policy_node" in caplog.text


def test_arguments_of_a_node_keep_their_types() -> None:
    found = ros_arguments({"bundle": "2026", "run_for_s": 3.0, "realign": True}, ["-r", "a:=b"])
    expected = '--ros-args -p bundle:="2026" -p run_for_s:=3.0 -p realign:=true -r a:=b'
    assert found == expected.split()


class ActCommand:
    """The command in a process of its own, and what it says."""

    def __init__(self, *arguments: str) -> None:
        self.said = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "policy_inference.commands.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def hears(self, text: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: text in self.said, WITHIN_S), self.said

    def is_sent(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        return self._process.wait(WITHIN_S)

    def has_ended(self) -> None:
        """Wait for the end of all that it started, which talks into the same pipe."""
        self._reader.join(WITHIN_S)
        assert not self._reader.is_alive(), self.said

    def close(self) -> None:
        try:
            if self._process.poll() is None:
                self.is_sent(signal.SIGTERM)
        finally:
            # A test that failed must leave nothing that talks to others: nodes end with it.
            self._process.kill()
            self._process.wait()
            self.has_ended()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._came:
                    self.said += line
                    self._came.notify_all()


@pytest.fixture
def lockstep_arm(capfd: pytest.CaptureFixture[str]) -> Iterator[Arm]:
    """An arm with two cameras, in lockstep."""
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, lambda: capfd.readouterr().err)
    yield stage.robot
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def start() -> Iterator[Callable[..., ActCommand]]:
    """Start the command; it ends with the test."""
    with ExitStack() as commands:

        def start_one(words: str) -> ActCommand:
            command = ActCommand(*words.split())
            commands.callback(command.close)
            return command

        yield start_one


@pytest.mark.ros
def test_node_and_cameras_start_and_end_together(
    start: Callable[..., ActCommand], colours: Path
) -> None:
    command = start(
        f"act --bpu-act-path {colours} --fps {RATE_HZ} --n-action-steps 4 --inference-time 1000 "
        "--camera front=/dev/video97 --ros-args -p fade_s:=0.1"
    )
    command.hears("ros2 service call /act_policy_node/stand std_srvs/srv/Trigger")
    command.hears("asynchronous: 4 of 10 steps of a chunk, 0.20 s")
    command.hears("[front.usb_camera]: /dev/video97: expected a camera, found nothing")
    assert command.is_sent(signal.SIGINT) == SIGNALLED + signal.SIGINT
    command.has_ended()
    assert "DAMP:" in command.said
    assert "Traceback" not in command.said


@pytest.mark.ros
def test_arm_in_run_gets_the_fault_command_whatever_ends_the_command(
    start: Callable[..., ActCommand], colours: Path, lockstep_arm: Arm
) -> None:
    command = start(f"act --bundle {colours} --ros-args -p use_sim_time:=true")
    lockstep_arm.runs()
    last = lockstep_arm.commands[-1].sequence
    command.is_sent(signal.SIGKILL)
    command.has_ended()
    lockstep_arm.until(lambda: lockstep_arm.commands[-1].sequence > last, "the fault command")
    assert lockstep_arm.commands[-1].mode == JointCommand.MODE_HOLD_MEASURED
