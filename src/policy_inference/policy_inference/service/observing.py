# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sample a client's observations, and report deviations from training."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F32, F64
from policy_core.observation.distribution import (
    DistributionCheck,
    input_statistics,
    normalised_input,
)
from policy_core.observation.rows import Scaler
from policy_inference.service.protocol import ObservationScaling

_LOOKS, _EVERY_NS = 64, 31_250_000
"""Number of samples per judgment, and minimum time between two samples: 2 s or more in total."""
_NOT_BEFORE_JUDGED = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """The part of an observation that forms one model input.

    Attributes:
        values: Position in the observation.
        check: Checks the values.
        scaler: The terms' scaling, for values in SI units; None if unknown.
    """

    values: slice
    check: DistributionCheck
    scaler: Scaler | None = None

    def describe(self, looks: F64, scaling: ObservationScaling) -> str:
        """Describe the deviation of observation samples [samples, obs_dim] in words."""
        given = looks[:, self.values]
        if scaling is ObservationScaling.NORMALISED:
            given = self.check.not_normalised(given)
        elif scaling is ObservationScaling.PHYSICAL and self.scaler is not None:
            given = given.copy()
            self.scaler.apply(given)
        return self.check.describe(given)


def make_watched(bundle: JointBundle, scalers: Mapping[str, Scaler]) -> list[Watched]:
    """Return the bundle's inputs that can be judged: those with nominal statistics.

    Args:
        bundle: The served bundle.
        scalers: The terms' scaling for each model input.
    """
    contract, start, found = bundle.contract, 0, list[Watched]()
    for name in contract.observations:
        healthy = input_statistics(contract, name)
        size = math.prod(contract.model.inputs[name].shape)
        if healthy is not None:
            found.append(
                Watched(
                    values=slice(start, start + size),
                    scaler=scalers[name],
                    check=DistributionCheck(healthy, bundle.statistics.get(name)),
                )
            )
        start += size
    return found


def watched_with(statistics: tuple[F64, F64]) -> list[Watched]:
    """Return a model file's input, to be judged by a known mean and divisor [size]."""
    mean, _ = statistics
    return [
        Watched(
            values=slice(mean.size),
            check=DistributionCheck(normalised_input(mean.size), statistics),
        )
    ]


class ObservationWatch:
    """Takes a sample from one client every 31 ms, and judges every 64 samples.

    Attributes:
        due_ns: Time of the next sample.
    """

    def __init__(self, watched: Sequence[Watched], scaling: ObservationScaling) -> None:
        """Start with no samples.

        Args:
            watched: Parts of the observation; several clients may share them.
            scaling: Scaling that the client applies to the values.
        """
        self._watched, self._scaling = watched, scaling
        self.due_ns, self._count, self._odd = 0, 0, False
        self._looks: F64 | None = None

    def look(self, observation: F32, rows: int, now_ns: int) -> bool:
        """Sample an observation that is due; takes microseconds.

        Args:
            observation: Observations for the client's robots [most, obs_dim].
            rows: Number of robots, whose observations come first and are finite; each call samples
                the next robot in turn.
            now_ns: Steady clock, ns.

        Returns:
            True if there are enough samples; the next ones are taken after `judge`.
        """
        if self._looks is None:  # a client without requests needs no memory
            self._looks = np.empty((_LOOKS, observation.shape[1]))
        self._looks[self._count] = observation[self._count % rows]
        self._count += 1
        is_full = self._count == _LOOKS
        self.due_ns = _NOT_BEFORE_JUDGED if is_full else now_ns + _EVERY_NS
        return is_full

    def judge(self) -> str | None:
        """Judge the samples and drop them; if they deviate, this takes up to a millisecond.

        Returns:
            A message when a deviation begins, "" when it ends, otherwise None.
        """
        assert self._looks is not None  # there are enough
        self.due_ns = self._count = 0
        found = [part.describe(self._looks, self._scaling) for part in self._watched]
        text = "; ".join(filter(None, found))
        was_odd, self._odd = self._odd, bool(text)
        return text if was_odd != self._odd else None
