# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `act`: what it refuses, and what it starts."""

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from policy_msgs.msg import JointCommand

from policy_inference.commands.act import ros_arguments
from policy_inference.commands.main import main
from policy_inference.nodes.act_policy_node import ActPolicyNode
from policy_store.signals import SIGNALLED
from testkit.command_run import CommandRun
from testkit.wording import check_wording

from ..nodes.arm import Arm
from ..nodes.colour_bundle import RATE_HZ, write_colours
from ..nodes.harness import staged


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A chunk policy of two cameras, front and wrist."""
    return write_colours(tmp_path / "colours")


class TestRefused:
    @pytest.mark.parametrize(
        "given", ["--fps 30", "--camera laptop=/dev/video0", "--camera front=0 --camera wrist=0"]
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


@pytest.fixture
def lockstep_arm(capfd: pytest.CaptureFixture[str]) -> Iterator[Arm]:
    with staged(Arm, ActPolicyNode, lambda: capfd.readouterr().err) as stage:
        yield stage.robot


@contextmanager
def started(words: str) -> Iterator[CommandRun]:
    """Start the command; whatever runs at the end is killed."""
    command = [sys.executable, "-m", "policy_inference.commands.main", *words.split()]
    with closing(CommandRun(*command)) as run:
        yield run


@pytest.mark.slow
@pytest.mark.ros
def test_node_and_cameras_start_and_end_together(colours: Path) -> None:
    with started(
        f"act --bpu-act-path {colours} --fps {RATE_HZ} --n-action-steps 4 --inference-time 1000 "
        "--camera front=/dev/video97 --ros-args -p fade_s:=0.1"
    ) as command:
        command.hears(
            "ros2 service call /act_policy_node/stand std_srvs/srv/Trigger",
            "asynchronous: 4 of 10 steps of a chunk, 0.20 s",
            "[front.usb_camera]: /dev/video97: expected a camera, found nothing",
        )
        command.process.send_signal(signal.SIGINT)
        assert command.wait_for_end() == SIGNALLED + signal.SIGINT
    assert "DAMP:" in command.output
    assert "Traceback" not in command.output


@pytest.mark.slow
@pytest.mark.ros
def test_arm_in_run_gets_the_fault_command_whatever_ends_the_command(
    colours: Path, lockstep_arm: Arm
) -> None:
    with started(f"act --bundle {colours} --ros-args -p use_sim_time:=true") as command:
        lockstep_arm.runs()
        last = lockstep_arm.commands[-1].sequence
        command.process.kill()
        command.wait_for_end()
    lockstep_arm.until(lambda: lockstep_arm.commands[-1].sequence > last, "the fault command")
    assert lockstep_arm.commands[-1].mode == JointCommand.MODE_HOLD_MEASURED
