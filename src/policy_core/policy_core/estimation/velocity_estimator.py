# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Base velocity from stance legs and accelerometer, estimated by a Kalman filter.

A foot in stance is at rest in the world, so its leg measures the motion of the base; between these
measurements the filter integrates the accelerometer, less its bias. This is the filter of Bloesch
et al. (RSS 2012) and Hartley et al. (RSS 2018), reduced: the IMU gives the orientation, the foot
positions are eliminated, and the noise is isotropic, so that velocity and bias have a covariance of
three numbers. docs/estimation.md states its error.

Stance is detected from the legs alone. A stance point moves as the filter expects, a swing point
moves freely; the two likelihoods give its weight (probabilistic data association). A slipping foot
moves as well, and so loses its weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policy_core.bundle.contract import Estimation
from policy_core.estimation.leg_chains import LegChains, cross
from policy_core.interfaces import F64

GRAVITY = 9.81
LONGEST_STEP_S = 0.1
"""After a longer gap between two samples, the velocity is as uncertain as at the start."""
_START_STD = 1.0
"""Standard deviation of the velocity at the start, m/s: the robot lies, stands, or already walks.
"""
_POINT_STD = 0.02
"""Standard deviation of the velocity of a stance point, m/s: it rolls, and ground and leg yield."""
_POINT_CORRELATION_S = 0.03
"""Correlation time of that error: a longer observation adds information, a faster sensor does not.
"""
_DRIFT, _SAMPLED = 0.1, 1.5
"""Noise of the accelerometer's integral, m/s per root s; and deviation of a sample from the mean
over its step, m/s^2: touchdowns shake the base.
"""
_LOST_S = 0.3
"""Without a stance point for this long, the estimate restarts: no gait has a longer flight phase.
"""
_BIAS_STD, _BIAS_DRIFT = 0.3, 0.05
"""Standard deviation of the accelerometer bias at the start, m/s^2, and its random walk, m/s^2 per
root s: an offset, plus gravity seen through a tilt error.
"""
_SWING_STD = 1.0
"""Standard deviation of the velocity of a swing point, m/s."""
_STANDS = 0.05
"""Prior probability of stance: small, because a swing point taken for stance does harm."""
_ADAPTS_S = 0.2
"""Time constant of the height."""


class VelocityEstimator:
    """Estimates the base velocity, sample by sample; it has no clock of its own.

    Attributes:
        lin_vel_body: Velocity of the base [3], m/s, body frame.
        variance: Variance of each component, m^2/s^2.
        standing: Stance probability of each foot point [legs, points].
        height_m: Height of the base above the stance points; NaN until the first stance.
    """

    def __init__(self, estimation: Estimation, joint_names: Sequence[str]) -> None:
        """Begin at rest.

        Args:
            estimation: Section of a valid contract.
            joint_names: Order of the joint arrays.
        """
        self._legs = LegChains(estimation.legs, joint_names)
        x, y, z = estimation.imu_m
        # Velocity of the IMU due to base rotation: ang_vel_body x imu_m.
        self._lever = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
        self.restart()

    def restart(self) -> None:
        """Reset to the initial state."""
        self.lin_vel_body: F64 = np.zeros(3)
        self.standing: F64 = np.zeros(self._legs.points.shape[:2])
        self.height_m = math.nan
        self._begin()

    def _begin(self) -> None:
        self._imu_vel: F64 = np.zeros(3)
        self._bias: F64 = np.zeros(3)
        self.variance, self._shared, self._bias_variance = _START_STD**2, 0.0, _BIAS_STD**2
        self._lost_s = 0.0

    def update(
        self,
        step_s: float,
        joint_pos: F64,
        joint_vel: F64,
        quat_xyzw: F64,
        ang_vel_body: F64,
        lin_acc_body: F64,
    ) -> None:
        """Take a sample; every value must be finite.

        Args:
            step_s: Time since the previous sample; a sample with 0 or less is ignored.
            joint_pos: Positions [joints], rad.
            joint_vel: Velocities [joints], rad/s.
            quat_xyzw: Orientation [4], body to world, of unit length; only the tilt is used.
            ang_vel_body: Angular velocity [3], rad/s, body frame.
            lin_acc_body: Accelerometer reading [3], m/s^2, body frame: +9.81 on z at rest.
        """
        if step_s <= 0.0:
            return
        if step_s > LONGEST_STEP_S:
            self.variance, self._shared, step_s = _START_STD**2, 0.0, LONGEST_STEP_S
        if self._lost_s > _LOST_S:
            self._begin()
        x, y, z, w = quat_xyzw.tolist()
        up = np.array([2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)])
        p, q, r = ang_vel_body.tolist()
        u, v, w = self._imu_vel.tolist()
        turned = np.array([q * w - r * v, r * u - p * w, p * v - q * u])
        expected = self._imu_vel + step_s * (lin_acc_body - self._bias - GRAVITY * up - turned)
        variance = self.variance + step_s * (
            _DRIFT**2 + step_s * _SAMPLED**2 - 2.0 * self._shared + step_s * self._bias_variance
        )
        shared = self._shared - step_s * self._bias_variance
        legs = self._legs
        legs.update(joint_pos, joint_vel)
        contacts = legs.points - legs.radius * up
        lever = self._lever @ ang_vel_body
        # Velocity of the IMU, assuming that the foot point is in stance.
        shown = (lever + legs.moment)[:, None] - cross(
            (ang_vel_body + legs.turn)[:, None], contacts
        )
        unexpected = shown - expected
        self.standing = _standing((unexpected * unexpected).sum(-1), variance)
        weight = float(self.standing.sum())
        self._lost_s = 0.0 if weight > 0.5 else self._lost_s + step_s
        information = weight * step_s / (_POINT_STD**2 * _POINT_CORRELATION_S)
        gain = variance * information / (1.0 + variance * information)
        self._bias_variance += step_s * _BIAS_DRIFT**2 - gain * shared * shared / variance
        self.variance, self._shared = (1.0 - gain) * variance, (1.0 - gain) * shared
        if weight > 0.0:
            weights = self.standing.ravel()
            mean = weights @ unexpected.reshape(-1, 3) / weight
            expected = expected + gain * mean
            self._bias = self._bias + gain * shared / variance * mean
            self._see_height(step_s, float(weights @ (contacts.reshape(-1, 3) @ up)), weight)
        self._imu_vel = expected
        self.lin_vel_body = expected - lever

    def _see_height(self, step_s: float, sum_m: float, weight: float) -> None:
        """Track the height of the base above the stance points, given a weighted sum."""
        height_m, share = -sum_m / weight, min(1.0, weight * step_s / _ADAPTS_S)
        known = math.isfinite(self.height_m)
        self.height_m = self.height_m + share * (height_m - self.height_m) if known else height_m


def _standing(square: F64, variance: float) -> F64:
    """Return the stance probability of points, given the squared velocity difference."""
    stands, swings = variance + _POINT_STD**2, variance + _SWING_STD**2
    odds = np.minimum(0.5 * square * (1.0 / stands - 1.0 / swings), 50.0)
    prior = (1.0 - _STANDS) / _STANDS * (stands / swings) ** 1.5
    return np.asarray(1.0 / (1.0 + prior * np.exp(odds)))
