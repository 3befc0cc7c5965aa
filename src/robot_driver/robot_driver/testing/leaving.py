# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that control is given back: on request, when the robot's state is lost, and on any exit."""

import itertools
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from policy_msgs.msg import RobotStatus

from robot_driver.testing.case import GIVEN_BACK, TAKEN
from robot_driver.testing.fixtures import DriverFixtures
from robot_driver.testing.stage import DriverProcess, Stage


class LeavingConformance(DriverFixtures):
    """Tests in which control is given back to the robot."""

    def test_lost_state_brings_to_rest_then_control_goes_back(
        self, in_control: DriverProcess
    ) -> None:
        robot = in_control.robot
        in_control.follows()
        robot.silent = True
        in_control.sends_until(
            lambda: in_control.status.state != RobotStatus.FOLLOWING, "the end of following"
        )
        in_control.is_in(RobotStatus.LISTENING)
        robot.silent = False
        # a robot that must answer each frame is given back once it answers again
        in_control.until(lambda: robot.heard[-1].what == GIVEN_BACK, "the end of control")
        reasons = [status.reason for status in in_control.statuses]
        assert any("no recent state from the robot" in reason for reason in reasons)
        in_control.may_be_taken()

    def test_robot_that_is_restarted_is_given_back_and_can_be_taken_again(
        self, in_control: DriverProcess
    ) -> None:
        if not self.case.reports_restart:
            pytest.skip("nothing shows that the robot was restarted")
        in_control.follows()
        in_control.robot.restart()
        in_control.is_in(RobotStatus.LISTENING)
        assert "restarted" in in_control.status.reason
        in_control.takes_control()
        in_control.follows()

    def test_control_is_given_back_on_request_and_nothing_is_sent_then(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        answers = [in_control.asked("release_control") for _ in range(2)]
        for answer in answers:
            in_control.until(answer.done, "an answer to release_control")
            assert answer.result().success, answer.result().message
        in_control.is_in(RobotStatus.LISTENING)
        self._left_well(in_control)
        received = int(in_control.details["command_received"])
        in_control.sends_until(
            lambda: int(in_control.details["command_received"]) > received, "a command"
        )
        assert in_control.robot.heard[-1].what == GIVEN_BACK

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
    def test_control_is_given_back_by_a_driver_that_is_asked_to_end(
        self, stage: Stage, sent: signal.Signals
    ) -> None:
        with closing(stage.driver()) as driver:
            driver.takes_control()
            driver.follows()
            os.kill(driver.process.pid, sent)
            self._left_well(driver)
            assert driver.ended() == 0
            assert not _crashed(driver)

    def test_control_is_given_back_for_a_driver_that_is_killed(self, stage: Stage) -> None:
        with closing(stage.driver()) as driver:
            driver.takes_control()
            driver.follows()
            link = driver.link
            driver.process.kill()
            self._left_well(driver)
            # until then, the link process holds the robot's port
            driver.until(lambda: not _runs(link), "the end of the link process")
            with closing(stage.driver(driver.robot)) as again:
                again.takes_control()
                again.follows()

    def test_control_is_given_back_where_the_link_is_killed(self, stage: Stage) -> None:
        with closing(stage.driver()) as driver:
            driver.takes_control()
            driver.follows()
            driver.kill_link()
            self._left_well(driver, link_died=True)
            assert driver.ended() == 2
            driver.reports(
                lambda status: status.state == RobotStatus.LISTENING and "SIGKILL" in status.reason,
                "LISTENING, SIGKILL",
            )
            assert not _crashed(driver)

    def test_control_is_given_back_by_a_driver_that_is_deactivated(self, stage: Stage) -> None:
        with closing(stage.driver()) as driver:
            driver.takes_control()
            driver.follows()
            driver.changes(Transition.TRANSITION_DEACTIVATE)
            self._left_well(driver)
            assert driver.process.status is None
            response = driver.ask("take_control")
            assert not response.success
            assert "not active" in response.message
            assert not _crashed(driver)

    def _left_well(self, driver: DriverProcess, *, link_died: bool = False) -> None:
        """Check that the driver followed, brought the robot to rest, then gave control back."""
        driver.until(lambda: driver.robot.heard[-1].what == GIVEN_BACK, "the end of control")
        *before, _ = driver.robot.heard
        before = [each for each in before if each.what not in (GIVEN_BACK, TAKEN)]
        resting = list(itertools.takewhile(lambda each: each.rests, reversed(before)))
        # their number depends on the machine; `DriverTimes` measures the time at rest
        enough = 0 if link_died and self.case.holds_by_itself else 1
        assert enough <= len(resting) < len(before), "it followed commands until then"


def _runs(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _crashed(driver: DriverProcess) -> bool:
    return "Traceback" in driver.log or "terminate called" in driver.log
