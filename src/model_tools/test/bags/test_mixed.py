# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of two robots, or of two moments, that take turns on a topic of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.bags.source import BagSource
from model_tools.errors import ToolError
from policy_inference.bundle.load import Bundle, load_bundle

from ..small_bag import MS, S, Said, every, joint_states, write_bag
from ..tiny_bundle import make_bundle

RATES = 2.0 * np.pi * np.array([1.3, 1.7])
NOISE_RAD, NOISE_RAD_S = 0.003, 0.3
STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(make_bundle(tmp_path / "tiny"))


def swinging(
    times_ns: list[int], *, since_s: float = 0.0, shift_ns: int = 0, scale: float = 1.0,
) -> list[Said]:  # fmt: skip
    """Say that both joints swing; stamps and the log are `shift_ns` later than it is."""
    random, said = np.random.default_rng(0), list[Said]()
    for time_ns in times_ns:
        angle = RATES * (time_ns / S + since_s)
        position = 0.3 * np.sin(angle) + random.normal(0.0, NOISE_RAD, 2)
        velocity = 0.3 * RATES * np.cos(angle) + random.normal(0.0, NOISE_RAD_S, 2)
        said += joint_states([time_ns + shift_ns], position=position, velocity=velocity * scale)
    return said


def in_log(*said: Said) -> list[Said]:
    return sorted(said, key=lambda entry: entry[1])


@STORAGES
def test_two_robots_on_one_topic_are_refused(
    bundle: Bundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    one = swinging(every(10, 1000, 9000))
    other = swinging(every(10, 1003, 9000), since_s=5.3)

    with pytest.raises(ToolError, match=r"/joint_states at 1\.000 s: expected the messages of one "
                                        r"robot in their order, found positions that jump by"):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*one, *other), storage))


def test_robots_that_take_turns_now_and_then_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    one = swinging(every(10, 1000, 30000))
    other = swinging(every(10, 15003, 20000), since_s=5.3)

    with pytest.raises(ToolError, match="two publishers are on the topic"):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*one, *other)))


@STORAGES
def test_a_clock_that_was_set_back_while_it_was_recorded_is_refused(
    bundle: Bundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    """Both the stamps and the log of the second half are 5 s too early."""
    before = swinging(every(10, 1000, 11000))
    after = swinging(every(10, 11013, 20000), shift_ns=-5 * S)

    with pytest.raises(ToolError, match=r"/joint_states at 6\.013 s: expected times in the log "
                                        r"that go on, found one 4\.987 s before the last; the "
                                        r"clock began anew"):
        BagSource(bundle, write_bag(tmp_path / "bag", [*before, *after], storage))


def test_where_the_order_of_writing_is_lost_the_joints_tell(bundle: Bundle, tmp_path: Path) -> None:
    before = swinging(every(10, 1000, 11000))
    after = swinging(every(10, 11013, 20000), shift_ns=-5 * S)

    with pytest.raises(ToolError, match="the clock was set back while it was recorded"):
        BagSource(bundle, write_bag(tmp_path / "bag", in_log(*before, *after)))


@STORAGES
def test_parts_may_be_written_in_any_order(
    bundle: Bundle, tmp_path: Path, storage: StoragePlugin
) -> None:
    first, second = (swinging(every(10, *ends)) for ends in ((1000, 5000), (5010, 9000)))

    bag = write_bag(tmp_path / "bag", [*second, *first], storage)
    assert BagSource(bundle, bag).count == 401


@pytest.mark.parametrize("period_ms", [2, 5, 20, 25])
def test_one_robot_is_read(bundle: Bundle, tmp_path: Path, period_ms: int) -> None:
    bag = write_bag(tmp_path / "bag", swinging(every(period_ms, 1000, 21000)))

    assert len(list(BagSource(bundle, bag).rows())) == 1001


@pytest.mark.parametrize("scale", [0.1, -1.0])
def test_velocities_that_are_wrong_are_told_by_the_rows(
    bundle: Bundle, tmp_path: Path, scale: float
) -> None:
    bag = write_bag(tmp_path / "bag", swinging(every(10, 1000, 9000), scale=scale))

    assert BagSource(bundle, bag).count == 401


def test_a_robot_that_stands_is_read(bundle: Bundle, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    said = [entry for time_ns in every(10, 1000, 9000) for entry in joint_states(
        [time_ns], position=random.normal(0.0, 0.01, 2), velocity=random.normal(0.0, 0.1, 2))]

    assert BagSource(bundle, write_bag(tmp_path / "bag", said)).count == 401


def test_positions_that_are_repeated_are_read(bundle: Bundle, tmp_path: Path) -> None:
    """A driver that publishes four times as often as it hears of the joints."""
    random, said = np.random.default_rng(0), list[Said]()
    for number, time_ns in enumerate(every(5, 1000, 21000)):
        heard_s = (time_ns - number % 4 * 5 * MS) / S
        position = 0.3 * np.sin(RATES * heard_s)
        said += joint_states([time_ns], position=position,
                             velocity=0.3 * RATES * np.cos(RATES * heard_s)
                             + random.normal(0.0, NOISE_RAD_S, 2))

    assert BagSource(bundle, write_bag(tmp_path / "bag", said)).count == 1001
