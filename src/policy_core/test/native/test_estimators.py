# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The estimator of base velocity in C++ equals the one in Python, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest

from policy_core.estimation.velocity_estimator import GRAVITY, VelocityEstimator
from policy_core.interfaces import F64
from policy_core.plan import plan_bytes
from testkit.kernel.legs import random_legs
from testkit.wording import refusal

native = pytest.importorskip("policy_core_native", reason="the native core is not built")
Sample = tuple[float, F64, F64, F64, F64, F64]


class RandomWalk:
    """Samples of a robot whose feet stand, slip, swing or are all up, for some time each."""

    def __init__(self, joints: int, seed: int) -> None:
        self._random, self._joints = np.random.default_rng(seed), joints
        self._pos = self._random.normal(size=joints)
        self._rates = np.zeros(joints)

    def sample(self) -> Sample:
        draw = self._random
        if draw.random() < 0.01:
            speed = draw.choice([0.0, 0.02, 0.5, 10.0])
            self._rates = speed * draw.normal(size=self._joints) * draw.integers(0, 2, self._joints)
        step_s = float(draw.choice([0.0, -0.1, 0.05, 0.2, 5.0])) if draw.random() < 0.01 else 0.002
        vel = self._rates + 0.01 * draw.normal(size=self._joints)
        self._pos = self._pos + 0.002 * vel
        quat = np.array([*(0.1 * draw.normal(size=3)), 1.0])
        acceleration = draw.normal(size=3) + np.array([0.0, 0.0, GRAVITY])
        turn = 0.3 * draw.normal(size=3)
        return step_s, self._pos, vel, quat / np.linalg.norm(quat), turn, acceleration

    def extreme(self) -> Sample:
        """Return a sample of finite values beyond any robot's, so that sums may overflow."""
        step_s, *values = self.sample()
        scale = float(self._random.choice([1e-300, 1e30, 1e200, 1e306]))
        which = self._random.integers(len(values))
        values[which] = values[which] * scale
        pos, vel, quat, turn, acceleration = values
        return step_s, pos, vel, quat, turn, acceleration


def twins(seed: int) -> tuple[VelocityEstimator, VelocityEstimator, RandomWalk]:
    legs, names = random_legs(random.Random(seed))
    python = VelocityEstimator(legs, names)
    twin = native.VelocityEstimator(plan_bytes({"estimation": python.plan()}, bytes(32)))
    return python, twin, RandomWalk(len(names), seed)


def seen(estimator: VelocityEstimator) -> F64:
    return np.array(
        [
            *estimator.lin_vel_body,
            estimator.variance,
            estimator.support,
            estimator.height_m,
            *estimator.standing,
        ]
    )


@pytest.mark.parametrize("seed", range(20))
def test_estimates_of_random_robots_are_equal(seed: int) -> None:
    python, twin, walk = twins(seed)
    weights = []
    for number in range(2000):
        sample = walk.sample()
        python.update(*sample)
        twin.update(*sample)
        assert seen(python).tobytes() == seen(twin).tobytes(), number
        weights.append(sum(python.standing))
        if number == 1500:
            python.restart()
            twin.restart()

    assert min(weights) < 0.5 < max(weights), "no foot stood, or one always did"


@pytest.mark.parametrize("seed", range(10))
def test_extreme_samples_have_equal_results_and_are_forgotten(seed: int) -> None:
    python, twin, walk = twins(seed)
    for number in range(500):
        sample = walk.extreme() if number % 7 == 0 and number < 100 else walk.sample()
        python.update(*sample)
        twin.update(*sample)
        np.testing.assert_array_equal(seen(python), seen(twin))

    assert np.isfinite(python.lin_vel_body).all()
    assert python.variance < 2.0


def test_arrays_of_another_robot_are_refused() -> None:
    _, twin, walk = twins(1)
    step_s, pos, vel, quat, turn, acceleration = walk.sample()
    with refusal(ValueError):
        twin.update(step_s, pos[:-1], vel, quat, turn, acceleration)
    with refusal(ValueError):
        twin.update(step_s, pos, vel, quat[:3], turn, acceleration)


def test_a_plan_without_legs_is_refused() -> None:
    with refusal(native.PlanError):
        native.VelocityEstimator(plan_bytes({"estimation": {"joint_count": 2}}, bytes(32)))
