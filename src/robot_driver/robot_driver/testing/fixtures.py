# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the conformance suite: a driver, brought into the state that a test needs."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
from policy_msgs.msg import RobotStatus
from sensor_msgs.msg import JointState

from policy_inference.testing.domains import private_ros_domain
from robot_driver.interfaces import NS_PER_S
from robot_driver.testing.case import DriverCase, Heard
from robot_driver.testing.stage import DriverProcess, Stage

TWO_SENDERS = "2 publishers on joint_command (/listener, /listener), expected one"


class DriverFixtures:
    """Fixtures that provide a driver with its robot double; see `DriverConformance`."""

    case: ClassVar[DriverCase]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _own_ros_domain(cls) -> Iterator[None]:
        """Use a ROS domain that no other running test on this machine uses."""
        with private_ros_domain():
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def stage(
        cls, _own_ros_domain: None, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Stage]:
        stage = Stage(cls.case, tmp_path_factory.mktemp("stage"))
        yield stage
        stage.close()

    @pytest.fixture(autouse=True)
    def _invariants_hold(self, stage: Stage) -> Iterator[None]:
        yield
        stage.require_invariants()

    @pytest.fixture(scope="class")
    @classmethod
    def driver(cls, stage: Stage) -> DriverProcess:
        return stage.driver()

    @pytest.fixture
    def listening(self, driver: DriverProcess) -> DriverProcess:
        """Return the driver, which is not in control but has no reason to refuse control."""
        driver.until(lambda: driver.statuses, "a status")
        driver.gives_back_control()
        assert driver.ask("reset").success
        driver.may_be_taken()
        return driver

    @pytest.fixture
    def in_control(self, driver: DriverProcess) -> DriverProcess:
        """Return the driver in control of its robot, not yet following a command."""
        driver.until(lambda: driver.statuses, "a status")
        assert driver.ask("reset").success
        if driver.status.state in (RobotStatus.FOLLOWING, RobotStatus.DAMPING):
            assert driver.ask("damp").success
            driver.rests("")
        else:
            driver.gives_back_control()
            driver.takes_control()
        return driver


def frames_since(driver: DriverProcess, place: int) -> list[Heard]:
    """Return a copy of the frames from an index on, which does not grow during a check."""
    return list(driver.robot.heard[place:])


def stamps_ns(messages: list[JointState]) -> list[int]:
    return [each.header.stamp.sec * NS_PER_S + each.header.stamp.nanosec for each in messages]
