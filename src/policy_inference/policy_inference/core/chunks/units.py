# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Between the units that a policy counts joints in and rad."""

from collections.abc import Mapping, Sequence

import numpy as np

from policy_inference.bundle.chunk_contract import JointUnit
from policy_inference.interfaces import F64


class Units:
    """Converts positions of joints; each joint's values are an affine function of its angle."""

    def __init__(self, units: Mapping[str, JointUnit], joints: Sequence[str]) -> None:
        """Compute the factors for `joints`, in this order."""
        factors = [_factors(units[joint]) for joint in joints]
        self._scale: F64 = np.array([scale for scale, _ in factors])
        self._zero_rad: F64 = np.array([zero_rad for _, zero_rad in factors])

    def of_rad(self, position_rad: F64) -> F64:
        """Return positions [..., joints] in the policy's units."""
        return (position_rad - self._zero_rad) * self._scale

    def to_rad(self, values: F64) -> F64:
        """Return positions [..., joints] in rad of those in the policy's units."""
        return values / self._scale + self._zero_rad


def _factors(unit: JointUnit) -> tuple[float, float]:
    """Return units per rad, and the position that counts 0."""
    if unit.unit == "radians":
        return float(unit.sign), unit.zero_rad
    if unit.unit == "degrees":
        return unit.sign * 180.0 / np.pi, unit.zero_rad
    low, high = unit.low_rad, unit.high_rad
    assert low is not None  # the contract was validated
    assert high is not None
    if unit.unit == "range_0_100":
        return 100.0 / (high - low), low
    return 200.0 / (high - low), (low + high) / 2.0
