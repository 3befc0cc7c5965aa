# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The part of a contract that says what a policy is expected to do, measured or demanded."""

from dataclasses import dataclass

from policy_core.bundle.schema import PerJoint, entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Healthy values of a model input, one number per element."""

    mean: tuple[float, ...] = entry("mean")
    std: tuple[float, ...] = entry("standard deviation", minimum=0)
    min: tuple[float, ...] = entry("lowest value")
    max: tuple[float, ...] = entry("highest value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominal:
    """What a healthy rollout does; the guard expects no more than this times a margin."""

    source: str = entry("rollout that was measured")
    ticks: int = entry("number of policy ticks measured", minimum=1)
    target_step: PerJoint = entry(
        "largest change of the target in a tick, in its unit", exclusiveMinimum=0
    )
    effort_demand: PerJoint = entry(
        "largest torque that target and gains asked for, N·m", exclusiveMinimum=0
    )
    observation: dict[str, Statistics] = entry("statistics by model input", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopLimits:
    """What a compiled model must still do in closed loop."""

    velocity_error: float | None = entry(
        "largest extra error per axis, m/s, rad/s", default=None, minimum=0
    )
    max_tilt_rad: float | None = entry("largest tilt, rad", default=None, minimum=0)
    torque_limit_share: float | None = entry(
        "share of samples at the limit", default=None, minimum=0, maximum=1
    )
    standing_action_change: float | None = entry("mean change per tick", default=None, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLimits:
    """What comparing an artifact with the golden vectors must not exceed."""

    mae: float | None = entry("mean absolute error", default=None, exclusiveMinimum=0)
    rmse: float | None = entry("root mean square error", default=None, exclusiveMinimum=0)
    max_abs: float | None = entry("largest absolute error", default=None, exclusiveMinimum=0)
    cosine_min: float | None = entry(
        "smallest cosine of outputs", default=None, minimum=-1, maximum=1
    )
    closed_loop: ClosedLoopLimits | None = entry("limits in closed loop", default=None)
