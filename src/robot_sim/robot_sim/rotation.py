# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulator's rotation functions; arrays are [..., 4] and [..., 3], float64."""

import math

import numpy as np

from robot_sim.figures import Array

_UP = np.array([0.0, 0.0, 1.0])


def rotate(quat_xyzw: Array, vec_body: Array) -> Array:
    """Express body vectors [..., 3] in the world; `quat_xyzw` [..., 4] rotates body to world."""
    u, w = quat_xyzw[..., :3], quat_xyzw[..., 3:]
    t = 2.0 * np.cross(u, vec_body)
    return np.asarray(vec_body + w * t + np.cross(u, t))


def rotate_inverse(quat_xyzw: Array, vec_world: Array) -> Array:
    """Express world vectors [..., 3] in the body; `quat_xyzw` [..., 4] rotates body to world."""
    return rotate(quat_xyzw * np.array([-1.0, -1.0, -1.0, 1.0]), vec_world)


def tilt_rad(quat_xyzw: Array) -> Array:
    """Return the angle [...] in rad between the body's z axis and the world's."""
    up = rotate(quat_xyzw, np.broadcast_to(_UP, (*quat_xyzw.shape[:-1], 3)))
    return np.asarray(np.arccos(np.clip(up[..., 2], -1.0, 1.0)))


def yaw_rad(quat_xyzw: Array) -> Array:
    """Return the heading [...] in rad of the body's x axis, counterclockwise from world x."""
    x, y, z, w = np.moveaxis(quat_xyzw, -1, 0)
    return np.asarray(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def roll_pitch_yaw(quat_xyzw: Array) -> Array:
    """Return a body's roll, pitch and yaw [3], rad, from its quaternion [4].

    The rotations are intrinsic: about z, then y, then x.
    """
    x, y, z, w = quat_xyzw.tolist()  # for a single rotation, plain numbers are ten times as fast
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x))))
    yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return np.array([roll, pitch, yaw])


def turn(vec: Array, angle_rad: Array) -> Array:
    """Turn vectors [..., 3] about the vertical by `angle_rad` [...], counterclockwise."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    x, y, z = np.moveaxis(vec, -1, 0)
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def place_level(points: Array, position: Array, quat_xyzw: Array) -> Array:
    """Place points around a robot: turned by its heading, but not tilted.

    Args:
        points: Points in the heading's frame [n, 2], m.
        position: Position of the base [..., 3], world, m.
        quat_xyzw: Rotation from the base to the world [..., 4].

    Returns:
        Points at the height of the base [..., n, 3], world, m.
    """
    angle_rad = yaw_rad(quat_xyzw)[..., None]
    level = np.broadcast_to(
        np.pad(points, ((0, 0), (0, 1))), (*angle_rad.shape[:-1], len(points), 3)
    )
    return turn(level, angle_rad) + position[..., None, :]
