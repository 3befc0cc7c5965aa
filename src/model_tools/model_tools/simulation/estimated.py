# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run the base velocity estimator on simulated sensors, and measure its error."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import Estimation
from policy_core.estimation.velocity_estimator import VelocityEstimator
from policy_core.interfaces import F64
from policy_inference.messages.readers import JointOrder
from robot_sim.figures import LeggedRobot
from robot_sim.legs import make_estimation
from robot_sim.world import NS_PER_S, Sensors

# IMU: Bosch BMI088, data sheet BST-BMI088-DS001: offsets of 20 mg and 1 degree/s, noise densities
# of 175 ug and 0.014 degree/s per root Hz; sampled at 500 Hz, its bandwidth is half of that.
_ACC_BIAS, _ACC_NOISE = 0.020 * 9.81, 175e-6 * 9.81 * 250.0**0.5
_GYRO_BIAS, _GYRO_NOISE = np.radians(1.0), np.radians(0.014 * 250.0**0.5)
# Assumptions about the IMU's orientation, and about drives.
_TILT_BIAS = np.radians(0.5)
_JOINT_POS_NOISE, _JOINT_VEL_NOISE = 0.001, 0.05
CORRELATION_S = 0.2
"""Correlation time of the varying part of a `VelocityError`. In walks of Lite3 and Go2, the
correlation time of the estimator's error was 0.02 to 0.05 s on good ground, and up to 0.19 s on
slippery ground.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorErrors:
    """Errors of the simulated sensors.

    Attributes:
        scale: Noise and bias, as multiples of the data sheet's; 0 for none.
        imu_delay_s: Delay of the IMU relative to the joints.
        seed: Seed of noise and bias.
    """

    scale: float = 0.0
    imu_delay_s: float = 0.0
    seed: int = 0


NO_ERRORS = SensorErrors()


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateError:
    """Error of an estimate over a walk.

    Attributes:
        rmse_mps: Root mean square of the velocity error's norm.
        p95_mps: 95th percentile of that norm.
        nees: Normalized estimation error squared, per axis: 1 if the variance is right, more if the
            estimator is overconfident.
        height_rmse_m: Root mean square of the height error, on level ground.
    """

    rmse_mps: float
    p95_mps: float
    nees: float
    height_rmse_m: float


class EstimatedVelocity:
    """A base velocity estimator that reads the sensors of a simulated robot."""

    def __init__(
        self,
        estimation: Estimation,
        names: tuple[str, ...],
        on_robot: tuple[str, ...],
        errors: SensorErrors = NO_ERRORS,
    ) -> None:
        """Begin without a sample.

        Args:
            estimation: Description of legs and IMU.
            names: Joint names in `estimation`.
            on_robot: The robot's names for these joints.
            errors: Errors of the sensors.
        """
        self.estimator = VelocityEstimator(estimation, names)
        self._order = JointOrder(on_robot)
        self._joint_pos, self._joint_vel = np.zeros(len(names)), np.zeros(len(names))
        self._sensors = _WrongSensors(errors)
        self._last_ns: int | None = None
        self._rows: list[tuple[float, ...]] = []

    def watch(self, sensors: Sensors) -> None:
        """Update the estimate with a sample, unless the sample has already been used."""
        now_ns = sensors.time_ns
        step_s = 0.0 if self._last_ns is None else (now_ns - self._last_ns) / NS_PER_S
        self._last_ns = now_ns
        if step_s <= 0.0:
            return
        names = list(sensors.joint_names)
        self._order.take(names, sensors.joint_pos, self._joint_pos)
        self._order.take(names, sensors.joint_vel, self._joint_vel)
        found = self.estimator
        found.update(step_s, *self._sensors.seen(now_ns, self._joint_pos, self._joint_vel, sensors))
        error = found.lin_vel_body - sensors.lin_vel_body
        height_error = found.height_m - float(sensors.pos_world[2])
        self._rows.append((now_ns / NS_PER_S, *error.tolist(), found.variance, height_error))

    def error(self, start_s: float) -> EstimateError:
        """Return the error since `start_s` on the robot's clock; NaN without samples."""
        rows = np.array([row for row in self._rows if row[0] >= start_s])
        if not len(rows):
            return EstimateError(rmse_mps=np.nan, p95_mps=np.nan, nees=np.nan, height_rmse_m=np.nan)
        square = np.square(rows[:, 1:4]).sum(axis=1)
        return EstimateError(
            rmse_mps=float(np.sqrt(square.mean())),
            p95_mps=float(np.percentile(np.sqrt(square), 95.0)),
            nees=float((square / rows[:, 4]).mean() / 3.0),
            height_rmse_m=float(np.sqrt(np.square(rows[:, 5]).mean())),
        )


