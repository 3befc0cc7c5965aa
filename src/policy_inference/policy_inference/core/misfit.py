# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a client's observations are those of training, and what they look like if not."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from policy_inference.core.healthy import Healthy
from policy_inference.interfaces import F64

_FACTOR = 3.0
"""Of the standard deviations in training, in the median: a robot that stands still fits nearly
every explanation, so one that is put right must move about as much as in training."""
_TERMS = 4
"""So many terms are shown with their numbers."""


class Misfit:
    """Judges some observations of one model input, as they were before normalisation."""

    def __init__(self, healthy: Healthy, statistics: tuple[F64, F64] | None) -> None:
        """Compare with the healthy input.

        Args:
            healthy: What the model's input is in training.
            statistics: Mean and divisor [size] that make the model's input; None: nothing does.
        """
        self._healthy, self._normalises = healthy, statistics is not None
        self._mean, self._divisor = statistics or (np.zeros(1), np.ones(1))

    def describe(self, given: F64) -> str:
        """Return in words what does not fit; empty where all does.

        Args:
            given: Looks at the observation [looks, size] before normalisation, scales applied.
        """
        inputs = self._normalised(given)
        outside = self._healthy.outside(inputs)
        if not outside:
            return ""
        shown = "; ".join(self._numbers(term, inputs) for term in outside[:_TERMS])
        more = f"; and {len(outside) - _TERMS} more" if len(outside) > _TERMS else ""
        explanation = self._explanation(given)
        return (f"{shown}{more}; looks like {explanation}" if explanation else
                f"{shown}{more}; look for other units, another order, another normalisation")

    def not_normalised(self, inputs: F64) -> F64:
        """Return what normalisation makes these model inputs [looks, size] of."""
        return inputs * self._divisor + self._mean

    def _normalised(self, given: F64) -> F64:
        return (given - self._mean) / self._divisor

    def _numbers(self, term: str, inputs: F64) -> str:
        """Return the value of a term that is farthest outside, beside its healthy range."""
        places = np.flatnonzero(self._healthy.terms == term)
        low, high = self._healthy.low[places], self._healthy.high[places]
        means = inputs[:, places].mean(axis=0)
        beyond = (np.maximum(low - inputs[:, places], inputs[:, places] - high) / (high - low))
        worst = int(beyond.max(axis=0).argmax())
        found = inputs[:, places[worst]]
        return (f"{term} {found.min():.3g} to {found.max():.3g} (mean {means[worst]:.3g}), "
                f"expected {low[worst]:.3g} to {high[worst]:.3g}")

    def _explanation(self, given: F64) -> str:
        """Return what puts the input right, the closest of what does; empty where nothing does."""
        fitting = [(self._distance(inputs), text) for text, inputs in self._explanations(given)
                   if not self._healthy.outside(inputs)]
        distance, text = min(fitting, default=(math.inf, ""))
        return text if distance < math.log(_FACTOR) else ""

    def _distance(self, inputs: F64) -> float:
        """Return how much more or less the values move than in training, in the median."""
        known = self._healthy.std > 0
        ratio = inputs[:, known].std(axis=0) / self._healthy.std[known]
        return float(np.median(np.abs(np.log(np.maximum(ratio, 1e-9))))) if known.any() else 0.0

    def _explanations(self, given: F64) -> Iterator[tuple[str, F64]]:
        """Yield what may have been done wrong, and the model's input if it is put right."""
        healthy = self._healthy
        if self._normalises:
            yield "observations that are normalised already, and so twice", given
            yield ("observations that are not normalised",
                   self._normalised(self._normalised(given)))
        if (healthy.scale != 1.0).any():
            yield ("values in SI units, without the scales of the terms",
                   self._normalised(given * healthy.scale))
            yield ("values to which the scales of the terms are applied twice",
                   self._normalised(given / healthy.scale))
        if healthy.subtracted.any():
            yield ("joint positions from which the default position is not subtracted",
                   self._normalised(given - healthy.subtracted))
        if healthy.blocks:
            joints = healthy.blocks[0].size
            for groups in (n for n in range(2, joints // 2 + 1) if joints % n == 0):
                order = np.arange(joints).reshape(groups, -1).T.reshape(-1)
                ordered = given.copy()
                for block in healthy.blocks:
                    ordered[:, block[order]] = given[:, block]
                yield "joints in another order", self._normalised(ordered)
