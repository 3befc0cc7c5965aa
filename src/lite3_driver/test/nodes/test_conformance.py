# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of a Lite3 does what every driver must do.

Taking control takes it 8 s, and each way of leaving takes it again: test_link_process.py has them
without a node, and with less time to fold.
"""

import pytest

from robot_driver.testing.conformance import DriverTimes
from robot_driver.testing.following import FollowingConformance
from robot_driver.testing.leaving import LeavingConformance
from robot_driver.testing.listening import ListeningConformance

from .host import CASE

# Alone: on a machine that is busy the robot sends too few states to be taken.
pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.real_time]


class TestConformance(FollowingConformance, ListeningConformance):
    case = CASE


@pytest.mark.acceptance
class TestLeaving(LeavingConformance):
    case = CASE


class TestTimes(DriverTimes):
    case = CASE
