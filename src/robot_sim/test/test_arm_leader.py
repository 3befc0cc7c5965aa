# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The hand at the leader arm, with an arm that follows it and with one that does not."""

from collections.abc import Iterator

import numpy as np
import pytest

from robot_sim.arm_expert import EPISODE_NS, cube_top
from robot_sim.arm_figures import SO101
from robot_sim.arm_leader import HOME_S, Leader, LeaderMoment
from robot_sim.arm_world import ArmWorld, arm_command
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError

STEPS = 16
"""Of physics per tick: a thirtieth of a second."""
HOME_TICKS = round(HOME_S * 30)


def follow(leader: Leader, world: ArmWorld, ticks: int) -> Iterator[tuple[int, LeaderMoment]]:
    """Let the arm follow; yield each tick at which something happened."""
    for tick in range(ticks):
        sensed = world.sense()
        moment = leader.look(sensed.time_ns, sensed.joint_pos, sensed.cube_world)
        if moment is not None:
            yield tick, moment
        world.apply(arm_command(leader.target()))
        world.advance(STEPS)


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_an_arm_that_follows_gets_home_and_to_the_cube(seed: int) -> None:
    world, leader = ArmWorld(seed=seed), Leader()
    leader.demonstrate()

    (began, first), (ended, last) = follow(leader, world, 300)

    assert (first, last) == (LeaderMoment.BEGAN, LeaderMoment.SUCCEEDED)
    assert began == HOME_TICKS
    assert 60 < ended - began < 30 * EPISODE_NS // NS_PER_S
    assert not leader.demonstrating
    sensed = world.sense()
    assert np.linalg.norm(sensed.tip_world - cube_top(sensed)) < 0.02


def test_from_home_it_reaches_at_once_and_goes_home_when_commanded() -> None:
    world, leader = ArmWorld(seed=3), Leader()
    assert list(follow(leader, world, HOME_TICKS + 1)) == []

    leader.reach()
    assert [tick for tick, _ in follow(leader, world, 45)] == [0]
    leader.go_home()
    assert not leader.demonstrating
    assert list(follow(leader, world, HOME_TICKS + 30)) == []

    np.testing.assert_allclose(world.sense().joint_pos, SO101.home_rad, atol=0.02)


def test_the_leader_begins_where_the_arm_is() -> None:
    world, leader = ArmWorld(seed=3), Leader()
    sensed = world.sense()

    leader.look(sensed.time_ns, sensed.joint_pos, sensed.cube_world)

    # The hand is ahead by what the servos yield.
    np.testing.assert_allclose(leader.target(), sensed.joint_pos, atol=0.06)


def test_an_arm_that_does_not_follow_has_failed_after_the_longest_time() -> None:
    world, leader = ArmWorld(), Leader()
    leader.demonstrate()
    sensed = world.sense()

    happened = [
        (now_ns, moment)
        for now_ns in range(0, 9 * NS_PER_S, NS_PER_S // 10)
        if (moment := leader.look(now_ns, sensed.joint_pos, sensed.cube_world))
    ]

    home_ns = round(HOME_S * NS_PER_S)
    assert happened == [(home_ns, LeaderMoment.BEGAN), (home_ns + EPISODE_NS, LeaderMoment.FAILED)]


def test_without_a_cube_it_stays_at_home() -> None:
    leader = Leader()
    leader.demonstrate()

    moments = {
        leader.look(now_ns, SO101.home_rad, None) for now_ns in range(0, 5 * NS_PER_S, 10**8)
    }

    assert moments == {None}
    assert not leader.demonstrating


def test_a_cube_out_of_reach_is_an_error_and_the_leader_stays_at_home() -> None:
    leader, far = Leader(), np.array([2.0, 0.0, 0.0125])
    leader.demonstrate()
    leader.look(0, SO101.home_rad, far)

    with pytest.raises(SimError):
        leader.look(3 * NS_PER_S, SO101.home_rad, far)

    at_home = leader.target()
    assert leader.look(4 * NS_PER_S, SO101.home_rad, far) is None
    np.testing.assert_array_equal(leader.target(), at_home)
