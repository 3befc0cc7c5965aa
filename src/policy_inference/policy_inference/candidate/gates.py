# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a candidate in the shadow is judged by: figures and their limits, in one table.

A candidate that does not command is judged by a report about its answers: `ShadowLimits`. Each
field is a row: what the figure is, its default limit, and which candidates it applies to. The same
fields are what the stage of a release states. `shadow_figures` measures the figures. The gates of a
version on trial are in `policy_store.trial_file`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.schema import entry

EQUAL, ROUNDED, UNKNOWN = "equal", "rounded", "unknown"
"""What the evidence knows about the weights of a shadow, beside those of the active policy."""


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
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.figure} {self.value:.3g}, limit {self.limit:g}{detail}"


def _shadow_gate(
    about: str, limit: float | None, of: Collection[str] = (EQUAL, ROUNDED, UNKNOWN), **schema: Any
) -> Any:
    """Declare a gate of a shadow; `of` is the evidence it is for, `schema` as for `entry`."""
    declared = entry(about, default=limit, **schema)
    metadata = {**declared.metadata, "of": of}
    return dataclasses.field(default=declared.default, metadata=metadata)


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
