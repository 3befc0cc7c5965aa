# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a compared artifact must hold: its bundle's limits, else those of its precision."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

from model_tools.errors import ToolError
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.expected import ClosedLoopLimits, Limits

_INT8 = Limits(rmse=0.1, cosine_min=0.9)
# Measured with a 45-512-256-128-12 walking policy; float32 differs by the order of summation only.
DEFAULTS = {
    "fp32": Limits(mae=1e-5), "fp16": Limits(mae=1e-3), "int8": _INT8, "w8a8": _INT8,
    "w16a16i_dfp": Limits(mae=1e-3), "w8a16": _INT8, "w4a16": _INT8,
}  # fmt: skip
CLOSED_LOOP = ClosedLoopLimits(velocity_error=0.03, max_tilt_rad=radians(10.0),
                               torque_limit_share=0.02, standing_action_change=0.06)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure against its limit; its truth value says whether it holds.

    Attributes:
        what: Name of the figure, with unit.
        value: What was found; NaN never holds.
        limit: What it must not pass.
        at_least: Whether the limit is the smallest allowed value instead of the largest.
        where: Where the worst was found.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False
    where: str = ""

    def __bool__(self) -> bool:
        """Return whether the limit holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def open_loop_limits(contract: JointContract, backend: str) -> Limits:
    """Return the limits on outputs that the bundle states for an artifact, else the default ones.

    Raises:
        ToolError: It states none, and nothing is known of the artifact's precision.
    """
    stated = contract.limits.get(backend)
    if stated is not None and any(
        bound is not None
        for bound in (stated.mae, stated.rmse, stated.max_abs, stated.cosine_min)
    ):
        return stated
    precision = contract.model.artifacts[backend].precision
    if precision not in DEFAULTS:
        raise ToolError(f"{contract.name}: expected limits.{backend} for the precision "
                        f"{precision}, found none; only {', '.join(DEFAULTS)} have limits of "
                        "their own")
    return DEFAULTS[precision]


def closed_loop_limits(contract: JointContract, backend: str) -> ClosedLoopLimits:
    """Return the limits on walking that the bundle states for an artifact, else the default."""
    stated = contract.limits.get(backend)
    return CLOSED_LOOP if stated is None or stated.closed_loop is None else stated.closed_loop
