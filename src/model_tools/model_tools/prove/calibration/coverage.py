# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What rows cover, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.interfaces import F64

PUSHED = 0.1
"""Share of a trained limit from which a command counts."""
MOST_COMMANDS = 100
_SHIFTED, _SMALLEST_STD = 3.0, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class HealthyValues:
    """What values of a term [size] were in the bundle's nominal run, as the model gets them."""

    lowest: F64
    highest: F64
    mean: F64
    std: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TermCoverage:
    """Values of a term as the model gets them, each array [size]; of a history, the last frame.

    Attributes:
        input, name, field: Model input, term, and the field of the robot's state.
        names: Of its values: joints, axes.
        lowest, highest, mean, std: Of all rows.
        histogram: [size, bins] numbers of rows, from `floor` to `ceiling`.
        healthy: The same of the bundle's nominal run; None where it has none.
    """

    input: str
    name: str
    field: str
    names: tuple[str, ...]
    lowest: F64
    highest: F64
    mean: F64
    std: F64
    floor: F64
    ceiling: F64
    histogram: npt.NDArray[np.int64]
    healthy: HealthyValues | None

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of the values that never change."""
        return tuple(
            name
            for name, low, high in zip(self.names, self.lowest, self.highest, strict=True)
            if low == high
        )

    @property
    def span(self) -> float | None:
        """Share that the range has of that in a healthy run, the median of those that vary."""
        if self.healthy is None:
            return None
        whole = self.healthy.highest - self.healthy.lowest
        parts = (self.highest - self.lowest)[whole > 0.0] / whole[whole > 0.0]
        return float(np.median(parts)) if len(parts) else None

    @property
    def shifted(self) -> dict[str, float]:
        """By how many deviations of a healthy run each mean is off, where these are many."""
        if self.healthy is None:
            return {}
        off = np.abs(self.mean - self.healthy.mean) / np.maximum(self.healthy.std, _SMALLEST_STD)
        return {
            name: float(value)
            for name, value in zip(self.names, off, strict=True)
            if value > _SHIFTED
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatedAgreement:
    """How well what is stated goes with what is seen, each array [names].

    Attributes:
        names: Of joints or axes.
        pairs: Number of rows that were compared with the one before.
        stated, seen: RMS of both, or deviations.
        correlation: From -1 to 1; NaN where one of both is always 0.
        ratio: Of stated to seen.
    """

    names: tuple[str, ...]
    pairs: int
    stated: F64
    seen: F64
    correlation: F64
    ratio: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowMotion:
    """What rows say of moving, against those of the tick before; None where they do not tell.

    Attributes:
        joints: Their velocities, rad/s, and the changes of their positions.
        body: Its angular velocity across gravity, rad/s, and the change of gravity in its frame.
        targets: Positions that joints were sent to, rad, and those that they have a tick or two
            later.
    """

    joints: StatedAgreement | None
    body: StatedAgreement | None
    targets: StatedAgreement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of the velocity command.

    Attributes:
        words, unit: `forward`, `m/s`.
        trained: How far the policy was trained to go, above 0.
        reached: How far the rows go, 0 where they never do.
        share: Of rows with a command of more than `PUSHED` of what was trained.
    """

    words: str
    unit: str
    trained: float
    reached: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCoverage:
    """What a collection covers. A share is of the rows, None where the rows do not tell.

    Attributes:
        rows, different: Numbers of rows.
        span_s: From the first to the last.
        still: Share in which no joint moves.
        turning_rad_s: RMS of the body's angular velocity while joints move; None if they never do.
        tilted: Share beyond the largest tilt of the contract.
        outside: Share with a joint well outside its limits.
        far: Share with a value far outside those of a healthy run.
        far_values: Share of each such value, by term and name, the largest first.
        commands: Number of different velocity commands, to two digits behind the point, up to
            `MOST_COMMANDS`; None where there are none.
        directions: Of the velocity command.
        terms: Of all observations.
        motion: Whether rows go with those before.
    """

    rows: int
    different: int
    span_s: float
    still: float | None
    turning_rad_s: float | None
    tilted: float | None
    outside: float | None
    far: float | None
    far_values: Mapping[str, float]
    commands: int | None
    directions: tuple[Direction, ...]
    terms: tuple[TermCoverage, ...]
    motion: RowMotion
