# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Kalman filter that estimates the base velocity from stance legs and the accelerometer.

A foot in stance is at rest in the world, so its leg measures the motion of the base; between these
measurements the filter integrates the accelerometer minus its bias. This is the filter of Bloesch
et al. (RSS 2012) and Hartley et al. (RSS 2018), in reduced form: the IMU supplies the orientation,
the foot positions are eliminated, and the noise is isotropic, so the covariance of velocity and
bias has only three numbers. docs/estimation.md gives the estimation error.

Stance is detected from the legs alone. A stance point moves as the filter expects, a swing point
moves freely; the two likelihoods determine the point's weight (probabilistic data association). A
slipping foot also moves, so it loses its weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_core.bundle.contract import Estimation
from policy_core.estimation.leg_chain import LegChain, Vector, cross
from policy_core.interfaces import F64

GRAVITY = 9.81
LONGEST_STEP_S = 0.1
"""Maximum gap between samples; after a longer gap, the velocity is as uncertain as at the start."""
_STEADY_STEP_S = 0.025
"""Maximum gap over which the integrated acceleration follows a walking robot; after a longer one,
the estimate proves again that feet support it.
"""
_START_STD = 1.0
"""Standard deviation of the initial velocity, m/s, since the robot may already be walking."""
_POINT_STD = 0.02
"""Standard deviation of a stance point's velocity, m/s: feet roll, and ground and legs yield."""
_POINT_CORRELATION_S = 0.03
"""Correlation time of a stance point's velocity: longer observation adds information, but faster
sampling does not.
"""
_DRIFT, _SAMPLED = 0.1, 1.5
"""Noise of the integrated acceleration, m/s per root s; and standard deviation of a sample about
the mean acceleration over its step, m/s^2, which is large because touchdowns shake the base.
"""
_SUPPORT_S = 0.3
"""Time constant of the low-pass filter on the number of stance points, in s."""
SUPPORTED = 0.5
"""Smallest usable `support`. A walking robot's is 1 to 2; that of an estimate which took a swing
foot for a stance foot falls below 0.1, because the feet that do stand then seem to swing.
"""
_LOST, _LOST_S = 0.3, 0.4
"""The estimate restarts once `support` has been less than this for so long, in s."""
_BIAS_STD, _BIAS_DRIFT = 0.3, 0.05
"""Standard deviation of the initial accelerometer bias, m/s^2, and the bias random walk, m/s^2 per
root s. The bias is an offset plus the gravity that a tilt error lets through.
"""
_SWING_STD = 1.0
"""Standard deviation of a swing point's velocity, m/s."""
_STANDS = 0.05
"""Prior probability of stance; small because mistaking swing for stance is harmful."""
_ADAPTS_S = 0.2
"""Time constant of the low-pass filter on the height, in s."""


