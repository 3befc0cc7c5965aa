# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A host that falls silent, restarts or does not obey while the robot is under control."""

from __future__ import annotations

import numpy as np
import pytest

from lite3_driver.wire import GIVE_BACK
from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording

from .lockstep import DAMP, FOLD_S, FOLDED, LYING, RUN, Lockstep

NOISE_RAD = 5e-4
"""Of encoders whose joints are asked to move and do not."""


def test_a_host_that_is_gone_for_a_second_ends_control(robot: Lockstep) -> None:
    robot.state = None
    robot.run(0.9)
    assert robot.phase() is DriverPhase.DAMPING
    robot.run(0.2)
    assert robot.phase() is DriverPhase.RELEASING
    robot.run(2.0)
    assert robot.phase() is DriverPhase.LISTENING
    assert robot.requests[-1][1] == GIVE_BACK
    robot.state = LYING
    robot.mode = DAMP
    count = len(robot.sent)
    robot.run(2.0)
    assert len(robot.sent) == count


@pytest.mark.parametrize("mode", [DAMP, RUN])
def test_a_link_that_was_held_up_for_a_second_has_lost_control(mode: int) -> None:
    robot = Lockstep()
    robot.in_control(mode)
    robot.now_ms += 1000
    robot.run(0.05)
    assert robot.phase() is DriverPhase.RELEASING
    check_wording(robot.link.reason)
    robot.run(2.0)
    assert robot.requests[-1][1] == GIVE_BACK


def test_a_host_that_does_not_obey_is_left() -> None:
    robot = Lockstep()
    robot.noise_rad = NOISE_RAD
    robot.in_control(RUN)
    ignored = FOLDED + np.tile([0.0, 0.0, -0.5], 4)
    robot.position = ignored
    robot.state = LYING._replace(joint_effort=np.tile([0.0, 0.0, 6.0], 4))
    robot.run(0.28)
    assert robot.phase() is DriverPhase.FOLLOWING
    robot.run(0.06)
    assert robot.phase() is DriverPhase.RELEASING
    check_wording(robot.link.reason)


@pytest.mark.parametrize("mode", [DAMP, None])
def test_a_host_that_drives_legs_which_should_be_braked_is_left(
    robot: Lockstep, mode: int | None
) -> None:
    robot.mode = mode
    robot.run(0.2)
    robot.state = LYING._replace(joint_effort=np.tile([0.0, 0.0, 20.0], 4))
    robot.run(0.2)
    assert robot.phase() is not DriverPhase.RELEASING
    robot.run(0.2)
    assert robot.phase() is DriverPhase.RELEASING
    check_wording(robot.link.reason)


def test_nothing_is_known_of_a_host_that_is_silent_while_it_is_found_out() -> None:
    robot = Lockstep()
    robot.take()
    robot.run(FOLD_S + 0.1)
    robot.state = None
    robot.run(0.9)
    assert robot.answers == []
    robot.run(0.4)
    assert not robot.answers[0].success
    assert robot.phase() is DriverPhase.RELEASING


def test_a_state_that_is_lost_is_not_taken_for_disobedience(robot: Lockstep) -> None:
    robot.position = FOLDED + np.tile([0.0, 0.0, -0.5], 4)
    robot.run(0.1)
    robot.state = None
    robot.run(0.9)
    assert robot.phase() is DriverPhase.DAMPING


@pytest.mark.parametrize("unit_factor", [np.degrees(1.0), np.radians(1.0)])
def test_a_turn_that_shows_another_unit_brakes(robot: Lockstep, unit_factor: float) -> None:
    rate = 0.5
    for step in range(250):
        robot.state = LYING._replace(
            rpy=np.array([0.0, 0.0, rate * 0.004 * step]),
            ang_vel=np.array([0.0, 0.0, rate * unit_factor]),
        )
        robot.run(0.004)
    assert robot.phase() is DriverPhase.DAMPING
    assert "angular_velocity_unit" in robot.link.reason
