# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a user of a real quadruped gets wrong, and what is said of it.

Rows are the golden ones of the policy that ships, from healthy walks, and what mistakes make of
them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.calibration.calibrate import Selection, collect
from model_tools.prove.calibration.collection import Collection
from model_tools.prove.calibration.measure import RowCoverage, measure
from model_tools.prove.calibration.motion import MotionOf, moved_elsewhere, moved_wrongly
from model_tools.prove.calibration.verdict import CalibrationVerdict, judge
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from testkit.wording import check_wording, lines_with

from ...tiny_bundle import columns
from .sources import PERIOD_S, Made, silent

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
Terms = dict[str, Any]
Change = Callable[[Terms], Terms]
"""Returns the terms that become others."""
Judged = Callable[..., tuple[RowCoverage, CalibrationVerdict]]


@pytest.fixture(scope="module")
def gait_policy() -> JointBundle:
    return load_bundle(BUNDLES / "lite3_walk", kind=JointBundle)


@pytest.fixture
def judge_rows(gait_policy: JointBundle, tmp_path: Path) -> Judged:
    """Changes terms of healthy rows, and judges what becomes of them."""

    def change_and_judge(
        change: Change = lambda terms: {}, rows: Any = slice(None), **sensed: F64
    ) -> tuple[RowCoverage, CalibrationVerdict]:
        golden = gait_policy.golden()
        tensors = {name: golden[name][rows].copy() for name in ("obs", "action")}
        obs = tensors["obs"]
        places = columns(gait_policy.contract, "obs")
        for name, values in change({name: obs[:, at] for name, at in places.items()}).items():
            obs[:, places[name]] = values
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


def standing(terms: Terms) -> Terms:
    random = np.random.default_rng(0)
    noisy = {name: one[0] + random.normal(0.0, 1e-3, one.shape) for name, one in terms.items()}
    return {**noisy, "joint_vel": random.normal(0.0, 1e-3, terms["joint_vel"].shape)}


BY_KIND, ZERO = np.arange(12).reshape(4, 3).T.ravel(), np.array([0.0, -0.65, 1.3] * 4, np.float32)
SPOILED: dict[str, Change] = {
    "reordered": lambda terms: {
        "joint_pos_rel": (terms["joint_pos_rel"] + ZERO)[:, BY_KIND] - ZERO
    },
    "about y": lambda terms: {"projected_gravity": terms["projected_gravity"][:, [2, 1, 0]]},
    "about x": lambda terms: {"projected_gravity": terms["projected_gravity"][:, [0, 2, 1]]},
    "degrees": lambda terms: {"base_ang_vel": terms["base_ang_vel"] * 57.3},
    "standing": standing,
    "no velocities": lambda terms: {"joint_vel": 0.0},
}


@pytest.mark.parametrize("kind", SPOILED)
def test_rows_that_would_spoil_a_model_are_refused(judge_rows: Judged, kind: str) -> None:
    found, verdict = judge_rows(SPOILED[kind])

    check_wording(*verdict.problems)
    assert (found.tilted == 1.0) is ("about" in kind)
    assert (found.still == 1.0) is (kind in ("standing", "no velocities"))


def mostly_standing(terms: Terms) -> Terms:
    velocity = terms["joint_vel"].copy()
    velocity[: len(velocity) * 8 // 10] *= 1e-3
    return {"joint_vel": velocity}


def seldom_backward(terms: Terms) -> Terms:
    command = terms["velocity_command"].copy()
    command[:, 0] = np.abs(command[:, 0])
    command[0, 0] = -0.8
    return {"velocity_command": command}


LACKING: dict[str, Change] = {
    "legs_exchanged": lambda terms: {"joint_pos_rel": terms["joint_pos_rel"][:, np.r_[6:12, 0:6]]},
    "imu_askew": lambda terms: {  # by 6 degrees
        "projected_gravity": terms["projected_gravity"] + [0.1, 0.0, 0.0]
    },
    "mostly_standing": mostly_standing,
    "on_a_stand": lambda terms: {"base_ang_vel": terms["base_ang_vel"] * 0.02},
    "dead_encoder": lambda terms: {"joint_vel": terms["joint_vel"] * (np.arange(12) != 4)},
    "tame": lambda terms: {"last_action": terms["last_action"] * 0.3},
    "only_forward": lambda terms: {"velocity_command": [0.3, 0.0, 0.0]},
    "seldom_backward": seldom_backward,
}


@pytest.mark.parametrize("kind", LACKING)
def test_rows_that_lack_something_have_a_gap(judge_rows: Judged, kind: str) -> None:
    _, verdict = judge_rows(LACKING[kind])

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
    check_wording(*lines_with(noted.warnings, "duplicates"))


ROWS, LEFT_RIGHT = 400, np.r_[3:6, 0:3, 9:12, 6:9]
Said = Callable[..., tuple[list[str], list[str]]]


def swing(times_s: F64, size: float, lag_s: float = 0.0) -> tuple[F64, F64]:
    """Return angles [rows, 12] of joints that each swing in a way of their own, and their rates."""
    phases, rates = np.arange(12) * 2.4, 2.0 * np.pi * (1.3 + 0.07 * np.arange(12))
    angle = np.outer(times_s - lag_s, rates) + phases
    return size * np.sin(angle), size * rates * np.cos(angle)


def walk_rows(gait_policy: JointBundle) -> dict[str, F32]:
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
    for columns_of, where in columns(gait_policy.contract, "obs").items():
        if columns_of in values:
            scale = {"base_ang_vel": 0.25, "joint_vel": 0.05}.get(columns_of, 1.0)
            noisy = values[columns_of] + random.normal(
                0.0, noise[columns_of], values[columns_of].shape
            )
            obs[:, where] = noisy * scale
    [term] = gait_policy.contract.action.terms
    return {"obs": obs, "action": (target / term.scale).astype(np.float32)}


@pytest.fixture
def motion_said(gait_policy: JointBundle, tmp_path: Path) -> Said:
    """Changes terms of the walk, and returns problems and gaps."""

    def change_and_judge(
        change: Change = lambda terms: {},
        rows: Any = slice(None),
        begins: Sequence[int] = (0,),
        samples: int | None = None,
    ) -> tuple[list[str], list[str]]:
        tensors = {name: array[rows] for name, array in walk_rows(gait_policy).items()}
        obs, places = tensors["obs"], columns(gait_policy.contract, "obs")
        terms = {name: obs[:, where] for name, where in places.items()}
        for name, values in change({**terms, "action": tensors["action"]}).items():
            (tensors["action"] if name == "action" else terms[name])[:] = values
        motion = MotionOf(gait_policy)
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
    def change(values: Terms) -> Terms:
        found = {name: values[name].copy() for name in terms}
        for each in found.values():
            each[:, axis] *= by
        return found

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


def exchange(terms: Terms) -> Terms:
    """Name the joints of the left those of the right."""
    return {name: terms[name][:, LEFT_RIGHT] for name in ("joint_pos_rel", "joint_vel")}


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (exchange, slice(None)),
        (scaled("joint_pos_rel", "joint_vel", by=-1), slice(None)),
        (lambda terms: {}, slice(None, None, 5)),
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
    assert motion_said(rows=np.random.default_rng(0).permutation(ROWS))[0] == []


def test_a_robot_that_stands_is_not_judged_by_its_noise(motion_said: Said) -> None:
    random = np.random.default_rng(1)

    def stand(terms: Terms) -> Terms:
        return {name: one[0] + random.normal(0.0, 2e-4, one.shape) for name, one in terms.items()}

    assert motion_said(stand) == ([], [])
