# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Standing up through the poses of `stand.via`."""

import numpy as np
import pytest

from policy_core.interfaces import Mode
from testkit.kernel.contracts import DEFAULT
from testkit.kernel.robots import BOTH, Robot

pytestmark = pytest.mark.both_cores

FOLDED = (0.4, 1.4, -1.4)
DRAWN_IN, HALF_UP = (0.0, 1.2, -1.2), (0.1, 0.8, -0.7)
VIA = [
    {"position": list(DRAWN_IN), "duration_s": 0.1},
    {"position": list(HALF_UP), "duration_s": 0.06},
]
THROUGH = {"stand.via": VIA}
"""Five ticks, three, and the ten of `stand.duration_s`."""


def rising(pose: tuple[float, ...] = FOLDED) -> Robot:
    robot = Robot(THROUGH)
    robot.tick(joint_pos=pose)
    robot.controller.stand()
    return robot


def ways(robot: Robot, ticks: int) -> np.ndarray:
    return np.array([robot.commanded().position for _ in range(ticks)])


def test_each_part_of_the_way_is_a_smooth_curve_from_pose_to_pose() -> None:
    robot = rising()
    way = ways(robot, 18)
    poses = np.array([FOLDED, DRAWN_IN, HALF_UP, DEFAULT])
    expected = [
        poses[part] + share * share * (3.0 - 2.0 * share) * (poses[part + 1] - poses[part])
        for part, ticks in enumerate((5, 3, 10))
        for share in np.arange(1, ticks + 1) / ticks
    ]
    np.testing.assert_allclose(way, expected, atol=1e-12)
    assert robot.is_in(Mode.READY)


def test_a_robot_that_stands_does_not_draw_its_legs_in() -> None:
    robot = rising()
    ways(robot, 18)
    sagged = np.add(DEFAULT, (0.02, 0.05, -0.1))
    robot.tick(joint_pos=tuple(sagged))
    robot.controller.stand()
    way = ways(robot, 10)
    assert robot.is_in(Mode.READY)
    beside = np.abs(way - sagged) + np.abs(way - DEFAULT) - np.abs(np.subtract(DEFAULT, sagged))
    np.testing.assert_allclose(beside, 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("start", "ticks"),
    [
        (FOLDED, 18),
        (np.add(DRAWN_IN, (0.0, 0.01, -0.01)), 18),
        (DRAWN_IN, 13),
        ((0.12, 0.82, -0.72), 13),
        (HALF_UP, 10),
        (DEFAULT, 10),
    ],
)
def test_a_pose_that_is_no_nearer_than_the_measured_one_is_left_out(
    start: tuple[float, ...], ticks: int
) -> None:
    robot = rising(tuple(start))
    ways(robot, ticks - 1)
    assert robot.is_in(Mode.STAND)
    robot.tick()
    assert robot.is_in(Mode.READY)


def test_standing_up_never_leads_further_from_the_stand_pose_than_it_began() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        start, *poses = random.uniform(-1.4, 1.4, (4, 3))
        robot = Robot(
            {"stand.via": [{"position": pose.tolist(), "duration_s": 0.06} for pose in poses]}
        )
        robot.tick(joint_pos=tuple(start))
        robot.controller.stand()
        distances = np.linalg.norm(ways(robot, 19) - DEFAULT, axis=1)
        assert robot.is_in(Mode.READY)
        assert distances.max() <= np.linalg.norm(start - DEFAULT) + 1e-12


@pytest.mark.parametrize("held_after", [2, 5, 6, 12])
def test_time_that_is_held_is_left_out_in_every_part(held_after: int) -> None:
    undisturbed = ways(rising(), 18)
    robot = rising()
    before = ways(robot, held_after)
    # Two periods without state are no fault yet: the third tick holds what the second commanded.
    seen = [robot.commanded(silent=BOTH).position for _ in range(4)]
    assert robot.is_in(Mode.HOLD)
    np.testing.assert_array_equal(seen[2:], [seen[1]] * 2)
    after = ways(robot, 18 - held_after - 2)
    assert robot.is_in(Mode.READY)
    np.testing.assert_allclose([*before, *seen[:2], *after], undisturbed, atol=1e-12)