class VelocityEstimator:
    """Estimates the base velocity, sample by sample, without reading a clock.

    The results equal those of the native core's `VelocityEstimator` bit for bit. This requires
    scalars, because NumPy sums arrays in a different order.

    Attributes:
        lin_vel_body: Velocity of the base [3], m/s, body frame.
        variance: Variance of each velocity component, m^2/s^2.
        standing: Stance probability of each contact point [points of all legs].
        support: Number of stance points, low-pass filtered; below `SUPPORTED`, the velocity is
            wrong or unknown, whatever the variance.
        height_m: Height of the base above the stance points; NaN until the first stance.
    """

    def __init__(self, estimation: Estimation, joint_names: Sequence[str]) -> None:
        """Begin at rest.

        Args:
            estimation: Section from a valid contract.
            joint_names: Order of the joint arrays.
        """
        self._legs = [LegChain(leg, joint_names) for leg in estimation.legs]
        self._joint_count = len(joint_names)
        x, y, z = estimation.imu_m
        self._imu_m = x, y, z
        self.restart()

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core."""
        legs = [leg.plan() for leg in self._legs]
        return {"joint_count": self._joint_count, "imu_m": self._imu_m, "legs": legs}

    def restart(self) -> None:
        """Reset to the initial state."""
        self.lin_vel_body: F64 = np.zeros(3)
        self.standing = [0.0] * sum(len(leg.points) for leg in self._legs)
        self.height_m = math.nan
        self._begin()

    def _begin(self) -> None:
        self._imu_vel: Vector = (0.0, 0.0, 0.0)
        self._bias: Vector = (0.0, 0.0, 0.0)
        self.variance, self._shared, self._bias_variance = _START_STD**2, 0.0, _BIAS_STD**2
        self.support = self._lost_s = 0.0

    def update(
        self,
        step_s: float,
        joint_pos: F64,
        joint_vel: F64,
        quat_xyzw: F64,
        ang_vel_body: F64,
        lin_acc_body: F64,
    ) -> None:
        """Update the estimate with a sample; every value must be finite.

        Args:
            step_s: Time since the previous sample. If it is 0, the sample is ignored; if it is
                negative, the time of the gap is unknown, and the estimate begins again.
            joint_pos: Positions [joints], rad.
            joint_vel: Velocities [joints], rad/s.
            quat_xyzw: Orientation [4], body to world, of unit length; only the tilt is used.
            ang_vel_body: Angular velocity [3], rad/s, body frame.
            lin_acc_body: Accelerometer reading [3], m/s^2, body frame: +9.81 on z at rest.
        """
        if step_s <= 0.0:
            if step_s < 0.0:
                self._begin()
            return
        if step_s > LONGEST_STEP_S:
            self.variance, self._shared, step_s = _START_STD**2, 0.0, LONGEST_STEP_S
        if step_s > _STEADY_STEP_S:
            self.support = 0.0
        if self._lost_s > _LOST_S:
            self._begin()
        positions, velocities = joint_pos.tolist(), joint_vel.tolist()
        for leg in self._legs:
            leg.update(positions, velocities)
        x, y, z, w = quat_xyzw.tolist()
        up = 2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)
        p, q, r = ang_vel_body.tolist()
        a, b, c = lin_acc_body.tolist()
        self._predict(step_s, up, (p, q, r), (a, b, c))
        self._correct(step_s, up, (p, q, r))

    def _predict(self, step_s: float, up: Vector, turn: Vector, acceleration: Vector) -> None:
        """Predict velocity and variance by integrating the accelerometer."""
        x, y, z = self._imu_vel
        (a, b, c), (i, j, k), (u, v, w) = acceleration, self._bias, up
        p, q, r = cross(turn, self._imu_vel)
        self._imu_vel = (
            x + step_s * (a - i - GRAVITY * u - p),
            y + step_s * (b - j - GRAVITY * v - q),
            z + step_s * (c - k - GRAVITY * w - r),
        )
        self.variance += step_s * (
            _DRIFT**2 + step_s * _SAMPLED**2 - 2.0 * self._shared + step_s * self._bias_variance
        )
        self._shared -= step_s * self._bias_variance
        self._bias_variance += step_s * _BIAS_DRIFT**2

    def _correct(self, step_s: float, up: Vector, turn: Vector) -> None:
        """Correct velocity and bias with the stance-weighted mean over all contact points."""
        x, y, z = self._imu_vel
        # Velocity of the IMU due to base rotation.
        i, j, k = cross(turn, self._imu_m)
        weight, height_m, shown = self._judge(up, turn, (i - x, j - y, k - z))
        self.support += min(1.0, step_s / _SUPPORT_S) * (weight - self.support)
        self._lost_s = 0.0 if self.support >= _LOST else self._lost_s + step_s
        information = weight * step_s / (_POINT_STD**2 * _POINT_CORRELATION_S)
        gain = self.variance * information / (1.0 + self.variance * information)
        bias_gain = gain * self._shared / self.variance
        self._bias_variance -= bias_gain * self._shared
        self.variance, self._shared = (1.0 - gain) * self.variance, (1.0 - gain) * self._shared
        if weight > 0.0:
            a, b, c = self._bias
            p, q, r = shown
            x, y, z = x + gain * p, y + gain * q, z + gain * r
            self._bias = a + bias_gain * p, b + bias_gain * q, c + bias_gain * r
            if math.isfinite(self.height_m):
                share = min(1.0, weight * step_s / _ADAPTS_S)
                height_m = self.height_m + share * (height_m - self.height_m)
            self.height_m = height_m
        self._imu_vel = x, y, z
        self.lin_vel_body = np.array([x - i, y - j, z - k])

    def _judge(self, up: Vector, turn: Vector, moves: Vector) -> tuple[float, float, Vector]:
        """Compute the stance probability of each contact point.

        Args:
            up: Upward direction in the body frame.
            turn: Angular velocity of the base.
            moves: Velocity of the IMU relative to the base origin, minus its own predicted
                velocity.

        Returns:
            The sum of the stance probabilities, and two averages weighted by them: the height of
            the base, and the IMU's measured velocity minus its predicted velocity.
        """
        stands, swings = self.variance + _POINT_STD**2, self.variance + _SWING_STD**2
        ratio = stands / swings
        prior = (1.0 - _STANDS) / _STANDS * ratio * math.sqrt(ratio)
        sharpness = 0.5 * (1.0 / stands - 1.0 / swings)
        (u, v, w), (i, j, k), (f, g, h) = up, turn, moves
        weight = below = sum_x = sum_y = sum_z = 0.0
        self.standing = []
        for leg in self._legs:
            (p, q, r), (a, b, c) = leg.turn, leg.moment
            p, q, r = i + p, j + q, k + r
            a, b, c = f + a, g + b, h + c
            for (x, y, z), radius in zip(leg.points, leg.radii, strict=True):
                x, y, z = x - radius * u, y - radius * v, z - radius * w
                dx, dy, dz = a - (q * z - r * y), b - (r * x - p * z), c - (p * y - q * x)
                odds = min(sharpness * (dx * dx + dy * dy + dz * dz), 50.0)
                stance = 1.0 / (1.0 + prior * math.exp(odds))
                self.standing.append(stance)
                weight += stance
                below += stance * (x * u + y * v + z * w)
                sum_x, sum_y, sum_z = sum_x + stance * dx, sum_y + stance * dy, sum_z + stance * dz
        if not weight > 0.0:
            return weight, math.nan, (0.0, 0.0, 0.0)
        return weight, -below / weight, (sum_x / weight, sum_y / weight, sum_z / weight)
