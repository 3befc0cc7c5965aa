# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a candidate: figures and their limits, in one table of two parts.

A candidate on trial commands the robot and is judged in each tick: `TrialGates`. One in the shadow
does not, and is judged by a report about its answers: `ShadowLimits`. Each field is a row: what the
figure is, its default limit, and which candidates it applies to. The same fields are what a
`trial.yaml` and the stage of a release state. `judge` and `shadow_figures` measure the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.bundle import HostedContract
from policy_core.bundle.schema import entry
from policy_core.guard.limits import StricterLimits

EQUAL, ROUNDED, UNKNOWN = "equal", "rounded", "unknown"
"""What the evidence knows about the weights of a shadow, beside those of the active policy."""
_TILT = "with safety.max_tilt_rad"
_VELOCITIES = "that measures joint velocities, of kind joint"
_POSITIONS = "that commands positions"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A figure against its limit.

    Attributes:
        figure: Its name; the end says the unit.
        value: Of the worst joint, where it is measured by joint.
        limit: What it must not pass; None where it is only shown.
        detail: More about it, e.g. the worst joint; may be empty.
        at_least: Whether the limit is the smallest good value, not the largest.
    """

    figure: str
    value: float
    limit: float | None
    detail: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is within its limit; what is no number any more is not."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """Return e.g. ``tilt_rad 0.61, limit 0.5``."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.figure} {self.value:.3g}, limit {self.limit:g}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGate:
    """A figure of the running robot that ends the trial when it is above its limit."""

    limit: float = entry("largest value that is still good", minimum=0)
    after_s: float = entry(
        "the gate is judged once the trial has so much RUN time, s", default=5.0, minimum=0
    )


def _trial_gate(
    about: str, limit: float, *, after_s: float, needs: str = "", clock: bool = False
) -> Any:
    """Declare a gate of a trial.

    Args:
        about: What the figure is.
        limit: By default, like `after_s`.
        after_s: As `TrialGate`.
        needs: What a policy needs so that it can be judged.
        clock: Whether it measures the machine, and so nothing under simulated time.
    """
    declared = entry(about, default=TrialGate(limit=limit, after_s=after_s))
    return _with(declared, needs=needs, clock=clock)


def _shadow_gate(
    about: str, limit: float | None, of: Collection[str] = (EQUAL, ROUNDED, UNKNOWN), **schema: Any
) -> Any:
    """Declare a gate of a shadow; `of` is the evidence it is for, `schema` as for `entry`."""
    return _with(entry(about, default=limit, **schema), of=of)


def _with(declared: Any, **columns: object) -> Any:
    return dataclasses.field(default=declared.default, metadata={**declared.metadata, **columns})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGates:
    """Gates by figure; null: that figure is not judged."""

    falls: TrialGate | None = _trial_gate(
        "faults of the rule `attitude` while the policy ran", 0.0, after_s=0.0, needs=_TILT
    )
    latched_faults: TrialGate | None = _trial_gate(
        "latched faults of any rule while the policy ran, less those of a pressed e-stop",
        0.0,
        after_s=0.0,
    )
    hold_share: TrialGate | None = _trial_gate(
        "share of the ticks of RUN that were HOLD, over the whole trial", 0.05, after_s=10.0
    )
    tilt_rad: TrialGate | None = _trial_gate(
        "largest angle between the body's up and the world's", 0.5, after_s=0.0, needs=_TILT
    )
    tracking_error_rad: TrialGate | None = _trial_gate(
        "distance between commanded and measured position of the worst joint, root mean square "
        "over about 5 s",
        0.45,
        after_s=5.0,
        needs=_POSITIONS,
    )
    torque_share: TrialGate | None = _trial_gate(
        "torque that the command asks of the drive, as share of the effort limit, of the worst "
        "joint, root mean square over about 5 s",
        0.6,
        after_s=5.0,
        needs=_VELOCITIES,
    )
    latency_share: TrialGate | None = _trial_gate(
        "99th percentile of the duration of ticks, as share of the period",
        0.9,
        after_s=10.0,
        clock=True,
    )
    missed_ticks_share: TrialGate | None = _trial_gate(
        "share of the ticks of RUN that were missed, over the whole trial",
        0.02,
        after_s=10.0,
        clock=True,
    )
    temperature_c: TrialGate | None = _trial_gate(
        "highest temperature that machine, device or drives report", 90.0, after_s=0.0
    )

    def judged(self, *, simulated_time: bool = False) -> dict[str, TrialGate]:
        """Return the gates that are judged, by their figure.

        Args:
            simulated_time: Whether ticks go by simulated time: durations and missed ticks are then
                those of the simulation's machine, and are not judged.
        """
        return {
            field.name: gate
            for field in dataclasses.fields(self)
            if (gate := getattr(self, field.name)) is not None
            and not (simulated_time and field.metadata["clock"])
        }


def not_applicable(contract: HostedContract, limits: StricterLimits) -> dict[str, str]:
    """Return the gates that cannot be judged on trial, each with what the policy would need.

    Args:
        contract: Of the policy.
        limits: Of the trial.
    """
    tilts = contract.safety.max_tilt_rad is not None or limits.max_tilt_rad is not None
    has = {
        "": True,
        _TILT: tilts,
        _VELOCITIES: contract.measures_velocities,
        _POSITIONS: "position" in contract.commands,
    }
    needs = {field.name: field.metadata["needs"] for field in dataclasses.fields(TrialGates)}
    return {name: what for name, what in needs.items() if not has[what]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLimits:
    """Limits of the gates; null: that figure is not judged."""

    max_rms_ratio: float | None = _shadow_gate(
        "root mean square of the distance of a joint's targets, in multiples of what the evidence "
        "of the bundle expects",
        1.5,
        (EQUAL, ROUNDED),
        exclusiveMinimum=0,
    )
    max_distance_ratio: float | None = _shadow_gate(
        "largest distance of a joint's targets, in multiples of the largest in the evidence",
        10.0,
        (EQUAL, ROUNDED),
        exclusiveMinimum=0,
    )
    max_gain_error: float | None = _shadow_gate(
        "|slope - 1| of the candidate's target of a joint over that of the version in use",
        0.03,
        (ROUNDED, UNKNOWN),
        exclusiveMinimum=0,
    )
    min_correlation: float | None = _shadow_gate(
        "correlation of both targets of a joint",
        0.995,
        (ROUNDED, UNKNOWN),
        minimum=-1,
        maximum=1,
    )
    max_systematic_share: float | None = _shadow_gate(
        "share of the distance of a rounded model that is a linear function of the observation",
        0.4,
        (ROUNDED,),
        minimum=0,
        maximum=1,
    )
    max_rms_steps: float | None = _shadow_gate(
        "root mean square of the distance of a joint, in multiples of the active policy's largest "
        "healthy step; to be stated where the evidence says nothing, of other weights",
        None,
        exclusiveMinimum=0,
    )
    max_distance: float | None = _shadow_gate(
        "largest distance of a target from the active policy's, rad (rad/s, N·m); to be stated as "
        "`max_rms_steps`",
        None,
        exclusiveMinimum=0,
    )
    max_beyond_limits_share: float = _shadow_gate(
        "share of the ticks with a target beyond a joint limit", 0.0, minimum=0, maximum=1
    )
    max_failed_share: float = _shadow_gate(
        "share of the ticks in which its runtime failed or its output was not finite",
        0.0,
        minimum=0,
        maximum=1,
    )
