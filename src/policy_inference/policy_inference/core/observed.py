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
from policy_inference.core.healthy import OUTSIDE_SHARE, healthy_input
from policy_inference.interfaces import Tensor

_REPORTS = 125
"""So many reports are looked at, the latest ones."""
_OUTSIDE = round(OUTSIDE_SHARE * _REPORTS)
"""So many of them must be outside, however few there are yet."""


class Observed:
    """Counts for each term how often a report found it outside of `nominal.observation`.

    The newest observation of a report is looked at, and nothing is recorded in a tick.
    """

    def __init__(self, contract: JointContract, inputs: Mapping[str, Tensor]) -> None:
        """Look at those of the model's inputs whose healthy range the bundle knows."""
        self._watched = [(array.reshape(-1), healthy) for name, array in inputs.items()
                         if name in contract.observations
                         and (healthy := healthy_input(contract, name)) is not None]
        self.restart()

    def restart(self) -> None:
        """Forget what was counted; for each activation and each RUN."""
        self._outside = deque[frozenset[str]](maxlen=_REPORTS)

    def look(self) -> None:
        """Judge the observation that is in the model's inputs now; call it in RUN only."""
        outside = set[str]()
        for values, healthy in self._watched:
            # Another thread may be writing: a mixture of two ticks is as good for this.
            outside.update(healthy.outside(values[None].astype(np.float64)))
        self._outside.append(frozenset(outside))

    @property
    def problems(self) -> list[str]:
        """What is wrong, a sentence for each term."""
        reports = tuple(self._outside)
        counts = Counter(term for outside in reports for term in outside)
        return [f"observation term {term} is outside what the policy was trained on in {count} of "
                f"{len(reports)} reports: normalisation, order or units"
                for term, count in sorted(counts.items()) if count >= _OUTSIDE]
