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
from model_tools.prove.calibration.coverage import RowCoverage
from model_tools.prove.calibration.measure import measure
from model_tools.prove.calibration.motion import MotionOf
from model_tools.prove.calibration.verdict import CalibrationVerdict, judge
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.interfaces import F32, F64

from ...tiny_bundle import columns, make_bundle
from .sources import Made, silent

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
Change = Callable[[dict[str, F32]], object]
Judged = Callable[..., tuple[RowCoverage, CalibrationVerdict]]


@pytest.fixture(scope="module")
def bundle() -> JointBundle:
    return load_bundle(BUNDLES / "lite3_walk", kind=JointBundle)


@pytest.fixture
def judged(bundle: JointBundle, tmp_path: Path) -> Judged:
    """Changes terms of healthy rows, in their places, and judges what becomes of them."""

    def change_and_judge(
        change: Change = lambda terms: None, rows: Any = slice(None), **sensed: F64
    ) -> tuple[RowCoverage, CalibrationVerdict]:
        golden = bundle.golden()
        tensors = {name: golden[name][rows].copy() for name in ("obs", "action")}
        obs = tensors["obs"]
        change({name: obs[:, where] for name, where in columns(bundle.contract, "obs").items()})
        with Collection(tmp_path, 32) as collected:
            motion = MotionOf(bundle)
            collect(
                [Made(tensors, sensed)], Selection(samples=None), collected, silent(), motion.watch
            )
            found = measure(bundle, collected, motion.found())
        return found, judge(found)

    return change_and_judge


def test_healthy_rows_are_usable(judged: Judged) -> None:
    found, verdict = judged()

    assert verdict.problems == ()
    [few] = verdict.warnings
    assert few == (
        "256 different rows: compile takes 512 from twice as many, and 1000 to 4000 are "
        "usual: record more"
    )
    assert verdict.words == "usable, with gaps"
    assert found.still is not None
    assert found.still < 0.2
    assert {way.words for way in found.directions} == {
        "forward",
        "backward",
        "to the left",
        "to the right",
        "turning left",
        "turning right",
    }
    assert all(way.reached >= 0.4 and way.share > 0.01 for way in found.directions)


def test_joints_in_another_order_are_refused(judged: Judged) -> None:
    by_kind = np.arange(12).reshape(4, 3).T.ravel()
    zero = np.array([0.0, -0.65, 1.3] * 4, np.float32)

    def reorder(terms: dict[str, F32]) -> None:
        terms["joint_pos_rel"][:] = (terms["joint_pos_rel"] + zero)[:, by_kind] - zero

    _, verdict = judged(reorder)

    assert "joints are beyond their limits in 100% of the rows" in verdict.problems[0]
    assert "joint_pos_rel FR_Knee_joint in 100%" in verdict.problems[1]


def test_legs_that_changed_places_are_a_gap(judged: Judged) -> None:
    rear_first = np.r_[6:12, 0:6]

    def reorder(terms: dict[str, F32]) -> None:
        terms["joint_pos_rel"][:] = terms["joint_pos_rel"][:, rear_first]

    _, verdict = judged(reorder)

    assert any(
        "joint_pos_rel sits elsewhere than in a healthy run: FR_HipY_joint by" in text
        for text in verdict.warnings
    )


@pytest.mark.parametrize("turned", [[2, 1, 0], [0, 2, 1]], ids=["about y", "about x"])
def test_an_imu_that_is_mounted_rotated_is_refused(judged: Judged, turned: list[int]) -> None:
    def turn(terms: dict[str, F32]) -> None:
        terms["projected_gravity"][:] = terms["projected_gravity"][:, turned]

    found, verdict = judged(turn)

    assert found.tilted == 1.0
    assert "the IMU is mounted rotated, or the robot lay" in verdict.problems[0]


def test_an_imu_that_is_mounted_askew_is_a_gap(judged: Judged) -> None:
    def tilt(terms: dict[str, F32]) -> None:
        terms["projected_gravity"][:, 0] += 0.1  # 6 degrees

    _, verdict = judged(tilt)

    assert any("projected_gravity sits elsewhere" in text for text in verdict.warnings)


def test_degrees_for_radians_are_refused(judged: Judged) -> None:
    def scale(terms: dict[str, F32]) -> None:
        terms["base_ang_vel"][:] *= 57.3

    _, verdict = judged(scale)

    assert (
        "values far outside those of the bundle's healthy run (base_ang_vel z"
        in (verdict.problems[0])
    )


def test_a_robot_that_stands_is_refused(judged: Judged) -> None:
    random = np.random.default_rng(0)

    def stand(terms: dict[str, F32]) -> None:
        for values in terms.values():
            values[:] = values[0] + random.normal(0.0, 1e-3, values.shape)
        terms["joint_vel"][:] = random.normal(0.0, 1e-3, terms["joint_vel"].shape)

    found, verdict = judged(stand)

    assert found.still == 1.0
    assert "the robot stands still in 100% of the rows" in verdict.problems[0]


