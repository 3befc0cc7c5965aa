# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a user of a real quadruped gets wrong, and what is said of it.

Rows are the golden ones of the policy that ships, from healthy walks, and what mistakes make of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.calibration.calibrate import Selection, collect
from model_tools.prove.calibration.collection import Collection
from model_tools.prove.calibration.measure import RowCoverage, measure
from model_tools.prove.calibration.motion import MotionOf
from model_tools.prove.calibration.verdict import CalibrationVerdict, judge
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from testkit.wording import check_wording, lines_with

from ...tiny_bundle import columns, make_bundle
from .sources import Made, silent

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
Change = Callable[[dict[str, F32]], object]
Judged = Callable[..., tuple[RowCoverage, CalibrationVerdict]]


@pytest.fixture(scope="module")
def gait_policy() -> JointBundle:
    return load_bundle(BUNDLES / "lite3_walk", kind=JointBundle)


@pytest.fixture
def judge_rows(gait_policy: JointBundle, tmp_path: Path) -> Judged:
    """Changes terms of healthy rows, in their places, and judges what becomes of them."""

    def change_and_judge(
        change: Change = lambda terms: None, rows: Any = slice(None), **sensed: F64
    ) -> tuple[RowCoverage, CalibrationVerdict]:
        golden = gait_policy.golden()
        tensors = {name: golden[name][rows].copy() for name in ("obs", "action")}
        obs = tensors["obs"]
        change(
            {name: obs[:, where] for name, where in columns(gait_policy.contract, "obs").items()}
        )
        with Collection(tmp_path, 32) as collected:
            motion = MotionOf(gait_policy)
            collect(
                [Made(tensors, sensed)], Selection(samples=None), collected, silent(), motion.watch
            )
            found = measure(gait_policy, collected, motion.found())
        return found, judge(found)

    return change_and_judge


def test_healthy_rows_are_usable(judge_rows: Judged) -> None:
    found, verdict = judge_rows()

    assert verdict.problems == ()
    check_wording(*verdict.warnings)
    assert found.still is not None
    assert found.still < 0.2
    assert len({way.words for way in found.directions}) == 6
    assert all(way.reached >= 0.4 and way.share > 0.01 for way in found.directions)


def reordered(terms: dict[str, F32]) -> None:
    by_kind = np.arange(12).reshape(4, 3).T.ravel()
    zero = np.array([0.0, -0.65, 1.3] * 4, np.float32)
    terms["joint_pos_rel"][:] = (terms["joint_pos_rel"] + zero)[:, by_kind] - zero


def turned_about(axes: list[int]) -> Change:
    def turn(terms: dict[str, F32]) -> None:
        terms["projected_gravity"][:] = terms["projected_gravity"][:, axes]

    return turn


def in_degrees(terms: dict[str, F32]) -> None:
    terms["base_ang_vel"][:] *= 57.3


def standing_rows(terms: dict[str, F32]) -> None:
    random = np.random.default_rng(0)
    for values in terms.values():
        values[:] = values[0] + random.normal(0.0, 1e-3, values.shape)
    terms["joint_vel"][:] = random.normal(0.0, 1e-3, terms["joint_vel"].shape)


def without_velocities(terms: dict[str, F32]) -> None:
    terms["joint_vel"][:] = 0.0


@pytest.mark.parametrize(
    "change",
    [
        reordered,
        turned_about([2, 1, 0]),
        turned_about([0, 2, 1]),
        in_degrees,
        standing_rows,
        without_velocities,
    ],
    ids=["reordered", "about y", "about x", "degrees", "standing", "no velocities"],
)
def test_rows_that_would_spoil_a_model_are_refused(judge_rows: Judged, change: Change) -> None:
    found, verdict = judge_rows(change)

    check_wording(*verdict.problems)
    assert (found.tilted == 1.0) is ("turn" in change.__name__)
    assert (found.still == 1.0) is (change in (standing_rows, without_velocities))


def legs_exchanged(terms: dict[str, F32]) -> None:
    terms["joint_pos_rel"][:] = terms["joint_pos_rel"][:, np.r_[6:12, 0:6]]


