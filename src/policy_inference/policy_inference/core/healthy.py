# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's input holds value by value, and within what it is as in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.interfaces import F64, Tensor

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
    blocks: tuple[npt.NDArray[np.intp], ...] = ()

    def outside(self, values: Tensor) -> list[str]:
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
    low, high = np.array(statistics.min), np.array(statistics.max)
    margin = _MARGIN * (high - low) + 1e-3
    terms, scale, subtracted, blocks = _values(contract, name)
    return Healthy(terms=terms, low=low - margin, high=high + margin, scale=scale,
                   std=np.array(statistics.std), subtracted=subtracted, blocks=blocks)


def normalised_input(size: int) -> Healthy:
    """Return what is known of an input of which only mean and standard deviation are known."""
    ones = np.ones(size)
    return Healthy(terms=np.array([f"value {place}" for place in range(size)]), std=ones,
                   low=-_LARGEST_DEVIATIONS * ones, high=_LARGEST_DEVIATIONS * ones,
                   scale=ones, subtracted=np.zeros(size))


def _values(
    contract: JointContract, name: str
) -> tuple[npt.NDArray[np.str_], F64, F64, tuple[npt.NDArray[np.intp], ...]]:
    """Return term, scale and subtrahend of each value, and the places of the joints' blocks."""
    observation = contract.observations[name]
    joints, history = contract.joints, observation.history
    alone = history.layout == "per_term"
    terms, columns, numbers = list[list[str]](), list[F64](), list[list[int]]()
    for number, term in enumerate(observation.terms):
        spec = TERMS[term.term]
        names = term_names(term, spec, contract)
        default = np.zeros(len(names))
        if spec.minus_default:
            all_joints = per_joint(joints.default_position, joints.names)
            default = all_joints[[joints.names.index(joint) for joint in names]]
        frames = term.history_length or history.length if alone else 1
        terms.append([term.term] * len(names) * frames)
        columns.append(np.tile([per_joint(term.scale, names), default], frames))
        whole = spec.size == "joints" and list(names) == list(joints.names)
        numbers.append([(number if whole else -1) for _ in range(len(names) * frames)])
    repeats = 1 if alone else history.length
    vector = [text for part in terms for text in part] * repeats
    of_term = np.array([number for part in numbers for number in part] * repeats)
    scale, default = np.tile(np.hstack(columns), repeats)
    places = [np.flatnonzero(of_term == number) for number in sorted(set(of_term[of_term >= 0]))]
    blocks = tuple(block for term_places in places
                   for block in term_places.reshape(-1, len(joints.names)))
    return np.array(vector), scale, default * scale, blocks
