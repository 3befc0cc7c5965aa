# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Identifies how the parts of an IMU are mounted, and the rotation between two sets of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_tools.prove.identification.recorded_motion import RecordedMotion
from model_tools.prove.identification.resampling import Estimate, block_count, resampled
from policy_core.interfaces import F64, Index
from robot_sim.rotation import rotate_inverse

_GRAVITY = 9.81


@dataclass(frozen=True, slots=True, kw_only=True)
class ImuMounting:
    """Rotations of the parts of an IMU, degrees about x, y and z.

    Attributes:
        gyroscope: From the frame of the angular velocity to that of the orientation.
        accelerometer: From the frame of the acceleration to that of the orientation, about x and y;
            rotation about the vertical is not observable.
        tilt: Tilt of the mean orientation about x and y, caused by mounting and posture.
    """

    gyroscope: tuple[Estimate, Estimate, Estimate]
    accelerometer: tuple[Estimate, Estimate]
    tilt: tuple[Estimate, Estimate]


def identify_mounting(motion: RecordedMotion) -> ImuMounting:
    """Return the mounting, found by comparing gyroscope and accelerometer with the orientation."""
    quat, rate, acceleration = motion.imu[:, :4], motion.imu[:, 4:7], motion.imu[:, 7:]
    step_s = np.diff(motion.imu_s)
    good = (step_s > 0.0) & (step_s < 5.0 * np.median(step_s))
    turned = rotation_vectors(quat[:-1], quat[1:])[good] / step_s[good, np.newaxis]
    measured = ((rate[:-1] + rate[1:]) / 2.0)[good]
    up = rotate_inverse(quat, np.array([0.0, 0.0, _GRAVITY]))
    blocks = np.array_split(np.arange(len(turned)), block_count(motion.imu_s))
    of_rows = np.array_split(np.arange(len(quat)), block_count(motion.imu_s))

    def gyroscope(rows: Index) -> F64:
        return rotation_angles_deg(find_rotation(measured[rows], turned[rows]))

    def accelerometer(rows: Index) -> F64:
        return _lean_deg(acceleration[rows].mean(axis=0)) - _lean_deg(up[rows].mean(axis=0))

    def tilt(rows: Index) -> F64:
        return _lean_deg(up[rows].mean(axis=0))

    first = resampled(gyroscope, blocks)
    second, third = resampled(accelerometer, of_rows), resampled(tilt, of_rows)
    return ImuMounting(
        gyroscope=(first[0], first[1], first[2]),
        accelerometer=(second[0], second[1]),
        tilt=(third[0], third[1]),
    )


def rotation_vectors(before: F64, after: F64) -> F64:
    """Return the rotation vectors [n, 3] from one orientation to the next, in the first's frame."""
    x, y, z, w = (before * [-1.0, -1.0, -1.0, 1.0]).T
    a, b, c, d = after.T
    vector = np.stack(
        [
            w * a + x * d + y * c - z * b,
            w * b - x * c + y * d + z * a,
            w * c + x * b - y * a + z * d,
        ],
        axis=1,
    )
    scalar = w * d - x * a - y * b - z * c
    vector *= np.where(scalar < 0.0, -1.0, 1.0)[:, np.newaxis]
    length = np.linalg.norm(vector, axis=1)
    angle = 2.0 * np.arctan2(length, np.abs(scalar))
    found: F64 = vector * (angle / np.maximum(length, 1e-12))[:, np.newaxis]
    return found


def find_rotation(source: F64, target: F64) -> F64:
    """Return the rotation [3, 3] from source to target vectors with the least squared error."""
    left, _, right = np.linalg.svd(target.T @ source)
    flip = np.diag([1.0, 1.0, float(np.linalg.det(left) * np.linalg.det(right))])
    found: F64 = left @ flip @ right
    return found


def rotation_angles_deg(rotation: F64) -> F64:
    """Return a small rotation as angles about x, y and z."""
    vector = [
        rotation[2, 1] - rotation[1, 2],
        rotation[0, 2] - rotation[2, 0],
        rotation[1, 0] - rotation[0, 1],
    ]
    sine = np.linalg.norm(vector) / 2.0
    angle = np.arctan2(sine, (np.trace(rotation) - 1.0) / 2.0)
    found: F64 = np.degrees(np.array(vector) / 2.0 * (angle / max(sine, 1e-12)))
    return found


def _lean_deg(up: F64) -> F64:
    x, y, z = up
    return np.degrees([np.arctan2(y, z), np.arctan2(-x, np.hypot(y, z))])
