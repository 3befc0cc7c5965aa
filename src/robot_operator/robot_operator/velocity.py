# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The commanded velocity: limits, and how fast it changes."""

from dataclasses import dataclass

Velocity = tuple[float, float, float]
"""[vx, vy, wz], m/s, m/s, rad/s, body frame (x forward, y to the left, z up)."""

STILL: Velocity = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityLimits:
    """Bounds of a commanded velocity and of its change, all > 0."""

    max_vx_mps: float
    max_vy_mps: float
    max_wz_radps: float
    acceleration_mps2: float
    deceleration_mps2: float
    acceleration_radps2: float
    deceleration_radps2: float

    def scaled(self, shares: Velocity) -> Velocity:
        """Return the velocity that is these shares, each in -1..1, of the largest."""
        vx, vy, wz = (min(max(share, -1.0), 1.0) for share in shares)
        return vx * self.max_vx_mps, vy * self.max_vy_mps, wz * self.max_wz_radps

    def towards(self, now: Velocity, wanted: Velocity, duration_s: float) -> Velocity:
        """Return what is commanded `duration_s` after `now`, on the way to `wanted`.

        Away from zero each axis changes by its acceleration at most, towards zero by its
        deceleration; through zero it goes in two steps.
        """
        faster = (self.acceleration_mps2, self.acceleration_mps2, self.acceleration_radps2)
        slower = (self.deceleration_mps2, self.deceleration_mps2, self.deceleration_radps2)
        vx, vy, wz = (
            _towards(*axis, duration_s) for axis in zip(now, wanted, faster, slower, strict=True)
        )
        return vx, vy, wz


def _towards(now: float, wanted: float, faster: float, slower: float, duration_s: float) -> float:
    if now * wanted < 0.0:
        wanted = 0.0
    step = duration_s * (slower if abs(wanted) < abs(now) else faster)
    return min(max(wanted, now - step), now + step)
