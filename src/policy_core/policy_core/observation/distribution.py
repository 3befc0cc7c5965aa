# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check whether a model input is distributed as in training; if it is not, suggest a cause."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.bundle.contract import JointContract, Term
from policy_core.bundle.terms import TERMS, term_names
from policy_core.interfaces import F32, F64, Index, Tensor
from policy_core.observation.rows import layout

OUTSIDE_SHARE = 0.2
"""Share of out-of-range samples at which a term counts as not matching training."""
MARGIN = 0.5
"""Margin per side, as a share of the healthy range; pushes and slopes exceed the range by less."""
_LARGEST_DEVIATIONS = 8.0
"""Limit on normalized values when only the mean and standard deviation are known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputStatistics:
    """Training statistics of a model input, as arrays [size] in the input's order.

    Attributes:
        terms: Name of the term that each value belongs to.
        low: Lowest healthy value, minus a margin.
        high: Highest healthy value, plus a margin.
        std: Standard deviation.
        scale: Scale that the term applies.
        subtracted: Offset that the term subtracts, in scaled units.
        blocks: Index groups, each with one term's values for all joints, in the contract's joint
            order.
    """

    terms: npt.NDArray[np.str_]
    low: F64
    high: F64
    std: F64
    scale: F64
    subtracted: F64
    blocks: tuple[Index, ...] = ()

    def outside(self, values: F64 | F32) -> list[str]:
        """Return the names of the terms that are often out of range in samples [samples, size]."""
        beyond = (values < self.low) | (values > self.high)
        names = dict.fromkeys(self.terms.tolist())
        return [
            name
            for name in names
            if beyond[:, self.terms == name].any(axis=1).mean() >= OUTSIDE_SHARE
        ]


def input_statistics(contract: JointContract, name: str) -> InputStatistics | None:
    """Return a model input's statistics from `nominal.observation`; None if there are none."""
    statistics = contract.nominal.observation.get(name) if contract.nominal else None
    if statistics is None:
        return None
    observation = contract.observations[name]
    ages, columns = layout(observation, contract)
    frame = [_frame_values(number, term, contract) for number, term in enumerate(observation.terms)]
    terms, scale, subtracted, blocks = (
        np.concatenate(part)[columns] for part in zip(*frame, strict=True)
    )
    low, high = np.array(statistics.min), np.array(statistics.max)
    margin = MARGIN * (high - low) + 1e-3
    of_frame = blocks + ages * len(frame)
    return InputStatistics(
        terms=terms,
        low=low - margin,
        high=high + margin,
        std=np.array(statistics.std),
        scale=scale,
        subtracted=subtracted * scale,
        blocks=tuple(
            np.flatnonzero((of_frame == block) & (blocks >= 0))
            for block in sorted(set(of_frame[blocks >= 0].tolist()))
        ),
    )


def normalised_input(size: int) -> InputStatistics:
    """Return statistics for a normalized input with only a known mean and standard deviation."""
    ones = np.ones(size)
    return InputStatistics(
        terms=np.array([f"value {place}" for place in range(size)]),
        std=ones,
        low=-_LARGEST_DEVIATIONS * ones,
        high=_LARGEST_DEVIATIONS * ones,
        scale=ones,
        subtracted=np.zeros(size),
    )


def _frame_values(
    number: int, term: Term, contract: JointContract
) -> tuple[npt.NDArray[np.str_], F64, F64, Index]:
    """Return the term name, scale, offset and block number of each value in a term.

    The block number is the term's number if the term has all joints in contract order, otherwise
    -1.
    """
    spec = TERMS[term.term]
    names, joints = list(term_names(term, contract)), contract.joints
    default = np.zeros(len(names))
    if spec.minus_default:
        default = joints.default_position[[joints.names.index(name) for name in names]]
    is_whole = spec.size == "joints" and names == list(joints.names)
    return (
        np.array([term.term] * len(names)),
        term.scale,
        default,
        np.full(len(names), number if is_whole else -1),
    )


_FACTOR = 3.0
"""Maximum median ratio between a corrected input's standard deviations and those in training: when
a robot stands still, nearly every explanation fits, so the input must also vary as in training.
"""
_TERMS = 4
"""Maximum number of terms whose values a message lists."""


