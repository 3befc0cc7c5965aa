# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Go2 that walks is damped when its senses disagree, in lockstep: no DDS, no clock, no ROS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from robot_driver.interfaces import DriverPhase
from testkit.wording import check_wording

from .lockstep import Go2

DAMPED_WITHIN_S = 4.0
FOLLOWED = "the driver follows the newest joint_command"


@pytest.fixture
def walking_go2() -> Iterator[Go2]:
    robot = Go2()
    robot.walk()
    yield robot
    robot.policy.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "zero:joint_states.velocity",
        "reverse:joint_states.velocity",
        "bias:imu.angular_velocity=0.5",
        "reverse:imu.angular_velocity",
        "reverse:imu.linear_acceleration",
        "stuck:FL_calf_joint",
        "swapped:FL_thigh_joint.FR_thigh_joint",
    ],
)
def test_senses_that_disagree_damp_the_robot_with_a_reason(walking_go2: Go2, fault: str) -> None:
    walking_go2.fail(fault)

    waited_s = 0.0
    while walking_go2.link.phase is DriverPhase.FOLLOWING and waited_s < DAMPED_WITHIN_S:
        walking_go2.run(0.02)
        waited_s += 0.02

    assert walking_go2.link.phase is DriverPhase.DAMPING
    check_wording(walking_go2.link.reason)


def test_a_robot_whose_senses_agree_walks_on_without_a_warning(walking_go2: Go2) -> None:
    walking_go2.fail("noise:joint_states.position=0.005", "noise:imu.angular_velocity=0.05")
    walking_go2.run(2.0)

    assert walking_go2.link.phase is DriverPhase.FOLLOWING
    assert walking_go2.link.reason == FOLLOWED
