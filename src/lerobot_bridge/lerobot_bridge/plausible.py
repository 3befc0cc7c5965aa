# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether values are plausible: degrees instead of rad are far out of range.

And whether they move at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lerobot_bridge.mapping import Joint, RobotMapping, Source
from lerobot_bridge.values import ToLeRobot
from policy_core.errors import RobotError
from policy_core.interfaces import F64

_MARGIN, _IMPOSSIBLE = 1.1, 3.0
"""Multiples of half a joint's range: largest normal position, and the first impossible one."""

STILL = 1e-3
"""Less than this, in LeRobot's units, is no motion; a servo's step is 0.09 degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A value that was outside its range, in LeRobot's units."""

    name: str
    messages: int
    worst: float
    low: float
    high: float


class Ranges:
    """Compares positions of a source with the ranges of its joints, if the mapping has them."""

    def __init__(self, mapping: RobotMapping, source: Source) -> None:
        """Use the limits of positions, or else the ends of the joints' ranges."""
        joints = mapping.joints_of(source) if source.quantity == "position" else ()
        self._names = mapping.values_of(source, source.quantity)
        ends_rad = np.array([_ends_rad(mapping.joints[joint]) for joint in joints]).reshape(-1, 2)
        ends = ToLeRobot(mapping, source).of_ros(ends_rad.T) if joints else ends_rad.T
        self._low, self._high = ends.min(axis=0), ends.max(axis=0)
        self._centre, self._half = (self._low + self._high) / 2, (self._high - self._low) / 2
        self._outside = np.zeros(len(joints), np.int64)
        self._worst = np.zeros(len(joints))

    @property
    def outside(self) -> list[Outside]:
        return [
            Outside(
                name=self._names[i],
                messages=int(self._outside[i]),
                worst=float(self._worst[i]),
                low=float(self._low[i]),
                high=float(self._high[i]),
            )
            for i in np.flatnonzero(self._outside)
        ]

    def check(self, values: F64) -> None:
        if not len(self._half):
            return
        # The range of a joint without limits is NaN, and no comparison with it holds.
        far = np.abs(values - self._centre) / self._half
        if (impossible := np.flatnonzero(far > _IMPOSSIBLE)).size:
            i = int(impossible[0])
            raise RobotError(
                f"{self._names[i]}: expected a position between {self._low[i]:.4g} and "
                f"{self._high[i]:.4g} in LeRobot's units, found {values[i]:.4g}: most likely the "
                "topic does not use rad as ROS does, or the mapping's range or limits of the "
                "joint are wrong"
            )
        out = far > _MARGIN
        self._outside += out
        worse = out & (far > np.abs(self._worst - self._centre) / self._half)
        self._worst = np.where(worse | (out & (self._outside == 1)), values, self._worst)


class MotionRange:
    """Notes the range that a vector stays in."""

    def __init__(self) -> None:
        self._low: F64 | None = None
        self._high: F64 | None = None

    def look(self, values: F64) -> None:
        self._low = values.copy() if self._low is None else np.minimum(self._low, values)
        self._high = values.copy() if self._high is None else np.maximum(self._high, values)

    @property
    def is_still(self) -> bool:
        """Whether there were values, and none of them moved."""
        return (
            self._low is not None
            and self._high is not None
            and bool((self._high - self._low < STILL).all())
        )


def _ends_rad(joint: Joint) -> tuple[float, float]:
    low, high = joint.position_min, joint.position_max
    if low is None or high is None:
        low, high = joint.low_rad, joint.high_rad
    if low is None or high is None:
        return np.nan, np.nan
    return low, high
