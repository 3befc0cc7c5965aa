# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Gates for a shadow candidate: figures and their limits, in one table.

A candidate that is not in command is judged by comparing a report on its outputs with
`ShadowLimits`. Each field is one row: the figure, the default limit, and the candidates to which
the gate applies. A release stage has the same fields. The gates for a version on trial are in
`policy_store.trial_file`.

Distance alone does not distinguish good from bad: rounding to 8 bits moves the walking policy's
targets by 0.018 steps, and a scale that is off by 10 % moves them by 0.011. The expected distance
(`expectation`) and the kind of distance do distinguish them: rounding is noise, whereas a wrong
scale is a function of the observation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_core.bundle.schema import entry
from policy_core.interfaces import F64
from policy_inference.candidate.expectation import ExpectedDistance

EQUAL, ROUNDED, UNKNOWN = "equal", "rounded", "unknown"
"""Known relation between a shadow's weights and the active policy's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A figure and its limit.

    Attributes:
        figure: Name of the figure, which ends with the unit.
        value: Measured value; for per-joint figures, the worst joint's value.
        limit: Limit on the value; None if the figure is only displayed.
        detail: Further information, e.g. the worst joint; may be empty.
        at_least: True if the limit is a minimum rather than a maximum.
    """

    figure: str
    value: float
    limit: float | None
    detail: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """True if the value is within its limit; False for NaN."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.figure} {self.value:.3g}, limit {self.limit:g}{detail}"


def _shadow_gate(
    about: str,
    limit: float | None,
    of: Collection[str] = (EQUAL, ROUNDED, UNKNOWN),
    *,
    optional: bool = False,
    **schema: Any,
) -> Any:
    """Declare a gate.

    Args:
        about: Description of the figure.
        limit: Default limit.
        of: Relations between the weights for which the gate applies.
        optional: True if some policies do not have the figure.
        schema: See `entry`.
    """
    declared = entry(about, default=limit, **schema)
    metadata = {**declared.metadata, "of": of, "optional": optional}
    return dataclasses.field(default=declared.default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLimits:
    """Limits for the gates; null disables a gate."""

    max_rms_ratio: float | None = _shadow_gate(
        "root mean square distance between the two policies' targets for a joint, in multiples of "
        "the value expected from the bundle's evidence",
        1.5,
        (EQUAL, ROUNDED),
        exclusiveMinimum=0,
    )
    max_distance_ratio: float | None = _shadow_gate(
        "largest distance between the two policies' targets for a joint, in multiples of the "
        "largest in the evidence",
        10.0,
        (EQUAL, ROUNDED),
        exclusiveMinimum=0,
    )
    max_gain_error: float | None = _shadow_gate(
        "|slope - 1|, per joint, of the candidate's target as a linear function of the target of "
        "the version in use",
        0.03,
        (ROUNDED, UNKNOWN),
        exclusiveMinimum=0,
    )
    min_correlation: float | None = _shadow_gate(
        "correlation, per joint, between the candidate's target and that of the version in use",
        0.995,
        (ROUNDED, UNKNOWN),
        minimum=-1,
        maximum=1,
    )
    max_systematic_share: float | None = _shadow_gate(
        "share of a compiled model's distance that is a linear function of the observation",
        0.4,
        (ROUNDED,),
        minimum=0,
        maximum=1,
    )
    max_torque_error: float | None = _shadow_gate(
        "root mean square difference between the torques that the two policies' gains demand for "
        "the same target of a joint, as a share of the active policy's",
        0.03,
        optional=True,
        exclusiveMinimum=0,
    )
    max_rms_steps: float | None = _shadow_gate(
        "root mean square distance for a joint, in multiples of the active policy's largest "
        "healthy step; set it if the weights differ, since there is then no evidence",
        None,
        exclusiveMinimum=0,
    )
    max_distance: float | None = _shadow_gate(
        "largest distance of a target from the active policy's, rad (rad/s, N·m); set it in the "
        "same cases as `max_rms_steps`",
        None,
        exclusiveMinimum=0,
    )
    max_beyond_limits_share: float = _shadow_gate(
        "share of ticks with a target beyond a joint limit that the active one does not exceed",
        0.0,
        minimum=0,
        maximum=1,
    )
    max_failed_share: float = _shadow_gate(
        "share of ticks in which the candidate's runtime failed or its output was not finite",
        0.0,
        minimum=0,
        maximum=1,
    )


_EQUAL_RMS, _EQUAL_MAX = 1e-4, 1e-3
"""Maximum distance at equal weights on two machines: 20 times the measured one; rad, rad/s, N·m."""
_MOVES = 10.0
"""Minimum motion for a meaningful gain and correlation, in multiples of the expected distance."""
_LEAST_MOVE = 1e-3
"""Lower bound on the minimum motion, root mean square, rad (rad/s, N·m)."""
_TICKS_PER_VALUE = 4
_MOST_VALUES = 1000
"""Maximum number of observation values used for the systematic figures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowFigures:
    """Measured figures for a shadow, None if missing from the report; arrays are per joint.

    Attributes:
        joints: The robot's joint names.
        max: Largest distance between the two policies' targets, rad (rad/s, N·m).
        rms: Root mean square of this distance.
        rms_steps: Root mean square of this distance, in multiples of the healthy step.
        moves: Root mean square deviation of the active target from its mean, rad (rad/s, N·m).
        gain, correlation: See `Divergence`; NaN if the active target does not move.
        systematic: See `systematic_share`; NaN if there is no distance.
        torque_error: See `Divergence`; NaN if unknown.
        beyond_limits_share, failed_share: Shares of ticks, from 0 to 1.
    """

    joints: Sequence[str]
    max: F64
    rms: F64 | None = None
    rms_steps: F64 | None = None
    moves: F64 | None = None
    gain: F64 | None = None
    correlation: F64 | None = None
    systematic: F64 | None = None
    torque_error: F64 | None = None
    beyond_limits_share: float = 0.0
    failed_share: float = 0.0

    def by_gate(self, expected: ExpectedDistance | None) -> Mapping[str, F64 | float | None]:
        """Return the value that each gate checks, per joint or overall; None if unknown.

        Args:
            expected: Expected distance; None if there is no evidence.
        """
        rms, largest = (
            np.array([of.get(joint, 0.0) for joint in self.joints])
            for of in (({}, {}) if expected is None else (expected.rms, expected.max))
        )
        least = np.maximum(_MOVES * rms, _LEAST_MOVE)

        def moving(values: F64 | None) -> F64 | None:
            if values is None or self.moves is None:
                return None
            return _known(np.where(self.moves >= least, values, np.nan))

        systematic = moving(self.systematic)
        return {
            "rms_ratio": None if self.rms is None else self.rms / (rms + _EQUAL_RMS),
            "distance_ratio": self.max / (largest + _EQUAL_MAX),
            "gain_error": moving(None if self.gain is None else np.abs(self.gain - 1.0)),
            "correlation": moving(self.correlation),
            # The mean of all moving joints, since a single joint's share means little.
            "systematic_share": None if systematic is None else float(np.nanmean(systematic)),
            "torque_error": _known(self.torque_error),
            "rms_steps": self.rms_steps,
            "distance": self.max,
            "beyond_limits_share": self.beyond_limits_share,
            "failed_share": self.failed_share,
        }


def _known(values: F64 | None) -> F64 | None:
    return None if values is None or np.isnan(values).all() else values


def judge_shadow(
    found: ShadowFigures, expected: ExpectedDistance | None, limits: ShadowLimits
) -> tuple[list[GateResult], list[str]]:
    """Compare a shadow's figures with the limits of the gates.

    Args:
        found: Measured figures, for at least one joint and tick.
        expected: Expected distance; None if there is no evidence.
        limits: The gates' limits.

    Returns:
        The results for all applicable gates, and texts that name the data missing for a verdict.
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
            if limit is not None and not gate.metadata["optional"]:
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
            "the candidate has different weights, and no report states how far its targets may be "
            "from those in use: set max_rms_steps and max_distance"
        )
    return judged, lacking


def systematic_share(distance: F64, observation: F64) -> F64 | None:
    """Return each joint's share of the distance that is a linear function of the observation.

    The share is small for rounding, which depends on the last digits of each value, and large for a
    wrong scale, different weights or a late observation.

    Args:
        distance: Signed distance between the targets [ticks, joints].
        observation: The active policy's observation [ticks, values].

    Returns:
        Adjusted coefficient of determination [joints], at least 0; NaN for a constant distance.
            None if there are too few ticks for this many values.
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
