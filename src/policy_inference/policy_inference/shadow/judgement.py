# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the targets of a shadow are those that its evidence promises: figures, and their gates.

Distance alone separates nothing: rounding to 8 bits moves the targets of the walking policy by
0.018 steps, a scale that is wrong by 10 % by 0.011. What separates them is what a distance may be
(`expectation`), and its kind: rounding is noise, a wrong scale is a function of what was observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policy_core.bundle.schema import entry
from policy_core.interfaces import F64
from policy_inference.shadow.expectation import ExpectedDistance

_EQUAL_RMS, _EQUAL_MAX = 1e-4, 1e-3
"""In rad, rad/s, N·m: distance of the same weights on two machines, 20 times what was measured."""
_MOVES = 10.0
"""Gain and correlation say something of a joint whose target moves so many expected distances."""
_LEAST_MOVE = 1e-3
"""And at least so much, rad (rad/s, N·m), root mean square."""
_TICKS_PER_VALUE = 4
_MOST_VALUES = 1000
"""Of an observation, for the figures of what is systematic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLimits:
    """Limits of the gates; null: that figure is not judged."""

    max_rms_ratio: float | None = entry(
        "root mean square of the distance of a joint's targets, in multiples of what the evidence "
        "of the bundle expects",
        default=1.5,
        exclusiveMinimum=0,
    )
    max_distance_ratio: float | None = entry(
        "largest distance of a joint's targets, in multiples of the largest in the evidence",
        default=10.0,
        exclusiveMinimum=0,
    )
    max_gain_error: float | None = entry(
        "|slope - 1| of the candidate's target of a joint over that of the version in use",
        default=0.03,
        exclusiveMinimum=0,
    )
    min_correlation: float | None = entry(
        "correlation of both targets of a joint", default=0.995, minimum=-1, maximum=1
    )
    max_systematic_share: float | None = entry(
        "share of the distance of a rounded model that is a linear function of the observation",
        default=0.4,
        minimum=0,
        maximum=1,
    )
    max_rms_steps: float | None = entry(
        "root mean square of the distance of a joint, in multiples of the active policy's largest "
        "healthy step; to be stated where the evidence says nothing, of other weights",
        default=None,
        exclusiveMinimum=0,
    )
    max_distance: float | None = entry(
        "largest distance of a target from the active policy's, rad (rad/s, N·m); to be stated as "
        "`max_rms_steps`",
        default=None,
        exclusiveMinimum=0,
    )
    max_beyond_limits_share: float = entry(
        "share of the ticks with a target beyond a joint limit", default=0.0, minimum=0, maximum=1
    )
    max_failed_share: float = entry(
        "share of the ticks in which its runtime failed or its output was not finite",
        default=0.0,
        minimum=0,
        maximum=1,
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A figure against its limit.

    Attributes:
        figure: Its name.
        value: Of the worst joint.
        limit: What it must not pass; None where it is only shown.
        at_least: Whether the limit is the smallest good value.
        joint: The worst; empty where it is of no joint.
    """

    figure: str
    value: float
    limit: float | None
    at_least: bool
    joint: str

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """Return e.g. ``gain_error: 0.1, at most 0.03 (FL_knee)``."""
        bound = "least" if self.at_least else "most"
        where = f" ({self.joint})" if self.joint else ""
        return f"{self.figure}: {self.value:.4g}, at {bound} {self.limit:g}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """A row of the table: figure, its limit, and how it comes from what was measured.

    `measure` returns the values by joint, or one of all; None where the report lacks it. `applies`
    says for which evidence: equal weights, rounded ones, unknown ones.
    """

    figure: str
    limit: str
    measure: Callable[[ShadowFigures, ExpectedDistance | None], F64 | None]
    applies: frozenset[str]
    at_least: bool = False


_ALWAYS = frozenset({"equal", "rounded", "unknown"})
_KNOWN, _INEXACT = frozenset({"equal", "rounded"}), frozenset({"rounded", "unknown"})


def _rms_ratio(found: ShadowFigures, expected: ExpectedDistance | None) -> F64 | None:
    if found.rms is None or expected is None:
        return None
    return found.rms / (_by_joint(found.joints, expected.rms) + _EQUAL_RMS)


def _distance_ratio(found: ShadowFigures, expected: ExpectedDistance | None) -> F64 | None:
    if expected is None:
        return None
    return found.max / (_by_joint(found.joints, expected.max) + _EQUAL_MAX)


def _of_moving(
    values: F64 | None, found: ShadowFigures, expected: ExpectedDistance | None
) -> F64 | None:
    """Return values of the joints that move enough, NaN for the others; None where all rest."""
    if values is None or found.moves is None:
        return None
    rms = {} if expected is None else expected.rms
    least = np.maximum(_MOVES * _by_joint(found.joints, rms), _LEAST_MOVE)
    moving = np.where(found.moves >= least, values, np.nan)
    return None if np.isnan(moving).all() else moving


def _gain_error(found: ShadowFigures, expected: ExpectedDistance | None) -> F64 | None:
    return _of_moving(None if found.gain is None else np.abs(found.gain - 1.0), found, expected)


def _systematic(found: ShadowFigures, expected: ExpectedDistance | None) -> F64 | None:
    """Return the mean of all joints that move: one of a few says little."""
    moving = _of_moving(found.systematic, found, expected)
    return None if moving is None else np.array([np.nanmean(moving)])


GATES: tuple[_Gate, ...] = (
    _Gate(figure="rms_ratio", limit="max_rms_ratio", measure=_rms_ratio, applies=_KNOWN),
    _Gate(
        figure="distance_ratio",
        limit="max_distance_ratio",
        measure=_distance_ratio,
        applies=_KNOWN,
    ),
    _Gate(figure="gain_error", limit="max_gain_error", measure=_gain_error, applies=_INEXACT),
    _Gate(
        figure="correlation",
        limit="min_correlation",
        measure=lambda found, expected: _of_moving(found.correlation, found, expected),
        applies=_INEXACT,
        at_least=True,
    ),
    _Gate(
        figure="systematic_share",
        limit="max_systematic_share",
        measure=_systematic,
        applies=frozenset({"rounded"}),
    ),
    _Gate(
        figure="rms_steps",
        limit="max_rms_steps",
        measure=lambda found, _: found.rms_steps,
        applies=_ALWAYS,
    ),
    _Gate(
        figure="max_distance",
        limit="max_distance",
        measure=lambda found, _: found.max,
        applies=_ALWAYS,
    ),
    _Gate(
        figure="beyond_limits_share",
        limit="max_beyond_limits_share",
        measure=lambda found, _: np.array([found.beyond_limits_share]),
        applies=_ALWAYS,
    ),
    _Gate(
        figure="failed_share",
        limit="max_failed_share",
        measure=lambda found, _: np.array([found.failed_share]),
        applies=_ALWAYS,
    ),
)
"""All gates of a shadow's targets. A contract that differs is a gate before these."""


