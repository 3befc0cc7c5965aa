# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which commands are followed, for how long, and what is sent for them: in explicit time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording

from .lockstep import (
    DAMP,
    FOLDED,
    LYING,
    MS,
    OUTSIDE,
    RUN,
    STAND,
    STANDING,
    TORQUE_OFF,
    Lockstep,
    braking,
)


def _estop(robot: Lockstep) -> None:
    robot.link.damp("e-stop", robot.now_ns)


def _policy_stalls(robot: Lockstep) -> None:
    robot.mode = None
    robot.run(0.2)
    robot.mode = RUN


def _state_lost(robot: Lockstep) -> None:
    robot.state = None
    robot.run(0.2)
    robot.state = LYING


def _policy_restarts(robot: Lockstep) -> None:
    robot.sequence = 0


def _another_policy_ahead(robot: Lockstep) -> None:
    robot.sequence += 200


@pytest.mark.parametrize(
    "event", [_estop, _policy_stalls, _state_lost, _policy_restarts, _another_policy_ahead]
)
def test_after_a_stop_a_running_policy_is_not_followed_until_it_has_damped(
    robot: Lockstep, event: Callable[[Lockstep], None]
) -> None:
    event(robot)
    robot.run(0.3)
    assert robot.phase() is DriverPhase.DAMPING
    assert braking(robot.newest)
    robot.mode = DAMP
    robot.run(0.1)
    robot.mode = RUN
    robot.run(0.1)
    assert robot.phase() is DriverPhase.FOLLOWING


@pytest.mark.parametrize("numbers", [{"position": STANDING}, {"effort": 6.0}])
def test_a_joint_begins_near_its_pose_and_with_little_effort(numbers: dict[str, object]) -> None:
    robot = Lockstep()
    robot.in_control(DAMP)
    robot.mode = None
    robot.command(STAND, stiffness=1e-6)
    assert robot.phase() is DriverPhase.FOLLOWING
    robot.command(RUN, **numbers)
    robot.run(0.002)
    assert braking(robot.newest)
    check_wording(robot.link.reason)


@pytest.mark.parametrize(
    "numbers",
    [
        {"position": np.full(12, np.nan)},
        {"stiffness": 301.0},
        {"damping": 20.5},
        {"effort": 73.0},
        {"position": OUTSIDE},
        {"damping": -1.0},
        {"valid_for_ns": 1001 * MS},
    ],
)
def test_a_command_that_is_wrong_is_refused_and_the_one_before_stays(
    robot: Lockstep, numbers: dict[str, object]
) -> None:
    robot.mode = None
    robot.command(**{"mode": RUN, **numbers})  # type: ignore[arg-type]
    robot.run(0.05)
    report = robot.link.report(robot.now_ns)
    assert report.details["command_refused"] == 1
    check_wording(str(report.details["command_refusal"]))
    assert robot.phase() is DriverPhase.FOLLOWING
    assert robot.newest[:, 0] == pytest.approx(FOLDED)


def test_a_command_in_damp_that_is_wrong_brakes(robot: Lockstep) -> None:
    robot.mode = None
    robot.command(DAMP, stiffness=1.0)
    robot.run(0.002)
    assert braking(robot.newest)
    check_wording(robot.link.reason)
    robot.mode = RUN
    robot.run(0.1)
    assert robot.phase() is DriverPhase.DAMPING


@pytest.mark.parametrize(
    "numbers",
    [
        {"stiffness": 0.0, "damping": 0.0},
        {"stiffness": 0.0, "damping": 1e-9},
        {"effort_limit": 0.0, "position": FOLDED - 0.1},
    ],
)
def test_what_would_leave_the_robot_limp_is_sent_as_braking(
    robot: Lockstep, numbers: dict[str, object]
) -> None:
    robot.mode = None
    robot.command(TORQUE_OFF, **numbers)
    robot.run(0.01)
    assert braking(robot.newest)


def test_a_state_that_cannot_be_has_no_effect(robot: Lockstep) -> None:
    assert robot.state is not None
    robot.state = robot.state._replace(joint_pos=FOLDED + np.eye(12)[2] * 5.0)
    robot.run(0.05)
    assert robot.newest[2] == pytest.approx([FOLDED[2], 0.0, 0.0, 30.0, 1.0])
    assert robot.link.report(robot.now_ns).details["implausible"] == 12
    robot.run(0.1)
    assert robot.phase() is DriverPhase.DAMPING
