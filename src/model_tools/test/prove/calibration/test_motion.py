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
from model_tools.prove.calibration.coverage import StatedAgreement
from model_tools.prove.calibration.motion import MotionOf, moved_elsewhere, moved_wrongly
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.interfaces import F32, F64

from ...tiny_bundle import columns
from .sources import PERIOD_S, Made, silent

ROWS, LEFT_RIGHT = 400, np.r_[3:6, 0:3, 9:12, 6:9]
Change = Callable[[dict[str, F32]], object]
Said = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def bundle() -> JointBundle:
    return load_bundle(
        Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk", kind=JointBundle
    )


def swing(times_s: F64, size: float, lag_s: float = 0.0) -> tuple[F64, F64]:
    """Return angles [rows, 12] of joints that each swing in a way of their own, and their rates."""
    phases, rates = np.arange(12) * 2.4, 2.0 * np.pi * (1.3 + 0.07 * np.arange(12))
    angle = np.outer(times_s - lag_s, rates) + phases
    return size * np.sin(angle), size * rates * np.cos(angle)


def walk(bundle: JointBundle) -> dict[str, F32]:
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
    for columns_of, where in columns(bundle.contract, "obs").items():
        if columns_of in values:
            scale = {"base_ang_vel": 0.25, "joint_vel": 0.05}.get(columns_of, 1.0)
            noisy = values[columns_of] + random.normal(
                0.0, noise[columns_of], values[columns_of].shape
            )
            obs[:, where] = noisy * scale
    [term] = bundle.contract.action.terms
    return {"obs": obs, "action": (target / term.scale).astype(np.float32)}


@pytest.fixture
def said(bundle: JointBundle, tmp_path: Path) -> Said:
    """Changes terms of the walk, in their places, and returns problems and gaps."""

    def change_and_judge(
        change: Change = lambda terms: None,
        rows: Any = slice(None),
        begins: Sequence[int] = (0,),
        samples: int | None = None,
    ) -> tuple[list[str], list[str]]:
        tensors = {name: array[rows] for name, array in walk(bundle).items()}
        obs = tensors["obs"]
        change(
            {
                **{name: obs[:, where] for name, where in columns(bundle.contract, "obs").items()},
                "action": tensors["action"],
            }
        )
        motion = MotionOf(bundle)
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


def test_a_walk_is_healthy(said: Said) -> None:
    assert said() == ([], [])


def test_velocities_of_the_other_sign_are_refused(said: Said) -> None:
    def negate(terms: dict[str, F32]) -> None:
        terms["joint_vel"] *= -1

    [problem], _ = said(negate)

    assert problem.startswith(
        "the velocities of joints have the other sign than the changes of "
        "their positions (FL_HipX_joint, FL_HipY_joint, FL_Knee_joint and 9 "
        "more; correlation -0.9"
    )


@pytest.mark.parametrize(("scale", "words"), [(0.1, "0.099"), (57.3, "57")])
def test_velocities_of_another_scale_are_refused(said: Said, scale: float, words: str) -> None:
    def shrink(terms: dict[str, F32]) -> None:
        terms["joint_vel"] *= scale

    [problem], _ = said(shrink)

    assert problem.startswith(f"the velocities of joints are {words} x the changes of their pos")
    assert "other units or scales" in problem


@pytest.mark.parametrize(("axis", "name"), [(0, "x"), (1, "y")])
def test_a_gyroscope_that_is_turned_is_refused(said: Said, axis: int, name: str) -> None:
    def negate(terms: dict[str, F32]) -> None:
        terms["base_ang_vel"][:, axis] *= -1

    [problem], _ = said(negate)

    assert problem.startswith(
        f"the angular velocity about {name} has the other sign than the change of the orientation"
    )


def test_a_gyroscope_in_degrees_is_refused(said: Said) -> None:
    def scale(terms: dict[str, F32]) -> None:
        terms["base_ang_vel"] *= 57.3

    problems, _ = said(scale)

    assert [problem[:30] for problem in problems] == [
        "the angular velocity about x i",
        "the angular velocity about y i",
    ]


def exchange(terms: dict[str, F32]) -> None:
    """Name the joints of the left those of the right."""
    for name in ("joint_pos_rel", "joint_vel"):
        terms[name][:] = terms[name][:, LEFT_RIGHT]


def mirror(terms: dict[str, F32]) -> None:
    """Count the angles of all joints the other way."""
    for name in ("joint_pos_rel", "joint_vel"):
        terms[name][:] *= -1


@pytest.mark.parametrize("change", [exchange, mirror])
def test_joints_that_go_elsewhere_than_they_are_sent_are_a_gap(said: Said, change: Change) -> None:
    problems, [gap] = said(change)

    assert problems == []
    assert gap.startswith("the joints do not go where this policy sends them (correlation ")


def test_a_log_of_another_rate_is_a_gap(said: Said) -> None:
    problems, [gap] = said(rows=slice(None, None, 5))

    assert problems == []
    assert gap.startswith("joints and body both move ")
    assert "the rows were logged at another rate" in gap


def test_everything_in_degrees_is_refused(said: Said) -> None:
    def scale(terms: dict[str, F32]) -> None:
        terms["joint_vel"] *= 57.3
        terms["base_ang_vel"] *= 57.3

    problems, _ = said(scale)

    assert len(problems) == 3


def test_rows_that_do_not_follow_each_other_are_not_compared(said: Said) -> None:
    def negate(terms: dict[str, F32]) -> None:
        terms["joint_vel"] *= -1

    assert said(negate, begins=range(ROWS)) == ([], [])
    assert said(lambda terms: None, rows=np.random.default_rng(0).permutation(ROWS))[0] == []


def test_few_rows_of_many_are_compared_with_those_after_them(said: Said) -> None:
    def negate(terms: dict[str, F32]) -> None:
        terms["joint_vel"] *= -1

    assert said(negate, samples=40)[0]
    assert said(samples=40) == ([], [])


def test_a_robot_that_stands_is_not_judged_by_its_noise(said: Said) -> None:
    random = np.random.default_rng(1)

    def stand(terms: dict[str, F32]) -> None:
        for values in terms.values():
            values[:] = values[0] + random.normal(0.0, 2e-4, values.shape)

    assert said(stand) == ([], [])


def test_what_was_compared_is_counted(bundle: JointBundle) -> None:
    motion = MotionOf(bundle)
    tensors = walk(bundle)
    for row in Made(tensors, begins=(0, 200)).rows(None):
        motion.watch(row)

    found = motion.found()
    assert isinstance(found.joints, StatedAgreement)
    # Of rows that are judged 256 at once, the pair across is left out, and that at the break.
    assert found.joints.pairs == ROWS - 3
    np.testing.assert_allclose(found.joints.ratio, 1.0, atol=0.15)
