# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rotations as unit quaternions (x, y, z, w), in plain floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = tuple[float, float, float]
Quat = tuple[float, float, float, float]
"""Quaternion in the order x, y, z, w."""


def normalized(quat: Sequence[float]) -> Quat:
    """Return the normalized quaternion; NaN for length 0."""
    x, y, z, w = quat
    length = math.sqrt(x * x + y * y + z * z + w * w)
    scale = 1.0 / length if length > 0.0 else math.nan
    return x * scale, y * scale, z * scale, w * scale


def conjugate(quat: Quat) -> Quat:
    """Return the conjugate, which for a unit quaternion is the inverse rotation."""
    x, y, z, w = quat
    return -x, -y, -z, w


def product(first: Sequence[float], second: Sequence[float]) -> Quat:
    """Return the product: the rotation that applies `second`, and then `first`."""
    ax, ay, az, aw = first
    bx, by, bz, bw = second
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotated(quat: Quat, vector: Sequence[float]) -> Vector:
    """Return a vector rotated by a quaternion: v + 2 q x (q x v + w v)."""
    x, y, z, w = quat
    a, b, c = vector
    p, q, r = y * c - z * b + w * a, z * a - x * c + w * b, x * b - y * a + w * c
    return (
        a + 2.0 * (y * r - z * q),
        b + 2.0 * (z * p - x * r),
        c + 2.0 * (x * q - y * p),
    )


def yaw_rad(quat: Quat) -> float:
    """Return the heading (the direction of the rotated x axis), rad."""
    x, y, z, w = quat
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
