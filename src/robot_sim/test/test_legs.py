# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Legs as a contract describes them: feet are where the model has them, and move as there."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from policy_core.estimation.leg_chains import LegChains, cross
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation
from robot_sim.model import build_model


@pytest.mark.parametrize("robot", ["lite3", "go2", "g1"])
def test_points_move_as_in_the_model_of_the_robot(robot: str) -> None:
    figures = load_robot(robot)
    chains = LegChains(make_estimation(figures).legs, figures.joint_names)
    model, random = build_model(figures), np.random.default_rng(1)
    data = mujoco.MjData(model)
    data.qpos[7:] = random.uniform(-1.0, 1.0, model.nu)
    data.qpos[3:7] = (1.0, 0.0, 0.0, 0.0)
    data.qvel[6:] = random.uniform(-5.0, 5.0, model.nu)
    mujoco.mj_forward(model, data)

    chains.update(data.qpos[7:], data.qvel[6:])

    for leg, foot in enumerate(figures.feet):
        body = model.body(foot.body).id
        for point, sphere in enumerate(foot.spheres):
            place = data.xpos[body] + data.xmat[body].reshape(3, 3) @ np.add(foot.pos, sphere)
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacobian, None, place, body)
            found = chains.points[leg, point]
            np.testing.assert_allclose(found, place - data.qpos[:3], atol=1e-9)
            velocity = cross(chains.turn[leg], found) - chains.moment[leg]
            np.testing.assert_allclose(velocity, jacobian @ data.qvel, atol=1e-8)
