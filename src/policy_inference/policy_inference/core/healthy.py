# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's input holds value by value, and within what it is as in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_inference.bundle.contract import JointContract, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.core.scaling import Index, layout
from policy_inference.interfaces import F32, F64

OUTSIDE_SHARE = 0.2
"""Of the looks at an input; a term that is outside more often is not as in training."""
_MARGIN = 0.5
"""Of the healthy range, on both sides: pushes and slopes leave it by less."""
_LARGEST_DEVIATIONS = 8.0
"""Of what is normalised, where nothing but mean and standard deviation is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Healthy:
    """The values of a model input in training, arrays [size] in its order.

    Attributes:
        terms: Name of the term of each value.
        low: Lowest value, with a margin.
        high: Highest value, with a margin.
        std: Standard deviation.
        scale: Of the term, for each value.
        subtracted: What the term takes off a value before it is scaled.
        blocks: Places of the values of one term of all joints, in the contract's order of joints.
    """

    terms: npt.NDArray[np.str_]
    low: F64
    high: F64
    std: F64
    scale: F64
    subtracted: F64
    blocks: tuple[Index, ...] = ()

    def outside(self, values: F64 | F32) -> list[str]:
        """Return the terms that are often outside, of some looks at the input [looks, size]."""
        beyond = (values < self.low) | (values > self.high)
        names = dict.fromkeys(self.terms.tolist())
        return [name for name in names
                if beyond[:, self.terms == name].any(axis=1).mean() >= OUTSIDE_SHARE]


def healthy_input(contract: JointContract, name: str) -> Healthy | None:
    """Return what `nominal.observation` says of a model input; None where it says nothing."""
    statistics = contract.nominal.observation.get(name) if contract.nominal else None
    if statistics is None:
        return None
    observation = contract.observations[name]
    ages, columns = layout(observation, contract)
    frame = [_frame_values(number, term, contract) for number, term in
             enumerate(observation.terms)]
    terms, scale, subtracted, blocks = (np.concatenate(part)[columns]
                                        for part in zip(*frame, strict=True))
    low, high = np.array(statistics.min), np.array(statistics.max)
    margin = _MARGIN * (high - low) + 1e-3
    of_frame = blocks + ages * len(frame)
    return Healthy(
        terms=terms, low=low - margin, high=high + margin, std=np.array(statistics.std),
        scale=scale, subtracted=subtracted * scale, blocks=tuple(
            np.flatnonzero((of_frame == block) & (blocks >= 0))
            for block in sorted(set(of_frame[blocks >= 0].tolist()))))


def normalised_input(size: int) -> Healthy:
    """Return what is known of an input of which only mean and standard deviation are known."""
    ones = np.ones(size)
    return Healthy(terms=np.array([f"value {place}" for place in range(size)]), std=ones,
                   low=-_LARGEST_DEVIATIONS * ones, high=_LARGEST_DEVIATIONS * ones,
                   scale=ones, subtracted=np.zeros(size))


def _frame_values(
    number: int, term: Term, contract: JointContract
) -> tuple[npt.NDArray[np.str_], F64, F64, Index]:
    """Return name, scale, subtrahend and number, -1 if not of all joints, of a term's values."""
    spec = TERMS[term.term]
    names, joints = list(term_names(term, spec, contract)), contract.joints
    default = np.zeros(len(names))
    if spec.minus_default:
        of_all = per_joint(joints.default_position, joints.names)
        default = of_all[[joints.names.index(name) for name in names]]
    is_whole = spec.size == "joints" and names == list(joints.names)
    return (np.array([term.term] * len(names)), per_joint(term.scale, names), default,
            np.full(len(names), number if is_whole else -1))
