# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values with 95 % intervals, from resampled blocks of one second of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from policy_core.interfaces import F64, Index

FEWEST_BLOCKS, BLOCK_S, SEED = 5, 1.0, 0
_RESAMPLES = 200
_TAIL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def estimate_from(value: float, resampled: F64, step: float = 0.0) -> Estimate:
    """Return a value with the interval of resampled values, widened by `step` on both sides."""
    low, high = np.percentile(resampled, _TAIL)
    return Estimate(
        value=float(value), low=float(min(low, value) - step), high=float(max(high, value) + step)
    )


def block_count(time_s: F64) -> int:
    """Return the number of blocks for samples at these times."""
    return max(FEWEST_BLOCKS, int((time_s[-1] - time_s[0]) / BLOCK_S))


def resampled(statistic: Callable[[Index], F64], blocks: Sequence[Index]) -> list[Estimate]:
    """Return each value of a statistic with its interval, from resampled blocks.

    Args:
        statistic: Returns values [values] from rows.
        blocks: Rows of each block.
    """
    random = np.random.default_rng(SEED)
    draws = random.integers(0, len(blocks), (_RESAMPLES, len(blocks)))
    values = statistic(np.concatenate(blocks))
    found = np.stack([statistic(np.concatenate([blocks[i] for i in draw])) for draw in draws])
    return [estimate_from(value, found[:, i]) for i, value in enumerate(values)]