def judge_shadow(
    found: ShadowFigures, expected: ExpectedDistance | None, limits: ShadowLimits
) -> tuple[list[Judged], list[str]]:
    """Hold figures against the limits.

    Args:
        found: What was measured, of at least one joint and tick.
        expected: What the evidence expects; None where it says nothing.
        limits: Of the gates.

    Returns:
        The figures of all gates, and in words what is lacking to judge.
    """
    judged, lacking = list[Judged](), list[str]()
    basis = "unknown" if expected is None else "equal" if expected.is_equal else "rounded"
    for gate in GATES:
        if basis not in gate.applies:
            continue
        limit: float | None = getattr(limits, gate.limit)
        values = gate.measure(found, expected)
        if values is None:
            if limit is not None:
                lacking.append(f"{gate.figure}: not in the report, or the robot did not move")
            continue
        worst = int(np.nanargmin(values) if gate.at_least else np.nanargmax(values))
        judged.append(
            Judged(
                figure=gate.figure,
                value=float(values[worst]),
                limit=limit,
                at_least=gate.at_least,
                joint=found.joints[worst] if len(values) == len(found.joints) > 1 else "",
            )
        )
    if basis == "unknown" and limits.max_distance is None and limits.max_rms_steps is None:
        lacking.append(
            "the candidate has other weights, and no report says how far its targets may be from "
            "those in use: state max_rms_steps and max_distance"
        )
    return judged, lacking


def _by_joint(joints: Sequence[str], values: Mapping[str, float]) -> F64:
    return np.array([values.get(joint, 0.0) for joint in joints])


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
