# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the arm: when they begin and end, what is recorded, and the rendered images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_sim.arm_episodes import ArmRecorder, ArmTrace, Episodes, Result
from robot_sim.arm_expert import EPISODE_NS, cube_top
from robot_sim.arm_figures import SO101
from robot_sim.arm_leader import HOME_S, Leader, LeaderMoment
from robot_sim.arm_render import shown, write_episodes
from robot_sim.arm_world import ArmSensors, ArmWorld, arm_command
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.figures import Array
from testkit.wording import refusal

MS = 1_000_000
RUN, STAND = 3.0, 1.0


@pytest.fixture(scope="module")
def arm_away() -> ArmSensors:
    return ArmWorld().sense()


def tip_seen(sensed: ArmSensors, time_ms: int, *, reached: bool = False) -> ArmSensors:
    """Return the readings at another time, with the tip at the goal if `reached`."""
    tip: Array = cube_top(sensed) if reached else sensed.tip_world
    return replace(sensed, time_ns=time_ms * MS, tip_world=tip)


def test_an_episode_begins_with_run_and_ends_when_reached(arm_away: ArmSensors) -> None:
    episodes = Episodes(5, 8000 * MS)
    for time_ms in (0, 600, 1200):
        assert episodes.look(tip_seen(arm_away, time_ms, reached=True), running=False) is None
        assert episodes.under_way == -1
    assert episodes.look(tip_seen(arm_away, 2000, reached=True), running=True) is None
    assert episodes.under_way == 0
    ended = episodes.look(tip_seen(arm_away, 2500, reached=True), running=True)
    assert ended == Result(seed=5, succeeded=True, closest_m=0.0, took_s=0.5)
    assert episodes.look(tip_seen(arm_away, 9000), running=True) is None, "one episode, one result"
    assert (episodes.under_way, episodes.results) == (-1, [ended])


def test_the_next_episode_moves_the_cube_once_and_what_was_under_way_has_failed(
    arm_away: ArmSensors,
) -> None:
    episodes = Episodes(5, 1000 * MS)
    assert episodes.cube_to_move(0) is None
    episodes.look(tip_seen(arm_away, 0), running=True)
    assert episodes.next() == 6
    assert (episodes.cube_to_move(200 * MS), episodes.cube_to_move(200 * MS)) == (6, None)
    assert episodes.under_way == -1
    assert episodes.look(tip_seen(arm_away, 5000), running=True) is None, "it begins now"
    ended = episodes.look(tip_seen(arm_away, 6000), running=True)
    assert ended is not None
    assert [each.seed for each in episodes.results] == [5, 6]
    assert (episodes.results[0].succeeded, episodes.results[0].took_s) == (False, 0.2)


@pytest.fixture
def two_episodes() -> ArmTrace:
    """Return two episodes of two rows each; the cube is moved between them."""
    world, recorder = ArmWorld(), ArmRecorder()
    rows = [(-1, STAND), (0, RUN), (0, RUN), (-1, RUN), (-1, STAND), (1, RUN), (1, RUN)]
    for row, (episode, mode) in enumerate(rows):
        world.move_cube(7 + max(0, episode))
        recorder.append(
            time_s=row / 5.0, pose=world.pose, target=np.full(6, np.nan), mode=mode, episode=episode
        )
    return recorder.trace(
        [
            Result(seed=7, succeeded=True, closest_m=0.01, took_s=0.4),
            Result(seed=8, succeeded=False, closest_m=0.20, took_s=0.4),
        ]
    )


def test_a_trace_is_the_same_once_read_again(two_episodes: ArmTrace, tmp_path: Path) -> None:
    two_episodes.save(tmp_path / "trace.npz")
    again = ArmTrace.load(tmp_path / "trace.npz")
    np.testing.assert_array_equal(again.pose, two_episodes.pose)
    np.testing.assert_array_equal(again.episode, two_episodes.episode)
    assert again.seed.tolist() == [7, 8]
    assert again.succeeded.tolist() == [True, False]


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", pose=np.zeros(3))
    with refusal(SimError):
        ArmTrace.load(tmp_path / "other.npz")


def test_shown_are_episodes_and_what_follows_in_run(two_episodes: ArmTrace) -> None:
    assert shown(two_episodes).tolist() == [1, 2, 3, 5, 6]
    with refusal(SimError):
        shown(replace(two_episodes, episode=np.full(7, -1)))


def test_a_video_is_written(two_episodes: ArmTrace, tmp_path: Path) -> None:
    video = tmp_path / "episodes.mp4"
    write_episodes(two_episodes, video, image_size=(48, 64))
    assert video.read_bytes()[4:8] == b"ftyp"


STEPS = 16
"""Of physics per tick: a thirtieth of a second."""
HOME_TICKS = round(HOME_S * 30)


def follow(leader: Leader, world: ArmWorld, ticks: int) -> Iterator[tuple[int, LeaderMoment]]:
    """Let the arm follow the leader; yield the tick of each event, and the event."""
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
    # The leader is ahead of the arm by the sag of the servos.
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
