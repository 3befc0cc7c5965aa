# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""PredictionErrors of predicted against recorded actions, on courses whose figures are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lerobot_bridge.open_loop.figures import measure
from lerobot_bridge.open_loop.predict import Predicted
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording

FRAMES = 60


@pytest.fixture
def three_joint_contract(tmp_path: Path) -> ChunkContract:
    """Pan and elbow in degrees, the elbow's backwards; the gripper 0 to 100 over 1.91986 rad."""
    return load_bundle(write_chunk_bundle(tmp_path / "bundle"), kind=ChunkBundle).contract


def course(frames: int = FRAMES, seed: int = 0) -> F64:
    """Return actions that are like none of other times."""
    walk = np.cumsum(np.random.default_rng(seed).normal(size=(frames, 3)), axis=0)
    return walk * [2.0, 1.0, 1.0] + [0.0, 5.0, 40.0]


def episode(
    actions: F64,
    predicted: F64,
    every: int = 4,
    index: int = 0,
    state: F64 | None = None,
    driven: slice = slice(0),
) -> Predicted:
    where: Any = SimpleNamespace(index=index, length=len(actions))
    compared = np.ones(len(actions), np.bool_)
    compared[driven] = False
    return Predicted(
        episode=where,
        begins=tuple(range(0, len(actions), every)),
        actions=actions,
        predicted=predicted,
        state=actions if state is None else state,
        compared=compared,
    )


def test_errors_are_in_the_units_of_the_dataset_and_in_rad(
    three_joint_contract: ChunkContract,
) -> None:
    actions = course(20)
    errors = np.zeros((20, 3))
    errors[:, 0], errors[:, 1], errors[7, 2] = 3.0, np.linspace(-2.0, 2.0, 20), 10.0

    pan, elbow, gripper = measure(
        three_joint_contract, [episode(actions, actions + errors, index=5)]
    ).joints

    assert [pan.name, elbow.name, gripper.name] == ["shoulder_pan", "elbow_flex", "gripper"]
    assert (pan.error.mean, pan.error.p95, pan.error.largest) == pytest.approx((3.0, 3.0, 3.0))
    assert pan.error_rad.mean == pytest.approx(math.radians(3.0))
    assert elbow.error.mean == pytest.approx(np.abs(np.linspace(-2, 2, 20)).mean())
    assert elbow.error_rad.largest == pytest.approx(math.radians(2.0))
    assert elbow.worst[1] in (0, 19)
    assert gripper.error.mean == pytest.approx(0.5)
    assert gripper.error.largest == pytest.approx(10.0)
    assert gripper.error_rad.largest == pytest.approx(0.1 * (1.74533 + 0.17453))
    assert gripper.worst == (5, 7)


def test_correlation_is_that_of_the_courses(three_joint_contract: ChunkContract) -> None:
    actions = course()
    predicted = np.stack([2 * actions[:, 0] + 1, -actions[:, 1], np.full(FRAMES, 40.0)], axis=1)

    found = [
        one.correlation
        for one in measure(three_joint_contract, [episode(actions, predicted)]).joints
    ]

    assert found[:2] == pytest.approx([1.0, -1.0])
    assert math.isnan(found[2])


@pytest.mark.parametrize("lag", [0, 3, -5])
def test_a_delay_is_found_over_all_episodes(three_joint_contract: ChunkContract, lag: int) -> None:
    whole = [course(90, seed) for seed in (1, 2)]
    episodes = [
        episode(one[10:80], one[10 + lag : 80 + lag], index=i) for i, one in enumerate(whole)
    ]

    found = measure(three_joint_contract, episodes).lag

    assert found is not None
    assert found.frames == lag
    assert found.error == pytest.approx(0.0, abs=1e-12)
    assert (found.error_unshifted > 0.01) is (lag != 0)


def test_the_trembling_of_a_robot_that_rests_has_no_delay(
    three_joint_contract: ChunkContract,
) -> None:
    noise = np.random.default_rng(0).normal(scale=[0.2, 0.2, 0.1], size=(FRAMES, 3))

    assert measure(three_joint_contract, [episode(7.0 + noise[:-5], 7.0 + noise[5:])]).lag is None


def test_frames_in_which_a_person_drove_do_not_count(three_joint_contract: ChunkContract) -> None:
    actions = course(90)
    shown = actions[3:83].copy()
    shown[30:40] = 1e3
    whole = episode(actions[:80], shown, driven=slice(30, 40), index=2)
    parts = [episode(actions[:30], shown[:30]), episode(actions[40:80], shown[40:80])]

    found, expected = measure(three_joint_contract, [whole]), measure(three_joint_contract, parts)

    assert found.lag == expected.lag
    assert found.lag is not None
    assert found.lag.frames == 3
    for one, other in zip(found.joints, expected.joints, strict=True):
        assert (one.error, one.correlation) == (other.error, other.correlation)
        assert one.worst[1] not in range(30, 40)


def test_a_short_episode_does_not_hide_the_delay_of_long_ones(
    three_joint_contract: ChunkContract,
) -> None:
    actions = course(90)

    found = measure(
        three_joint_contract, [episode(actions[:80], actions[3:83]), episode(course(3), course(3))]
    )

    assert found.lag is not None
    assert found.lag.frames == 3


def test_errors_are_counted_by_the_step_of_the_chunk(three_joint_contract: ChunkContract) -> None:
    actions = course()
    steps = np.arange(FRAMES) % 4
    predicted = actions + actions.std(axis=0) * steps[:, np.newaxis]

    assert measure(three_joint_contract, [episode(actions, predicted)]).by_step == pytest.approx(
        [0, 1, 2, 3]
    )


def test_values_that_the_limits_do_not_allow_are_named(three_joint_contract: ChunkContract) -> None:
    actions, state = np.full((5, 3), 30.0), np.full((5, 3), 30.0)
    actions[3, 2], state[1, 0] = 140.0, -180.0

    found = measure(three_joint_contract, [episode(actions, actions, state=state)]).strange

    assert len(found) == 2
    check_wording(found[0])
    check_wording(found[1])


def test_rad_in_the_place_of_degrees_is_named(three_joint_contract: ChunkContract) -> None:
    # The training knew about 20, 20 and 65 of these joints; a right angle is 1.6 rad.
    actions = course() / 57.3
    large = course()

    (found,) = measure(three_joint_contract, [episode(actions, actions, state=large)]).strange
    check_wording(found)
