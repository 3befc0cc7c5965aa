# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The estimator on a robot whose motion is known exactly: feet that stand, swing, and slip."""

from __future__ import annotations

import numpy as np
import pytest

from policy_core.bundle.contract import ChainLink, ContactPoint, Estimation, Leg
from policy_core.estimation.velocity_estimator import (
    GRAVITY,
    LONGEST_STEP_S,
    SUPPORTED,
    VelocityEstimator,
)
from policy_core.interfaces import F64

STEP_S, LEGS, HEIGHT_M = 0.002, 4, 0.3
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
LEVEL, AT_REST = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, GRAVITY])
IMU = (0.1, 0.0, 0.05)
NAMES = [f"{leg}{axis}" for leg in range(LEGS) for axis in "xyz"]


def description() -> Estimation:
    """Legs whose foot is 0.3 m below three joints, at the corners of the base."""
    legs = []
    for leg in range(LEGS):
        corner = (0.2 if leg < 2 else -0.2, 0.1 if leg % 2 else -0.1, 0.0)
        chain = [
            ChainLink(
                joint=f"{leg}{name}",
                position_m=corner if name == "x" else (0.0, 0.0, 0.0),
                axis=axis,
            )
            for name, axis in zip("xyz", AXES, strict=True)
        ]
        point = ContactPoint(position_m=(0.0, 0.0, -HEIGHT_M))
        legs.append(Leg(name=f"L{leg}", chain=tuple(chain), points=(point,)))
    return Estimation(error_mps=0.05, legs=tuple(legs), imu_m=IMU)


class Walker:
    """Slides level and straight over the ground; its joints are at zero, and legs follow it.

    A foot that stands moves back as fast as the base moves ahead: about y by v / 0.3, about x by
    -v / 0.3 to the left.
    """

    def __init__(self) -> None:
        self.estimator = VelocityEstimator(description(), NAMES)
        self.velocity = np.zeros(3)

    def go(
        self,
        duration_s: float,
        acceleration: tuple[float, float] = (0.0, 0.0),
        feet: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * LEGS,
        bias: float = 0.0,
    ) -> VelocityEstimator:
        """Go on; `feet` are the velocities of the feet over the ground, m/s."""
        change = np.array([*acceleration, 0.0])
        for _ in range(round(duration_s / STEP_S)):
            self.velocity = self.velocity + STEP_S * change
            rates = np.zeros((LEGS, 3))
            for leg, (x, y) in enumerate(feet):
                rates[leg, 1] = (self.velocity[0] - x) / HEIGHT_M
                rates[leg, 0] = (y - self.velocity[1]) / HEIGHT_M
            self.estimator.update(
                STEP_S,
                np.zeros(len(NAMES)),
                rates.ravel(),
                LEVEL,
                np.zeros(3),
                AT_REST + change + (bias, 0.0, 0.0),
            )
        return self.estimator

    @property
    def error(self) -> F64:
        return np.asarray(self.estimator.lin_vel_body - self.velocity)


@pytest.fixture
def walker() -> Walker:
    return Walker()


def test_it_follows_the_base_from_rest(walker: Walker) -> None:
    walker.go(0.5)
    walker.go(1.0, acceleration=(0.6, -0.3))

    np.testing.assert_allclose(walker.error, 0.0, atol=1e-3)
    assert walker.velocity[0] == pytest.approx(0.6)
    assert min(walker.estimator.standing) > 0.9
    assert walker.estimator.height_m == pytest.approx(HEIGHT_M)


def test_it_finds_the_velocity_of_a_robot_that_walks_already(walker: Walker) -> None:
    walker.velocity = np.array([0.8, 0.0, 0.0])

    walker.go(0.3)

    np.testing.assert_allclose(walker.error, 0.0, atol=5e-3)


def test_it_finds_the_velocity_again_after_it_lost_it(walker: Walker) -> None:
    walker.go(0.5)
    walker.velocity = np.array([-1.5, 0.5, 0.0])  # by a blow that the accelerometer did not show
    assert walker.go(0.8).support < SUPPORTED

    estimator = walker.go(1.0)

    assert estimator.support > SUPPORTED
    np.testing.assert_allclose(walker.error, 0.0, atol=5e-3)
    assert estimator.variance < 0.01


def test_a_foot_that_swings_or_slips_has_no_weight(walker: Walker) -> None:
    walker.go(0.5, acceleration=(1.0, 0.0))

    estimator = walker.go(0.3, feet=((1.2, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.4)))

    assert estimator.standing == pytest.approx([0.0, 1.0, 1.0, 0.0], abs=0.05)
    np.testing.assert_allclose(walker.error, 0.0, atol=2e-3)


def test_it_goes_on_with_the_accelerometer_while_no_foot_stands(walker: Walker) -> None:
    walker.go(0.5, acceleration=(1.0, 0.0))
    before = walker.estimator.variance

    estimator = walker.go(0.2, acceleration=(-1.0, 0.0), feet=((1.5, 1.0),) * LEGS)

    np.testing.assert_allclose(walker.error, 0.0, atol=1e-2)
    assert estimator.variance > 4.0 * before


def test_it_learns_the_bias_of_the_accelerometer_while_feet_stand(walker: Walker) -> None:
    walker.go(3.0, bias=0.9)
    assert abs(walker.error[0]) < 2e-3

    walker.go(0.2, bias=0.9, feet=((1.5, 1.0),) * LEGS)

    assert abs(walker.error[0]) < 0.02


def test_a_turning_base_shows_the_velocity_of_its_origin_not_of_the_imu() -> None:
    estimator = VelocityEstimator(description(), NAMES)
    rate = np.array([0.0, 0.0, 1.0])
    # The base turns about its own origin, and its feet stay where they are.
    centripetal = -np.array([IMU[0], IMU[1], 0.0])
    for _ in range(250):
        rates = np.zeros((LEGS, 3))
        for leg in range(LEGS):
            x, y = (0.2 if leg < 2 else -0.2), (0.1 if leg % 2 else -0.1)
            rates[leg, :2] = -x / HEIGHT_M, -y / HEIGHT_M
        estimator.update(
            STEP_S, np.zeros(len(NAMES)), rates.ravel(), LEVEL, rate, AT_REST + centripetal
        )

    np.testing.assert_allclose(estimator.lin_vel_body, 0.0, atol=2e-3)


def test_a_gap_makes_it_as_uncertain_as_at_the_start(walker: Walker) -> None:
    sample = (np.zeros(len(NAMES)), np.zeros(len(NAMES)), LEVEL, np.zeros(3), AT_REST)
    certain = walker.go(0.5).variance

    walker.estimator.update(0.0, *sample)
    assert walker.estimator.variance == certain

    in_the_air = np.full(len(NAMES), 30.0)
    walker.estimator.update(2.0 * LONGEST_STEP_S, sample[0], in_the_air, *sample[2:])
    assert walker.estimator.variance > 0.05


def test_it_begins_again(walker: Walker) -> None:
    walker.go(0.5, acceleration=(1.0, 0.0))

    walker.estimator.restart()

    assert walker.estimator.lin_vel_body.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(walker.estimator.height_m)
