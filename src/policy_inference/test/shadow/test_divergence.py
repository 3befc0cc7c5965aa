# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a shadow are those of its compared ticks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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


def test_before_the_first_tick_all_is_zero() -> None:
    divergence = Divergence(JOINTS, np.ones(2))

    np.testing.assert_array_equal(
        [divergence.mean, divergence.rms, divergence.max], np.zeros((3, 2))
    )
    assert divergence.beyond_limits_share == divergence.duration_mean_s == 0.0
