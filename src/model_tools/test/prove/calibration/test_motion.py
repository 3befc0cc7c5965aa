# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is said where a robot does not move as its rows say.

A made-up walk: joints swing, the body rolls and pitches, all sensors are noisy, and what the joints
were sent to is where they are a tick later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.calibration.calibrate import Selection, collect
from model_tools.prove.calibration.collection import Collection
from model_tools.prove.calibration.motion import MotionOf, moved_elsewhere, moved_wrongly
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from testkit.wording import check_wording

from ...tiny_bundle import columns
from .sources import PERIOD_S, Made, silent

ROWS, LEFT_RIGHT = 400, np.r_[3:6, 0:3, 9:12, 6:9]
Change = Callable[[dict[str, F32]], object]
Said = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def walk_policy() -> JointBundle:
    return load_bundle(
        Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk", kind=JointBundle
    )


def swing(times_s: F64, size: float, lag_s: float = 0.0) -> tuple[F64, F64]:
    """Return angles [rows, 12] of joints that each swing in a way of their own, and their rates."""
    phases, rates = np.arange(12) * 2.4, 2.0 * np.pi * (1.3 + 0.07 * np.arange(12))
    angle = np.outer(times_s - lag_s, rates) + phases
    return size * np.sin(angle), size * rates * np.cos(angle)


def walk_rows(walk_policy: JointBundle) -> dict[str, F32]:
    """Return the rows of a walk."""
    random, times_s = np.random.default_rng(0), np.arange(ROWS, dtype=np.float64) * PERIOD_S
    position, velocity = swing(times_s, 0.15)
    target, _ = swing(times_s, 0.15, lag_s=-PERIOD_S)
    roll, pitch = 0.05 * np.sin(9.0 * times_s), 0.04 * np.sin(7.0 * times_s + 1.0)
    roll_rate, pitch_rate = 0.45 * np.cos(9.0 * times_s), 0.28 * np.cos(7.0 * times_s + 1.0)
    # Of Rx(roll) after Ry(pitch), in the body frame: gravity is -z turned back.
    values = {
        "base_ang_vel": np.stack(
            [roll_rate, pitch_rate * np.cos(roll), -pitch_rate * np.sin(roll)], axis=1
        ),
        "projected_gravity": np.stack(
            [np.sin(pitch), -np.cos(pitch) * np.sin(roll), -np.cos(pitch) * np.cos(roll)], axis=1
        ),
        "joint_pos_rel": position,
        "joint_vel": velocity,
    }
    noise = {
        "base_ang_vel": 0.05,
        "projected_gravity": 0.001,
        "joint_pos_rel": 0.003,
        "joint_vel": 0.3,
    }
    obs = np.zeros((ROWS, 45), np.float32)
    for columns_of, where in columns(walk_policy.contract, "obs").items():
        if columns_of in values:
            scale = {"base_ang_vel": 0.25, "joint_vel": 0.05}.get(columns_of, 1.0)
            noisy = values[columns_of] + random.normal(
                0.0, noise[columns_of], values[columns_of].shape
            )
            obs[:, where] = noisy * scale
    [term] = walk_policy.contract.action.terms
    return {"obs": obs, "action": (target / term.scale).astype(np.float32)}


@pytest.fixture
def motion_said(walk_policy: JointBundle, tmp_path: Path) -> Said:
    """Changes terms of the walk, in their places, and returns problems and gaps."""

    def change_and_judge(
        change: Change = lambda terms: None,
        rows: Any = slice(None),
        begins: Sequence[int] = (0,),
        samples: int | None = None,
    ) -> tuple[list[str], list[str]]:
        tensors = {name: array[rows] for name, array in walk_rows(walk_policy).items()}
        obs = tensors["obs"]
        change(
            {
                **{
                    name: obs[:, where]
                    for name, where in columns(walk_policy.contract, "obs").items()
                },
                "action": tensors["action"],
            }
        )
        motion = MotionOf(walk_policy)
        with Collection(tmp_path, 32) as collected:
            collect(
                [Made(tensors, begins=begins)],
                Selection(samples=samples),
                collected,
                silent(),
                motion.watch,
            )
        found = motion.found()
        return list(moved_wrongly(found)), list(moved_elsewhere(found))

    return change_and_judge


def test_a_walk_is_healthy(motion_said: Said) -> None:
    assert motion_said() == ([], [])


def scaled(*terms: str, by: float, axis: Any = slice(None)) -> Change:
    """Return what scales terms, or one axis of them."""

    def change(values: dict[str, F32]) -> None:
        for name in terms:
            values[name][:, axis] *= by

    return change


NEGATED = scaled("joint_vel", by=-1)


WRONG_VELOCITIES: dict[str, tuple[Change, int]] = {
    "velocities of the other sign": (NEGATED, 1),
    "velocities in tenths": (scaled("joint_vel", by=0.1), 1),
    "velocities in degrees": (scaled("joint_vel", by=57.3), 1),
    "turned about x": (scaled("base_ang_vel", by=-1, axis=0), 1),
    "turned about y": (scaled("base_ang_vel", by=-1, axis=1), 1),
    "gyroscope in degrees": (scaled("base_ang_vel", by=57.3), 2),
    "all in degrees": (scaled("joint_vel", "base_ang_vel", by=57.3), 3),
}


@pytest.mark.parametrize("case", WRONG_VELOCITIES)
def test_velocities_that_are_not_the_changes_of_positions_are_refused(
    motion_said: Said, case: str
) -> None:
    change, count = WRONG_VELOCITIES[case]
    problems, _ = motion_said(change)

    assert len(problems) == count
    check_wording(*problems)


def exchange(terms: dict[str, F32]) -> None:
    """Name the joints of the left those of the right."""
    for name in ("joint_pos_rel", "joint_vel"):
        terms[name][:] = terms[name][:, LEFT_RIGHT]


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (exchange, slice(None)),
        (scaled("joint_pos_rel", "joint_vel", by=-1), slice(None)),
        (lambda terms: None, slice(None, None, 5)),
    ],
    ids=["exchanged joints", "mirrored joints", "another rate"],
)
def test_joints_that_go_elsewhere_than_they_are_sent_are_a_gap(
    motion_said: Said, change: Change, rows: slice
) -> None:
    problems, [gap] = motion_said(change, rows)

    assert problems == []
    check_wording(gap)


def test_rows_that_do_not_follow_each_other_are_not_compared(motion_said: Said) -> None:
    assert motion_said(NEGATED, begins=range(ROWS)) == ([], [])
    assert motion_said(lambda terms: None, rows=np.random.default_rng(0).permutation(ROWS))[0] == []


def test_few_rows_of_many_are_compared_with_those_after_them(motion_said: Said) -> None:
    assert motion_said(NEGATED, samples=40)[0]
    assert motion_said(samples=40) == ([], [])


def test_a_robot_that_stands_is_not_judged_by_its_noise(motion_said: Said) -> None:
    random = np.random.default_rng(1)

    def stand(terms: dict[str, F32]) -> None:
        for values in terms.values():
            values[:] = values[0] + random.normal(0.0, 2e-4, values.shape)

    assert motion_said(stand) == ([], [])
