# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the conformance suite finds in the states that a driver publishes, without a driver."""

import itertools

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from robot_driver.interfaces import NS_PER_S
from robot_driver.testing.case import Sensed
from robot_driver.testing.listening import ShownStep, count_frames_behind, rotation_problems
from testkit.wording import check_wording

pytestmark = pytest.mark.ros
STEP_NS, DELAY_NS = 30_000_000, 200_000
W_FIRST = [3, 0, 1, 2]


def steps(robot_hz: int, published_hz: int, late: int) -> list[ShownStep]:
    """Return what a driver publishes that leaves out frames and is this many frames late.

    Each step begins right after a frame that was published, so that all frames until the next one
    that is published are left out.
    """
    period_ns, apart = NS_PER_S // robot_hz, robot_hz // published_hz
    nothing = np.zeros(3)
    sensed = Sensed(*[nothing] * 7)
    result, begin_ns = [], 0
    for _ in range(10):
        sent_ns = [begin_ns + period_ns * index for index in range(STEP_NS // period_ns)]
        stamp_ns = sent_ns[0] + (apart - 1 + late) * period_ns + DELAY_NS
        joints = JointState()
        joints.header.stamp.nanosec = stamp_ns
        result.append(ShownStep(sensed, sent_ns, joints, None, stamp_ns))
        begin_ns = sent_ns[-1] + period_ns
    return result


@pytest.mark.parametrize(("robot_hz", "published_hz"), [(500, 500), (1000, 200), (1000, 250)])
def test_frames_that_a_driver_leaves_out_are_not_taken_for_late(
    robot_hz: int, published_hz: int
) -> None:
    behind = [
        count_frames_behind(steps(robot_hz, published_hz, late), published_hz) for late in (0, 1, 2)
    ]
    assert behind == [0, 1, 2]


@pytest.mark.parametrize("angle_rad", [0.0, 0.3])
def test_w_first_is_named_even_for_a_level_robot(angle_rad: float) -> None:
    half_rad = 0.5 * np.array([0.0, angle_rad])
    zeros = np.zeros(2)
    expected = np.stack([np.sin(half_rad), zeros, zeros, np.cos(half_rad)], axis=1)
    signs = itertools.cycle([1.0, -1.0])
    right = np.array([next(signs) * quat for quat in expected])
    assert rotation_problems(right, expected) == []
    (problem,) = rotation_problems(expected[:, W_FIRST], expected)
    check_wording(problem)