def test_a_robot_that_mostly_stands_is_a_gap(judged: Judged) -> None:
    def stand(terms: dict[str, F32]) -> None:
        terms["joint_vel"][: len(terms["joint_vel"]) * 8 // 10] *= 1e-3

    _, verdict = judged(stand)

    assert verdict.problems == ()
    assert any("stands still in 8" in text and "% of the rows" in text for text in verdict.warnings)


def test_a_robot_on_a_stand_is_a_gap(judged: Judged) -> None:
    def hang(terms: dict[str, F32]) -> None:
        terms["base_ang_vel"][:] *= 0.02

    _, verdict = judged(hang)

    assert any(
        "joints move, but the body turns by" in text and "was the robot on a stand?" in text
        for text in verdict.warnings
    )


def test_a_driver_without_velocities_is_refused(judged: Judged) -> None:
    def drop(terms: dict[str, F32]) -> None:
        terms["joint_vel"][:] = 0.0

    _, verdict = judged(drop)

    [problem] = verdict.problems
    assert problem == (
        "joint_vel never changes: the recording lacks it, or nothing moved; see "
        "what the robot publishes"
    )


def test_one_encoder_that_is_dead_is_a_gap(judged: Judged) -> None:
    def stop(terms: dict[str, F32]) -> None:
        terms["joint_vel"][:, 4] = 0.0

    _, verdict = judged(stop)

    assert "joint_vel never changes in FR_HipY_joint" in verdict.warnings


def test_rows_that_are_too_tame_are_a_gap(judged: Judged) -> None:
    def tame(terms: dict[str, F32]) -> None:
        terms["last_action"][:] *= 0.3

    _, verdict = judged(tame)

    assert any(
        text.startswith("last_action spans 2") and "cut off" in text for text in verdict.warnings
    )


def test_a_joystick_that_only_went_forward_is_a_gap(judged: Judged) -> None:
    def forward(terms: dict[str, F32]) -> None:
        terms["velocity_command"][:] = [0.3, 0.0, 0.0]

    _, verdict = judged(forward)

    assert verdict.problems == ()
    assert (
        "never backward, to the left, to the right, turning left, turning right: the policy "
        "was trained for that; record it, too"
    ) in verdict.warnings
    assert "forward only to 0.3 m/s: the policy was trained to 0.8 m/s" in verdict.warnings
    assert any(
        text.startswith("1 different velocity commands: record more of them")
        for text in verdict.warnings
    )


def test_a_direction_that_is_hardly_there_is_a_gap(judged: Judged) -> None:
    def seldom(terms: dict[str, F32]) -> None:
        command = terms["velocity_command"]
        command[:, 0] = np.abs(command[:, 0])
        command[0, 0] = -0.8

    _, verdict = judged(seldom)

    assert "backward in 0.4% of the rows only: the policy was trained to 0.8 m/s; record more" in (
        verdict.warnings
    )


def test_what_was_sensed_counts_before_the_observation(judged: Judged) -> None:
    found, _ = judged(
        rows=slice(0, 50),
        joint_vel=np.zeros((50, 12)),
        velocity_command=np.tile([0.0, 0.5, 0.0], (50, 1)),
    )

    assert found.still == 1.0
    assert {way.words: way.reached for way in found.directions}["to the left"] == 0.5


@pytest.mark.parametrize("count", [1, 31])
def test_too_few_rows_are_refused(judged: Judged, count: int) -> None:
    _, verdict = judged(rows=slice(0, count))

    assert f"{count} different rows of {count}, at least 32 are needed" in verdict.problems[0]


def test_rows_that_repeat_each_other_are_counted_once(judged: Judged) -> None:
    few, refused = judged(rows=np.arange(200) % 20)
    many, noted = judged(rows=np.arange(400) % 200)

    assert (few.rows, few.different) == (200, 20)
    assert "20 different rows of 200" in refused.problems[0]
    assert (many.rows, many.different) == (400, 200)
    assert noted.problems == ()
    assert "50% of the rows repeat others: they add nothing" in noted.warnings


def test_histograms_and_ranges_are_those_of_the_rows(judged: Judged, bundle: JointBundle) -> None:
    found, _ = judged()

    obs = bundle.golden()["obs"].astype(np.float64)
    for term, where in zip(found.terms, columns(bundle.contract, "obs").values(), strict=True):
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
    assert "the bundle has no nominal figures" in verdict.notes[0]


@pytest.mark.parametrize(("order", "newest"), [("oldest_first", 2), ("newest_first", 0)])
def test_the_last_frame_of_a_history_is_what_is_shown(
    tmp_path: Path, order: str, newest: int
) -> None:
    """Three frames of two positions fill the input of six."""
    folder = make_bundle(tmp_path / "tiny")
    text = (
        (folder / "policy.yaml")
        .read_text("utf-8")
        .replace(
            "{term: joint_pos}, {term: joint_vel}, {term: last_action}]",
            "{term: joint_pos}], "
            f"history: {{length: 3, layout: per_frame, order: {order}, init: zero}}",
        )
    )
    (folder / "policy.yaml").write_text(text, "utf-8")
    tiny, obs = (
        load_bundle(folder, kind=JointBundle),
        np.arange(40, dtype=np.float32)[:, None] + np.arange(6),
    )
    with Collection(tmp_path, 32) as rows:
        collect([Made({"obs": obs, "actions": obs[:, :2]})], Selection(), rows, silent())
        [term] = measure(tiny, rows, MotionOf(tiny).found()).terms

    assert term.lowest.tolist() == [2 * newest, 2 * newest + 1]
