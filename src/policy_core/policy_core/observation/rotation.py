# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rotations of the body against the world."""

import math

from policy_core.interfaces import F64


def gravity_body(quat_xyzw: F64, out: F64) -> None:
    """Write the direction of gravity in the body frame [3] for a rotation body -> world.

    Minus the last row of the rotation matrix; the quaternion [x, y, z, w] need not be of unit
    length. Upright gives 0, 0, -1.
    """
    x, y, z, w = quat_xyzw.tolist()
    norm = x * x + y * y + z * z + w * w
    scale = 2.0 / norm if norm > 0.0 else math.nan
    # Quicker one by one than as a tuple, of which an array would be made first.
    out[0] = scale * (w * y - x * z)
    out[1] = -scale * (w * x + y * z)
    out[2] = scale * (x * x + y * y) - 1.0


def tilt_rad(gravity: F64) -> float:
    """Return the angle between the body's up and the world's from gravity in the body frame."""
    return math.acos(max(-1.0, min(1.0, -float(gravity[2]))))
