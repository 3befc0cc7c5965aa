# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of trials: intervals, tests and sample sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, comb, sqrt
from statistics import NormalDist

import numpy as np

from policy_core.interfaces import F64

CONFIDENCE, POWER = 0.95, 0.8
"""Confidence of every interval; power for sample sizes."""
_RESAMPLES, _SEED = 1000, 0
_CHUNK = 1_000_000
"""Random numbers drawn at a time, which bounds the memory for any number of trials."""


def highest_shown(trials: int) -> float:
    """Return the largest success rate that this many trials can demonstrate, if all succeed."""
    return wilson(trials, trials)[0]


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's confidence interval of a success rate, within 0 to 1.

    Source: Wilson 1927. Without trials, the interval is 0 to 1.
    """
    if trials == 0:
        return 0.0, 1.0
    z, rate = _z(confidence), successes / trials
    scale = 1.0 + z**2 / trials
    centre = (rate + z**2 / (2.0 * trials)) / scale
    half = z / scale * sqrt(rate * (1.0 - rate) / trials + z**2 / (4.0 * trials**2))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == trials else min(1.0, centre + half)


def mcnemar(better: int, worse: int) -> float:
    """Return the exact two-sided p-value of discordant pairs.

    Args:
        better: Pairs in which only the first policy succeeded.
        worse: Pairs in which only the second policy succeeded.

    Source: McNemar 1947, with the binomial distribution.
    """
    pairs, fewer = better + worse, min(better, worse)
    return min(1.0, 2 * sum(comb(pairs, k) for k in range(fewer + 1)) / (1 << pairs))


def bootstrap_mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of values and its interval, computed from percentiles of bootstrap means.

    The same values always give the same interval; NaN without values.
    """
    given: F64 = np.asarray(values, dtype=np.float64)
    count = len(given)
    if count == 0:
        return np.nan, np.nan, np.nan
    random, means = np.random.default_rng(_SEED), list[F64]()
    at_a_time = max(1, _CHUNK // count)
    for first in range(0, _RESAMPLES, at_a_time):
        draws = min(at_a_time, _RESAMPLES - first)
        means.append(given[random.integers(0, count, (draws, count))].mean(axis=1))
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), [tail, 100.0 - tail])
    return float(given.mean()), float(low), float(high)


def pairs_needed(better: int, worse: int, pairs: int) -> int | None:
    """Return the number of pairs that would confirm a difference as large as the observed one.

    The significance level is 5 %, the power `POWER`. None if no pair differed.

    Source: Connor 1987, sample size of McNemar's test.
    """
    if pairs == 0 or better == worse:
        return None
    discordant, difference = (better + worse) / pairs, (better - worse) / pairs
    spread = sqrt(max(0.0, discordant - difference**2))
    z = _z(CONFIDENCE) * sqrt(discordant) + NormalDist().inv_cdf(POWER) * spread
    return ceil((z / difference) ** 2)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)