class DistributionCheck:
    """Compares samples of a model input with training, and explains a mismatch."""

    def __init__(self, healthy: InputStatistics, statistics: tuple[F64, F64] | None) -> None:
        """Store the statistics.

        Args:
            healthy: Statistics of the model input in training.
            statistics: Mean and divisor [size] that normalize the input; None for no normalization.
        """
        self._healthy, self._normalises = healthy, statistics is not None
        self._mean, self._divisor = statistics or (np.zeros(1), np.ones(1))

    def describe(self, given: F64) -> str:
        """Describe the mismatch and a likely cause; return "" if there is no mismatch.

        Args:
            given: Samples of the input [samples, size] before normalization, with scales applied.
        """
        inputs = self._normalised(given)
        outside = self._healthy.outside(inputs)
        if not outside:
            return ""
        shown = "; ".join(self._numbers(term, inputs) for term in outside[:_TERMS])
        more = f"; and {len(outside) - _TERMS} more" if len(outside) > _TERMS else ""
        explanation = self._explanation(given)
        return (
            f"{shown}{more}; looks like {explanation}"
            if explanation
            else f"{shown}{more}; check units, order and normalization"
        )

    def not_normalised(self, inputs: F64) -> F64:
        """Return samples of the model input as they were before normalization [samples, size]."""
        return inputs * self._divisor + self._mean

    def _normalised(self, given: F64) -> F64:
        return (given - self._mean) / self._divisor

    def _numbers(self, term: str, inputs: F64) -> str:
        """Describe the value of a term that is farthest out of range, and its healthy range."""
        places = np.flatnonzero(self._healthy.terms == term)
        low, high = self._healthy.low[places], self._healthy.high[places]
        means = inputs[:, places].mean(axis=0)
        beyond = np.maximum(low - inputs[:, places], inputs[:, places] - high) / (high - low)
        worst = int(beyond.max(axis=0).argmax())
        found = inputs[:, places[worst]]
        return (
            f"{term} {found.min():.3g} to {found.max():.3g} (mean {means[worst]:.3g}), "
            f"expected {low[worst]:.3g} to {high[worst]:.3g}"
        )

    def _explanation(self, given: F64) -> str:
        """Return the best explanation whose correction restores the input; "" if none does."""
        fitting = [
            (self._distance(inputs), text)
            for text, inputs in self._explanations(given)
            if not self._healthy.outside(inputs)
        ]
        distance, text = min(fitting, default=(math.inf, ""))
        return text if distance < math.log(_FACTOR) else ""

    def _distance(self, inputs: F64) -> float:
        """Return the median of |log(std / std in training)| over all values."""
        known = self._healthy.std > 0
        ratio = inputs[:, known].std(axis=0) / self._healthy.std[known]
        return float(np.median(np.abs(np.log(np.maximum(ratio, 1e-9))))) if known.any() else 0.0

    def _explanations(self, given: F64) -> Iterator[tuple[str, F64]]:
        """Yield a description of each possible mistake, and the model input with it corrected."""
        healthy = self._healthy
        if self._normalises:
            yield "observations that were normalized twice", given
            yield (
                "observations that were not normalized",
                self._normalised(self._normalised(given)),
            )
        if (healthy.scale != 1.0).any():
            yield (
                "unscaled SI values (the terms' scales were not applied)",
                self._normalised(given * healthy.scale),
            )
            yield (
                "values scaled twice",
                self._normalised(given / healthy.scale),
            )
        if healthy.subtracted.any():
            yield (
                "joint positions without the default position subtracted",
                self._normalised(given - healthy.subtracted),
            )
        if healthy.blocks:
            joints = healthy.blocks[0].size
            for groups in (n for n in range(2, joints // 2 + 1) if joints % n == 0):
                order = np.arange(joints).reshape(groups, -1).T.reshape(-1)
                ordered = given.copy()
                for block in healthy.blocks:
                    ordered[:, block[order]] = given[:, block]
                yield "joints in the wrong order", self._normalised(ordered)


def watched_inputs(
    contract: JointContract, inputs: Mapping[str, Tensor]
) -> list[tuple[Tensor, InputStatistics]]:
    """Return a joint policy's inputs that have statistics in the bundle, with the statistics."""
    return [
        (array, healthy)
        for name, array in inputs.items()
        if name in contract.observations
        and (healthy := input_statistics(contract, name)) is not None
    ]


_REPORTS = 125
"""Number of recent reports that are kept."""
_OUTSIDE = round(OUTSIDE_SHARE * _REPORTS)
"""Number of out-of-range reports at which a term counts as a problem, however few reports there
are.
"""


class DistributionWatch:
    """Counts the reports in which a term was outside its training range.

    Each report samples the newest observation; ticks do no extra work.
    """

    def __init__(self, watched: Iterable[tuple[Tensor, InputStatistics]]) -> None:
        """Watch these model inputs, each with its statistics in training."""
        self._watched = [(array.reshape(-1), healthy) for array, healthy in watched]
        self.restart()

    def restart(self) -> None:
        """Reset the counts; called on each activation and at the start of each RUN."""
        self._outside = deque[frozenset[str]](maxlen=_REPORTS)

    def look(self) -> None:
        """Check the current observation in the model's inputs; call only in RUN."""
        outside = set[str]()
        for values, healthy in self._watched:
            # Another thread may be writing; a mixture of two ticks is good enough here.
            outside.update(healthy.outside(values[None].astype(np.float64)))
        self._outside.append(frozenset(outside))

    @property
    def outside(self) -> dict[str, int]:
        """Number of out-of-range reports, by term, for each term that is often out of range."""
        counts = Counter(term for outside in tuple(self._outside) for term in outside)
        return {term: count for term, count in sorted(counts.items()) if count >= _OUTSIDE}

    @property
    def problems(self) -> list[str]:
        """Description of each term that is often out of range."""
        return [
            f"observation term {term} is outside its training range in {count} of "
            f"{len(self._outside)} reports: check normalization, order and units"
            for term, count in self.outside.items()
        ]
