# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""However the driver ends while it is in control, the robot is braked and control given back."""

import itertools
import signal

import pytest
from lifecycle_msgs.msg import Transition
from policy_msgs.msg import RobotStatus

from lite3_driver import wire

from .harness import Driver, Stage

pytestmark = [pytest.mark.ros, pytest.mark.real_time, pytest.mark.slow]
_BRAKED_S = 1.0
"""Of the 2 s of a farewell; this process may hear late of their beginning."""


def assert_left_well(driver: Driver) -> None:
    """Braking for a while, then control goes back, and nothing comes after that."""
    host = driver.host
    driver.until(lambda: host.received[-1].code == wire.GIVE_BACK, "GIVE_BACK")
    assert host.controller is None
    *before, last = host.received
    braked = list(itertools.takewhile(lambda each: each.damps, reversed(before)))
    assert last.at_s - braked[-1].at_s >= _BRAKED_S
    assert len(braked) < len(before), "it followed commands until then"


def test_control_is_given_back_by_every_way_out(stage: Stage) -> None:
    """All at once, since it takes 7 s to take control."""
    interrupted, killed, halved, deactivated = drivers = [
        stage.driver(name) for name in ("interrupted", "killed", "halved", "deactivated")
    ]
    stage.take_control(*drivers)
    for driver in drivers:
        driver.follows(valid_for_s=1.0)
    interrupted.process.send_signal(signal.SIGINT)
    killed.process.send_signal(signal.SIGKILL)
    halved.kill_link()
    deactivated.changes(Transition.TRANSITION_DEACTIVATE)
    for driver in drivers:
        assert_left_well(driver)
    assert interrupted.ended() == 0
    assert halved.ended() == 2
    assert "SIGKILL" in halved.is_in(RobotStatus.LISTENING).reason
    for driver in (interrupted, halved, deactivated):
        assert "Traceback" not in driver.log
    assert deactivated.process.poll() is None
