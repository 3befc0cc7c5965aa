# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Watches whether the model is shown what it was shown in training.

An observation that is far outside, again and again, is what a wrong normalisation, order or unit
looks like from within; the robot shows it as oscillation.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.interfaces import Tensor

_MARGIN = 0.5
"""Of the healthy range, on both sides: pushes and slopes leave it by less."""
_REPORTS, _OUTSIDE = 125, 25
"""So many reports are looked at, the latest ones, and so many of them must be outside."""


class Observed:
    """Counts for each term how often a report found it outside of `nominal.observation`.

    The newest observation of a report is looked at, and nothing is recorded in a tick.
    """

    def __init__(self, contract: JointContract, inputs: Mapping[str, Tensor]) -> None:
        """Look at those of the model's inputs whose healthy range the bundle knows."""
        healthy = contract.nominal.observation if contract.nominal else {}
        self._watched = []
        for name, statistics in healthy.items():
            low, high = np.array(statistics.min), np.array(statistics.max)
            margin = _MARGIN * (high - low) + 1e-3
            terms = np.array(_terms(contract, name))
            self._watched.append((inputs[name].reshape(-1), low - margin, high + margin, terms))
        self.restart()

    def restart(self) -> None:
        """Forget what was counted; for each activation and each RUN."""
        self._outside = deque[frozenset[str]](maxlen=_REPORTS)

    def look(self) -> None:
        """Judge the observation that is in the model's inputs now; call it in RUN only."""
        outside = set[str]()
        for values, low, high, terms in self._watched:
            # Another thread may be writing: a mixture of two ticks is as good for this.
            outside.update(terms[(values < low) | (values > high)].tolist())
        self._outside.append(frozenset(outside))

    @property
    def problems(self) -> list[str]:
        """What is wrong, a sentence for each term."""
        reports = tuple(self._outside)
        counts = Counter(term for outside in reports for term in outside)
        return [f"observation term {term} is outside what the policy was trained on in {count} of "
                f"{len(reports)} reports: normalisation, order or units"
                for term, count in sorted(counts.items()) if count >= _OUTSIDE]


def _terms(contract: JointContract, name: str) -> list[str]:
    """Return for each value of a model input the name of its term."""
    observation = contract.observations[name]
    frames, parts = observation.history.length, list[list[str]]()
    for term in observation.terms:
        names = [term.term] * len(term_names(term, TERMS[term.term], contract))
        alone = observation.history.layout == "per_term"
        parts.append(names * (term.history_length or frames) if alone else names)
    vector = [name for part in parts for name in part]
    return vector if observation.history.layout == "per_term" else vector * frames
