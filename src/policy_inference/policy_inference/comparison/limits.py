# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Limits for a compared artifact: those in its bundle, otherwise the defaults for its precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import radians
from typing import TypeVar

from policy_core.bundle.body import AnyContract, ClosedLoopLimits, ComparisonLimits
from policy_core.bundle.contract import JointContract
from policy_core.errors import BundleError, Problem

_INT8 = ComparisonLimits(rmse=0.1, cosine_min=0.9)
# Measured with a 45-512-256-128-12 walking policy; float32 differs only by the order of summation.
DEFAULTS = {
    "fp32": ComparisonLimits(mae=1e-5),
    "fp16": ComparisonLimits(mae=1e-3),
    "int8": _INT8,
    "w8a8": _INT8,
    "w16a16i_dfp": ComparisonLimits(mae=1e-3),
    "w8a16": _INT8,
    "w4a16": _INT8,
}
_LIKE_FLOATS = ("fp32", "fp16", "bf16", "w16a16i_dfp", "int16")
CLOSED_LOOP = ClosedLoopLimits(
    velocity_error=0.03,
    max_tilt_rad=radians(10.0),
    torque_limit_share=0.02,
    standing_action_change=0.06,
)
T = TypeVar("T", ComparisonLimits, ClosedLoopLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure and its limit; true if the figure is within the limit.

    Attributes:
        what: Name of the figure, with unit.
        value: Measured value; NaN is never within a limit.
        limit: Limit on the value.
        at_least: True if the limit is a minimum rather than a maximum.
        where: Location of the worst value.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False
    where: str = ""

    def __bool__(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """Return text such as ``RMSE: expected at most 0.1, found 0.3 (golden rows: row 7)``."""
        return f"{self.what}: expected {self.bound}, found {self.value:.3g} ({self.where})"

    @property
    def bound(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:.3g}"


def judged_by_walking(precision: str) -> bool:
    """Return True if figures on rows are not decisive, as for precisions of at most 8 bits.

    Also True for every precision that is not known to be as fine as floats.
    """
    return precision.casefold() not in _LIKE_FLOATS


def open_loop_limits(
    contract: AnyContract,
    backend: str,
    precision: str,
    defaults: Mapping[str, ComparisonLimits] = DEFAULTS,
) -> ComparisonLimits:
    """Return the limits on outputs: the bundle's, otherwise the defaults for the precision.

    Args:
        contract: The contract; it may state limits.
        backend: The artifact's back end.
        precision: The artifact's precision.
        defaults: Limits by precision.
    """
    stated = contract.limits.get(backend, ComparisonLimits())
    limits = _merged(defaults.get(precision, ComparisonLimits()), stated)
    if limits == ComparisonLimits(closed_loop=limits.closed_loop):
        raise BundleError(
            Problem(
                file=contract.name,
                key=f"limits.{backend}",
                found="none",
                expected=f"limits for the precision {precision}",
                remedy=f"only {', '.join(defaults)} have default limits",
            )
        )
    return limits


def state_limits(contract: JointContract, backend: str, precision: str) -> ComparisonLimits:
    """Return the limits on the outputs other than the action, which are recurrent states.

    These are the limits for the precision, since a bundle's limits concern the action; for an
    unknown precision, the bundle's limits apply.
    """
    return DEFAULTS.get(precision) or open_loop_limits(contract, backend, precision)


def closed_loop_limits(contract: JointContract, backend: str) -> ClosedLoopLimits:
    """Return the limits on walking: the bundle's, otherwise the defaults."""
    stated = contract.limits.get(backend, ComparisonLimits()).closed_loop
    return CLOSED_LOOP if stated is None else _merged(CLOSED_LOOP, stated)


def _merged(default: T, stated: T) -> T:
    return dataclasses.replace(
        default,
        **{
            field.name: value
            for field in dataclasses.fields(stated)
            if (value := getattr(stated, field.name)) is not None
        },
    )
