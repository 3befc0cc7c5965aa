# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a shadow candidate: figures and their limits, in one table.

A candidate that does not command is judged by a report about its outputs: `ShadowLimits`. Each
field is a row: the figure, its default limit, and the candidates that it applies to. The stage of a
release has the same fields. `shadow_figures` measures the figures. The gates of a version on trial
are in `policy_store.trial_file`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.schema import entry

EQUAL, ROUNDED, UNKNOWN = "equal", "rounded", "unknown"
"""Known relation of a shadow's weights to the active policy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A figure and its limit.

    Attributes:
        figure: Its name; ends with the unit.
        value: Value of the worst joint, if measured by joint.
        limit: Limit of the value; None if the figure is only shown.
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
        """True if the value is within its limit; NaN is not."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.figure} {self.value:.3g}, limit {self.limit:g}{detail}"


def _shadow_gate(
    about: str, limit: float | None, of: Collection[str] = (EQUAL, ROUNDED, UNKNOWN), **schema: Any
) -> Any:
    """Declare a gate of a shadow; `of` are the relations it is for, `schema` as for `entry`."""
    declared = entry(about, default=limit, **schema)
    metadata = {**declared.metadata, "of": of}
    return dataclasses.field(default=declared.default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLimits:
    """Limits of the gates; null disables a gate."""

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
