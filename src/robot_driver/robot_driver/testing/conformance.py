# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conformance tests that a driver's test classes inherit, given a `DriverCase`.

Each test class has its own ROS 2 domain and one driver for all its tests, because taking control
can take seconds. Each test uses the driver in one state: `listening` or `in_control`.
"""

import itertools
import math
import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from robot_driver.interfaces import NS_PER_S
from robot_driver.testing.fixtures import DriverFixtures, frames_since, stamps_ns
from robot_driver.testing.following import FollowingConformance
from robot_driver.testing.leaving import LeavingConformance
from robot_driver.testing.listening import ListeningConformance
from robot_driver.testing.stage import DriverProcess, Stage

_MESSAGES = 400
_SELDOM_S = 0.2
"""Time between commands, long enough that commands trigger only a few of the frames."""


class DriverConformance(LeavingConformance, FollowingConformance, ListeningConformance):
    """All tests; inherit and set the class attribute `case`. Pytest runs the last base first."""


class DriverTimes(DriverFixtures):
    """Timing tests for an idle machine; inherit, set `case`, and mark the class `real_time`."""

    def test_state_comes_at_its_rate(self, listening: DriverProcess, stage: Stage) -> None:
        found = stage.collected(JointState, f"/{listening.name}/joint_states", _MESSAGES)
        stamps = stamps_ns(found)
        rate_hz = (len(stamps) - 1) * NS_PER_S / (stamps[-1] - stamps[0])
        assert rate_hz == pytest.approx(self.case.joint_state_rate_hz, rel=0.2)

    def test_frames_go_out_at_their_rate(self, in_control: DriverProcess) -> None:
        in_control.follows()
        place = len(in_control.robot.heard)
        count, sent_s = round(self.case.command_rate_hz), -math.inf

        def act() -> bool:
            nonlocal sent_s
            if time.monotonic() - sent_s > _SELDOM_S:
                in_control.send()
                sent_s = time.monotonic()
            return len(in_control.robot.heard) > place + count

        in_control.until(act, "frames")
        times_s = [each.at_s for each in frames_since(in_control, place)]
        # the median, because commands are also sent at once, between the steady frames
        assert 1.0 / np.median(np.diff(times_s)) == pytest.approx(
            self.case.command_rate_hz, rel=0.2
        )

    def test_robot_rests_as_soon_as_a_command_expires(self, in_control: DriverProcess) -> None:
        robot, valid_for_s = in_control.robot, 0.2
        in_control.follows()
        in_control.send(valid_for_s=valid_for_s)
        sent_s, place = time.monotonic(), len(robot.heard)
        in_control.rests("expired")
        first = next(each for each in frames_since(in_control, place) if each.rests)
        assert 0.0 < first.at_s - sent_s < valid_for_s + 0.1

    def test_robot_rests_for_its_time_before_control_goes_back(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        in_control.gives_back_control()
        *before, last = in_control.robot.heard
        rested = list(itertools.takewhile(lambda each: each.rests, reversed(before)))
        assert last.at_s - rested[-1].at_s == pytest.approx(self.case.figures.rest_s, abs=0.3)
