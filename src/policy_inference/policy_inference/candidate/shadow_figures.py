# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of a candidate in the shadow, and held against its gates.

Distance alone separates nothing: rounding to 8 bits moves the targets of the walking policy by
0.018 steps, a scale that is wrong by 10 % by 0.011. What separates them is what a distance may be
(`expectation`), and its kind: rounding is noise, a wrong scale is a function of what was observed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policy_core.interfaces import F64
from policy_inference.candidate.expectation import ExpectedDistance
from policy_inference.candidate.gates import EQUAL, ROUNDED, UNKNOWN, GateResult, ShadowLimits

_EQUAL_RMS, _EQUAL_MAX = 1e-4, 1e-3
"""In rad, rad/s, N·m: distance of the same weights on two machines, 20 times what was measured."""
_MOVES = 10.0
"""Gain and correlation say something of a joint whose target moves so many expected distances."""
_LEAST_MOVE = 1e-3
"""And at least so much, rad (rad/s, N·m), root mean square."""
_TICKS_PER_VALUE = 4
_MOST_VALUES = 1000
"""Of an observation, for the figures of what is systematic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowFigures:
    """What was measured of a shadow; arrays are by joint. None: a report does not have it.

    Attributes:
        joints: As the robot calls them.
        max: Largest distance of the targets, rad (rad/s, N·m).
        rms: Root mean square of it.
        rms_steps: The same in healthy steps.
        moves: Root mean square of the active target about its mean, rad (rad/s, N·m).
        gain, correlation: As `Divergence`; NaN where a target does not move.
        systematic: As `systematic_share`; NaN where there is no distance.
        beyond_limits_share, failed_share: Of ticks, 0 to 1.
    """

    joints: Sequence[str]
    max: F64
    rms: F64 | None = None
    rms_steps: F64 | None = None
    moves: F64 | None = None
    gain: F64 | None = None
    correlation: F64 | None = None
    systematic: F64 | None = None
    beyond_limits_share: float = 0.0
    failed_share: float = 0.0

    def by_gate(self, expected: ExpectedDistance | None) -> Mapping[str, F64 | float | None]:
        """Return the figure of each gate, by joint or of all; None where it is not known.

        Args:
            expected: What the evidence expects; None where it says nothing.
        """
        rms, largest = (
            np.array([of.get(joint, 0.0) for joint in self.joints])
            for of in (({}, {}) if expected is None else (expected.rms, expected.max))
        )
        least = np.maximum(_MOVES * rms, _LEAST_MOVE)

        def moving(values: F64 | None) -> F64 | None:
            """Leave out joints that do not move enough."""
            if values is None or self.moves is None:
                return None
            found = np.where(self.moves >= least, values, np.nan)
            return None if np.isnan(found).all() else found

        systematic = moving(self.systematic)
        return {
            "rms_ratio": None if self.rms is None else self.rms / (rms + _EQUAL_RMS),
            "distance_ratio": self.max / (largest + _EQUAL_MAX),
            "gain_error": moving(None if self.gain is None else np.abs(self.gain - 1.0)),
            "correlation": moving(self.correlation),
            # The mean of all joints that move: one of a few says little.
            "systematic_share": None if systematic is None else float(np.nanmean(systematic)),
            "rms_steps": self.rms_steps,
            "distance": self.max,
            "beyond_limits_share": self.beyond_limits_share,
            "failed_share": self.failed_share,
        }


def judge_shadow(
    found: ShadowFigures, expected: ExpectedDistance | None, limits: ShadowLimits
) -> tuple[list[GateResult], list[str]]:
    """Hold figures against the limits.

    Args:
        found: What was measured, of at least one joint and tick.
        expected: What the evidence expects; None where it says nothing.
        limits: Of the gates.

    Returns:
        The figures of all gates that apply, and in words what is lacking to judge.
    """
    judged, lacking = list[GateResult](), list[str]()
    evidence = UNKNOWN if expected is None else EQUAL if expected.is_equal else ROUNDED
    measured = found.by_gate(expected)
    for gate in dataclasses.fields(ShadowLimits):
        bound, _, figure = gate.name.partition("_")
        limit, values = getattr(limits, gate.name), measured[figure]
        if evidence not in gate.metadata["of"]:
            continue
        if values is None:
            if limit is not None:
                lacking.append(f"{figure}: not in the report, or the robot did not move")
            continue
        each, at_least = np.atleast_1d(values), bound == "min"
        worst = int(np.nanargmin(each) if at_least else np.nanargmax(each))
        joint = found.joints[worst] if len(each) == len(found.joints) > 1 else ""
        judged.append(
            GateResult(
                figure=figure,
                value=float(each[worst]),
                limit=limit,
                detail=joint,
                at_least=at_least,
            )
        )
    if evidence == UNKNOWN and limits.max_distance is None and limits.max_rms_steps is None:
        lacking.append(
            "the candidate has other weights, and no report says how far its targets may be from "
            "those in use: state max_rms_steps and max_distance"
        )
    return judged, lacking


def systematic_share(distance: F64, observation: F64) -> F64 | None:
    """Return the share of each joint's distance that is a linear function of the observation.

    Rounding leaves little of it, since it depends on each value's last digits; a wrong scale, other
    weights or a late observation leave most of it.

    Args:
        distance: Of the targets, with its sign [ticks, joints].
        observation: What the active policy saw [ticks, values].

    Returns:
        Adjusted coefficient of determination [joints], at least 0; NaN where the distance is
        constant. None if there are too few ticks for so many values.
    """
    ticks, values = observation.shape
    if values > _MOST_VALUES or ticks < _TICKS_PER_VALUE * values:
        return None
    x = observation - observation.mean(axis=0)
    x = x / np.maximum(x.std(axis=0), 1e-9)
    d = distance - distance.mean(axis=0)
    products = x.T @ d
    slopes = np.linalg.pinv(x.T @ x, rcond=1e-9, hermitian=True) @ products
    whole = (d * d).sum(axis=0)
    share = np.divide(
        (slopes * products).sum(axis=0), whole, out=np.full_like(whole, np.nan), where=whole > 0.0
    )
    adjusted = 1.0 - (1.0 - share) * (ticks - 1) / (ticks - values - 1)
    return np.asarray(np.maximum(adjusted, 0.0))
