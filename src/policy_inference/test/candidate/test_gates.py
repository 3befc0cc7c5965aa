# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a shadow are those of its compared ticks, and gates tell rounding from faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policy_core.interfaces import F64
from policy_inference.candidate.expectation import ExpectedDistance
from policy_inference.candidate.gates import ShadowLimits
from policy_inference.candidate.shadow_figures import (
    ShadowFigures,
    judge_shadow,
    systematic_share,
)
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.divergence import Divergence

JOINTS = ("hip", "knee")


def compared_answer(difference: tuple[float, float], **more: Any) -> ShadowAnswer:
    active = np.array([0.5, -0.5])
    found = ShadowAnswer(
        0, ShadowOutcome.COMPARED, target=active + difference, active_target=active
    )
    return found._replace(**more)


def test_distances_are_measured_per_joint_and_in_steps() -> None:
    divergence = Divergence(JOINTS, np.array([0.5, 0.25]))
    for difference in ((0.3, 0.0), (-0.4, 0.0), (0.0, 0.1)):
        divergence.add(compared_answer(difference))
    np.testing.assert_allclose(divergence.mean, [0.7 / 3, 0.1 / 3])
    np.testing.assert_allclose(divergence.rms, [0.5 / np.sqrt(3), 0.1 / np.sqrt(3)])
    np.testing.assert_allclose(divergence.max, [0.4, 0.1])
    steps = divergence.in_steps(divergence.max)
    assert steps is not None
    np.testing.assert_allclose(steps, [0.8, 0.4])


def test_only_compared_ticks_count_for_distances_and_only_runs_for_durations() -> None:
    divergence = Divergence(JOINTS, None)
    divergence.add(
        compared_answer((0.2, 0.2), duration_ns=1_000_000, rules=("effort",), beyond_limits=True)
    )
    for outcome in ShadowOutcome:
        if outcome is not ShadowOutcome.COMPARED:
            divergence.add(ShadowAnswer(1, outcome, duration_ns=3_000_000, rules=("x",)))
    assert divergence.counts == dict.fromkeys(ShadowOutcome, 1)
    assert divergence.compared == 1
    np.testing.assert_allclose(divergence.mean, [0.2, 0.2])
    assert divergence.in_steps(divergence.mean) is None
    assert divergence.rules == {"effort": 1, "x": 4}
    assert divergence.beyond_limits_share == 1.0
    assert divergence.duration_mean_s == pytest.approx(7e-3 / 3)
    assert divergence.duration_max_s == pytest.approx(3e-3)


TICKS, JOINTS = 3000, ("hip", "knee")
EQUAL = ExpectedDistance()
RANDOM = np.random.default_rng(3)
OBSERVED = RANDOM.normal(size=(TICKS, 6))
ACTIVE = 0.2 * OBSERVED @ RANDOM.normal(size=(6, 2))
ROUNDING = 0.01 * RANDOM.normal(size=ACTIVE.shape)


def expected_rounding(rms: float) -> ExpectedDistance:
    return ExpectedDistance(rms=dict.fromkeys(JOINTS, rms), max=dict.fromkeys(JOINTS, 3.0 * rms))


def divergence_of(shadow: F64) -> Divergence:
    found = Divergence(JOINTS, None)
    for tick, (theirs, ours) in enumerate(zip(shadow, ACTIVE, strict=True)):
        found.add(ShadowAnswer(tick, ShadowOutcome.COMPARED, target=theirs, active_target=ours))
    return found


def gates_broken_by(shadow: F64, expected: ExpectedDistance | None) -> set[str]:
    found = divergence_of(shadow)
    figures = ShadowFigures(
        joints=JOINTS,
        max=found.max,
        rms=found.rms,
        moves=found.moves,
        gain=found.gain,
        correlation=found.correlation,
        systematic=systematic_share(shadow - ACTIVE, OBSERVED),
    )
    judged, lacking = judge_shadow(figures, expected, ShadowLimits())
    assert bool(lacking) is (expected is None)
    return {one.figure for one in judged if not one.holds}


def test_rounding_of_the_size_that_its_evidence_has_passes() -> None:
    assert gates_broken_by(ACTIVE + ROUNDING, expected_rounding(0.01)) == set()


def test_larger_rounding_than_its_evidence_has_does_not() -> None:
    assert gates_broken_by(ACTIVE + 2.0 * ROUNDING, expected_rounding(0.01)) == {"rms_ratio"}


def test_same_weights_must_give_the_same_targets() -> None:
    assert gates_broken_by(ACTIVE + 1e-7, EQUAL) == set()
    assert gates_broken_by(ACTIVE * 1.001, EQUAL) == {"rms_ratio"}


def test_wrong_scale_of_the_size_of_rounding_is_found_by_its_kind() -> None:
    """The distance itself is smaller than the evidence allows."""
    change = 0.1 * OBSERVED[:, :1] @ np.array([[0.1, -0.1]])
    assert divergence_of(ACTIVE + change).rms.max() < 0.012
    assert gates_broken_by(ACTIVE + change, expected_rounding(0.01)) >= {"systematic_share"}


def test_halved_targets_break_gain_whatever_the_evidence_allows() -> None:
    assert gates_broken_by(0.5 * ACTIVE, expected_rounding(0.02)) >= {"gain_error"}
    assert "gain_error" in gates_broken_by(0.5 * ACTIVE, None)


def test_targets_one_tick_late_break_correlation() -> None:
    assert "correlation" in gates_broken_by(np.roll(ACTIVE, 1, axis=0), expected_rounding(0.02))


def test_gain_is_the_slope_and_correlation_that_of_the_targets() -> None:
    found = divergence_of(np.stack([0.5 * ACTIVE[:, 0] + 1.0, -ACTIVE[:, 1]], axis=1))
    np.testing.assert_allclose(found.gain, [0.5, -1.0], atol=1e-9)
    np.testing.assert_allclose(found.correlation, [1.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(found.moves, ACTIVE.std(axis=0), rtol=1e-9)


def test_gain_of_a_target_that_rests_is_unknown() -> None:
    found = Divergence(JOINTS, None)
    for _ in range(9):
        answer = ShadowAnswer(
            1,
            ShadowOutcome.COMPARED,
            target=np.array([0.3, -0.6]),
            active_target=np.array([0.3, -0.7]),
        )
        found.add(answer)
    assert np.isnan(found.gain).all()
    assert np.isnan(found.correlation).all()
    assert not found.moves.any()


def test_share_that_is_systematic_needs_ticks() -> None:
    assert systematic_share(ROUNDING[:20], OBSERVED[:20]) is None
    share = systematic_share(ROUNDING, OBSERVED)
    assert share is not None
    assert (share < 0.05).all()
    share = systematic_share(OBSERVED[:, :2], OBSERVED)
    assert share is not None
    np.testing.assert_allclose(share, 1.0)