class VelocityError:
    """An error to add to a base velocity.

    Half of the error's mean square is constant, in a random direction in the base's x-y plane; the
    other half varies on all three axes (Gauss-Markov).
    """

    def __init__(self, size_mps: float, seed: int) -> None:
        """Draw the direction and the first value.

        Args:
            size_mps: Expected root mean square of the error's length.
            seed: Errors with the same seed differ only in size.
        """
        random = np.random.default_rng([seed, 1])  # mixed commands are drawn from the seed alone
        self._random, self._last_ns = random, 0
        angle = random.uniform(-np.pi, np.pi)
        self._constant = size_mps / 2.0**0.5 * np.array([np.cos(angle), np.sin(angle), 0.0])
        self._std = size_mps / 6.0**0.5
        self._varying: F64 = self._std * random.standard_normal(3)

    def at(self, now_ns: int) -> F64:
        """Return the error [3], m/s, in the base frame; times must increase."""
        kept = np.exp(-(now_ns - self._last_ns) / NS_PER_S / CORRELATION_S)
        self._last_ns = now_ns
        drawn = self._std * self._random.standard_normal(3)
        self._varying = kept * self._varying + (1.0 - kept**2) ** 0.5 * drawn
        return np.asarray(self._constant + self._varying)


def watched_by_contract(
    contract: AnyContract | None, errors: SensorErrors = NO_ERRORS
) -> EstimatedVelocity | None:
    """Return a contract's estimator; None if the contract has no section `estimation`."""
    if contract is None or contract.estimation is None:
        return None
    joints = contract.joints
    return EstimatedVelocity(contract.estimation, joints.names, joints.on_robot(), errors)


def watched_by_figures(robot: LeggedRobot, errors: SensorErrors = NO_ERRORS) -> EstimatedVelocity:
    """Return an estimator made from a `figures.yaml`, for a policy that does not need one."""
    return EstimatedVelocity(make_estimation(robot), robot.joint_names, robot.joint_names, errors)


class _WrongSensors:
    """Adds bias, noise and delay to sensor values."""

    def __init__(self, errors: SensorErrors) -> None:
        self._random = np.random.default_rng(errors.seed)
        self._scale, self._delay_ns = errors.scale, round(errors.imu_delay_s * NS_PER_S)
        draw = self._random
        self._acc_bias = errors.scale * _ACC_BIAS * draw.uniform(-1.0, 1.0, 3)
        self._gyro_bias = errors.scale * _GYRO_BIAS * draw.uniform(-1.0, 1.0, 3)
        self._tilt = errors.scale * _TILT_BIAS * draw.standard_normal(2)
        self._imu: deque[tuple[int, F64, F64, F64]] = deque()

    def seen(
        self, now_ns: int, joint_pos: F64, joint_vel: F64, sensors: Sensors
    ) -> tuple[F64, F64, F64, F64, F64]:
        """Return joint positions, joint velocities and the IMU's values, with the errors added."""
        self._imu.append((now_ns, sensors.quat_xyzw, sensors.ang_vel_body, sensors.lin_acc_body))
        while len(self._imu) > 1 and self._imu[1][0] <= now_ns - self._delay_ns:
            self._imu.popleft()
        _, quat, gyro, acc = self._imu[0]
        return (
            joint_pos + self._noise(_JOINT_POS_NOISE, len(joint_pos)),
            joint_vel + self._noise(_JOINT_VEL_NOISE, len(joint_vel)),
            self._tilted(quat),
            gyro + self._gyro_bias + self._noise(_GYRO_NOISE, 3),
            acc + self._acc_bias + self._noise(_ACC_NOISE, 3),
        )

    def _noise(self, std: float, count: int) -> F64:
        return self._scale * std * self._random.standard_normal(count)

    def _tilted(self, quat_xyzw: F64) -> F64:
        """Return an orientation with a small tilt error about the body's x and y axes."""
        x, y, z, w = quat_xyzw.tolist()
        a, b = (self._tilt / 2.0).tolist()
        made = np.array(
            [x + w * a - z * b, y + z * a + w * b, z - y * a + x * b, w - x * a - y * b]
        )
        return np.asarray(made / np.linalg.norm(made))
