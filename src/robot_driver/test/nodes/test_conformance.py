# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The smallest driver there is does what every driver must do, with a robot that holds its pose."""

import itertools
import shutil
import socket
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand, RobotStatus
from std_msgs.msg import Empty

from robot_driver.interfaces import COMMAND_FIELDS, MODE_HOLD_MEASURED, POSITION
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, OTHER, DriverCase, RobotDouble
from robot_driver.testing.conformance import DriverConformance, DriverTimes
from robot_driver.testing.fixtures import DriverFixtures, frames_since
from robot_driver.testing.stage import DEEP, DriverProcess, Stage, what_was_heard
from testkit.publisher_elsewhere import publisher_elsewhere
from testkit.wording import check_wording

from ..holding_arm import FIGURES, JOINTS
from . import holding_arm_node

pytestmark = pytest.mark.ros
ASK, RELAX = b"?", b"relax"
MANY = 20
ROOT = Path(__file__).resolve().parents[4]
START = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from {holding_arm_node.__name__} import run_holding_arm
run_holding_arm()
"""


class ArmDouble(RobotDouble):
    """The arm's end of a bus of its own."""

    def __init__(self) -> None:
        super().__init__(
            ("shoulder", "elbow", "gripper"),
            np.array([0.1, 0.2, 0.3]),
            rest_mode=MODE_HOLD_MEASURED,
        )
        self._folder = tempfile.mkdtemp()
        self._bus = f"{self._folder}/bus"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._bus)
        self._thread = threading.Thread(target=self._run)

    @property
    def parameters(self) -> dict[str, object]:
        return {"bus": self._bus}

    def start(self) -> None:
        self._thread.start()

    def restart(self) -> None:
        raise AssertionError("an arm does not tell")

    def close(self) -> None:
        if self._thread.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", self._bus)
            self._thread.join()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        while data := self._answered():
            if data == RELAX:
                self.hear(GIVEN_BACK)
            elif data[:1] == b"g":
                values = np.zeros((len(self.joint_names), len(COMMAND_FIELDS)))
                values[:, POSITION] = struct.unpack("<3d", data[1:])
                self.hear(COMMANDED, values)
            elif data != ASK:
                self.hear(OTHER)

    def _answered(self) -> bytes:
        """Return the next frame; a question is answered first."""
        data, source = self._socket.recvfrom(100)
        if data == ASK and (sensed := self.sense()) is not None:
            with suppress(OSError):  # who asked may have been killed
                state = struct.pack("<I3d", monotonic_ns() // 1_000_000 % 2**32, *sensed.joint_pos)
                self._socket.sendto(state, source)
        return data


CASE = DriverCase(
    command=[sys.executable, "-c", START],
    node="arm_driver",
    robot=ArmDouble,
    figures=FIGURES,
    lost_counter=None,
    parameters={"state_timeout_s": 0.5},
    joint_state_rate_hz=100.0,
    command_rate_hz=100.0,
    imu="",
    state_fields=["position"],
    command_fields=["position"],
    reports_restart=False,
)


class TestConformance(DriverConformance):
    case = CASE


class TestNode(DriverFixtures):
    """What the node does for every driver, whatever its robot."""

    case = CASE

    def test_command_that_cannot_be_followed_is_refused(self, in_control: DriverProcess) -> None:
        names = list(FIGURES.joint_names)
        in_control.refuses("command_refused", position=[np.nan, 0.2, 0.3])
        in_control.refuses("command_unfit", names=[*names[1:], "tail"])
        in_control.refuses("command_unfit", effort=[0.0])

    def test_commands_of_a_second_publisher_are_ignored_and_counted(
        self, in_control: DriverProcess, stage: Stage
    ) -> None:
        in_control.follows()
        other = stage.node.create_publisher(JointCommand, f"/{in_control.name}/joint_command", DEEP)
        place, sequence = len(in_control.robot.heard), itertools.count()

        def both() -> bool:
            in_control.send()
            other.publish(in_control.rest_command(next(sequence)))
            return int(in_control.details["command_ignored"]) > MANY

        def other_alone() -> bool:
            other.publish(in_control.rest_command(next(sequence)))
            return bool(in_control.status.state == RobotStatus.FOLLOWING)

        in_control.until(both, "commands that are ignored")
        heard = frames_since(in_control, place)
        assert heard
        assert all(in_control.is_followed(each) for each in heard)
        in_control.reports(lambda status: "are ignored" in status.reason, "whose are ignored")
        in_control.rests("expired")
        # the followed command has expired: the next publisher that sends a command is followed
        in_control.until(other_alone, "a command in the mode of rest that is followed")
        stage.node.destroy_publisher(other)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"names": ["elsewhere"]}, "found elsewhere as well"),
            ({"valid_for_s": 0.0}, "valid_for"),
        ],
    )
    def test_control_is_refused_while_commands_are(
        self, listening: DriverProcess, changes: dict[str, Any], reason: str
    ) -> None:
        listening.sends_until(
            lambda: any(reason in each for each in listening.status.obstacles),
            "an obstacle",
            **changes,
        )
        answer = listening.asked("take_control")
        listening.sends_until(answer.done, "an answer to take_control", **changes)
        assert not answer.result().success
        assert reason in answer.result().message
        # a publisher that has gone is not an obstacle
        listening.may_be_taken()

    def test_control_is_refused_while_an_estop_has_another_type(
        self, listening: DriverProcess
    ) -> None:
        with publisher_elsewhere(Empty, f"/{listening.name}/estop"):
            listening.reports(
                lambda status: any("std_msgs/msg/Empty" in each for each in status.obstacles),
                "the e-stop that is not received",
            )
            answer = listening.asked("take_control")
            listening.sends_until(answer.done, "an answer to take_control")
            assert not answer.result().success
            assert "std_msgs/msg/Empty" in answer.result().message
        listening.may_be_taken()


@pytest.mark.real_time
class TestTimes(DriverTimes):
    case = CASE


def test_a_failing_test_shows_what_the_robot_heard_by_joint() -> None:
    robot = ArmDouble()
    try:
        nothing = what_was_heard(robot, robot.pose)
        robot.hear(OTHER)
        robot.hear(COMMANDED, np.column_stack([robot.pose[::-1], *np.zeros((4, len(JOINTS)))]))
        text = what_was_heard(robot, robot.pose)
    finally:
        robot.close()
    check_wording(nothing, text)
