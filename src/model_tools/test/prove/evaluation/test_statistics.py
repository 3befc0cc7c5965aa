# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests have the values of the literature."""

from __future__ import annotations

import numpy as np
import pytest

from model_tools.prove.evaluation.statistics import (
    bootstrap_mean,
    mcnemar,
    pairs_needed,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (20, 20, 0.839, 1.0),
        (73, 73, 0.950, 1.0),
        (200, 200, 0.981, 1.0),
        (0, 20, 0.0, 0.161),
        (50, 100, 0.404, 0.596),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval_has_known_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(6, 0, 0.03125), (0, 5, 0.0625), (3, 3, 1.0), (0, 0, 1.0)]
)
def test_mcnemars_exact_test_has_known_values(better: int, worse: int, p: float) -> None:
    assert mcnemar(better, worse) == pytest.approx(p)


def test_bootstrapped_interval_is_that_of_a_mean_and_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, 400).tolist()
    mean, low, high = bootstrap_mean(values)
    assert bootstrap_mean(values) == (mean, low, high)
    assert (low, high) == pytest.approx((mean - 1.96 / 20, mean + 1.96 / 20), abs=0.015)
    assert np.isnan(bootstrap_mean([])).all()
    assert bootstrap_mean([2.0]) == (2.0, 2.0, 2.0)


def test_the_needed_pairs_show_the_difference_with_the_stated_power() -> None:
    count = pairs_needed(30, 10, 400)
    assert count is not None
    draws = np.random.default_rng(2).multinomial(count, [0.075, 0.025, 0.9], 1000)
    shown = np.mean([mcnemar(int(better), int(worse)) < 0.05 for better, worse, _ in draws])
    assert 0.7 < shown < 0.9
    assert pairs_needed(5, 5, 100) is None
    assert pairs_needed(0, 0, 0) is None