def imu_askew(terms: dict[str, F32]) -> None:
    terms["projected_gravity"][:, 0] += 0.1  # 6 degrees


def mostly_standing(terms: dict[str, F32]) -> None:
    terms["joint_vel"][: len(terms["joint_vel"]) * 8 // 10] *= 1e-3


def on_a_stand(terms: dict[str, F32]) -> None:
    terms["base_ang_vel"][:] *= 0.02


def dead_encoder(terms: dict[str, F32]) -> None:
    terms["joint_vel"][:, 4] = 0.0


def tame(terms: dict[str, F32]) -> None:
    terms["last_action"][:] *= 0.3


def only_forward(terms: dict[str, F32]) -> None:
    terms["velocity_command"][:] = [0.3, 0.0, 0.0]


def seldom_backward(terms: dict[str, F32]) -> None:
    command = terms["velocity_command"]
    command[:, 0] = np.abs(command[:, 0])
    command[0, 0] = -0.8


@pytest.mark.parametrize(
    "change",
    [
        legs_exchanged,
        imu_askew,
        mostly_standing,
        on_a_stand,
        dead_encoder,
        tame,
        only_forward,
        seldom_backward,
    ],
)
def test_rows_that_lack_something_have_a_gap(judge_rows: Judged, change: Change) -> None:
    _, verdict = judge_rows(change)

    assert len(verdict.warnings) > 1
    check_wording(*verdict.problems, *verdict.warnings)


def test_what_was_sensed_counts_before_the_observation(judge_rows: Judged) -> None:
    found, _ = judge_rows(
        rows=slice(0, 50),
        joint_vel=np.zeros((50, 12)),
        velocity_command=np.tile([0.0, 0.5, 0.0], (50, 1)),
    )

    assert found.still == 1.0
    assert [way.reached for way in found.directions if way.reached] == [0.5]


@pytest.mark.parametrize("count", [1, 31])
def test_too_few_rows_are_refused(judge_rows: Judged, count: int) -> None:
    _, verdict = judge_rows(rows=slice(0, count))

    check_wording(verdict.problems[0])


def test_rows_that_repeat_each_other_are_counted_once(judge_rows: Judged) -> None:
    few, refused = judge_rows(rows=np.arange(200) % 20)
    many, noted = judge_rows(rows=np.arange(400) % 200)

    assert (few.rows, few.different) == (200, 20)
    check_wording(refused.problems[0])
    assert (many.rows, many.different) == (400, 200)
    assert noted.problems == ()
    check_wording(*lines_with(noted.warnings, "repeat"))


def test_histograms_and_ranges_are_those_of_the_rows(
    judge_rows: Judged, gait_policy: JointBundle
) -> None:
    found, _ = judge_rows()

    obs = gait_policy.golden()["obs"].astype(np.float64)
    for term, where in zip(found.terms, columns(gait_policy.contract, "obs").values(), strict=True):
        values = obs[:, where]
        np.testing.assert_array_equal(term.lowest, values.min(axis=0))
        np.testing.assert_array_equal(term.highest, values.max(axis=0))
        np.testing.assert_allclose(term.mean, values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(term.std, values.std(axis=0), atol=1e-9)
        for column in range(values.shape[1]):
            by_numpy, _ = np.histogram(
                values[:, column],
                term.histogram.shape[1],
                (term.floor[column], term.ceiling[column]),
            )
            np.testing.assert_allclose(term.histogram[column], by_numpy, atol=1)
            assert term.histogram[column].sum() == len(values)


def test_a_bundle_without_nominal_figures_says_so(tmp_path: Path) -> None:
    tiny = load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle)
    golden = tiny.golden()
    with Collection(tmp_path, 32) as rows:
        collect(
            [Made({name: golden[name] for name in ("obs", "actions")})], Selection(), rows, silent()
        )
        verdict = judge(measure(tiny, rows, MotionOf(tiny).found()))

    assert verdict.problems == ()
    check_wording(verdict.notes[0])
