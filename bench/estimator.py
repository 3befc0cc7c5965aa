# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of estimating the base velocity in C++, called from Python; the baseline is in Python."""

from functools import partial

import numpy as np

from bench.effort import Effort
from bench.figures import Figure, alternated, timed
from bench.processes import BenchError
from policy_core.estimation.velocity_estimator import GRAVITY, VelocityEstimator
from policy_core.plan import plan_bytes
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation

_BLOCKS, _CALLS = 20, 500
_ROBOTS = {"estimator_us": "lite3", "estimator_flat_feet_us": "g1"}
"""Robot of each figure: four 3-joint legs, or two 6-joint legs with four points per foot."""


def measure(effort: Effort) -> list[Figure]:
    """Measure both in alternating blocks of back-to-back calls."""
    return [_figure(name, robot, effort.count(_BLOCKS)) for name, robot in _ROBOTS.items()]


def _figure(name: str, robot: str, blocks: int) -> Figure:
    try:
        from policy_core_native import VelocityEstimator as NativeEstimator
    except ImportError as error:
        raise BenchError(str(error)) from error
    figures = load_robot(robot)
    python = VelocityEstimator(make_estimation(figures), figures.joint_names)
    native = NativeEstimator(plan_bytes({"estimation": python.plan()}, bytes(32)))
    random = np.random.default_rng(1)
    pos, vel = 0.1 * random.normal(size=(2, len(figures.joint_names)))
    upright, at_rest = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, GRAVITY])
    sample = 0.002, pos, vel, upright, np.zeros(3), at_rest
    ours, baseline = (timed(_CALLS, partial(each.update, *sample)) for each in (native, python))
    found = alternated(name, ours, baseline, blocks=blocks, wanted=20.0)
    if python.lin_vel_body.tolist() != native.lin_vel_body.tolist():
        raise BenchError("the two estimates differ")
    return found
