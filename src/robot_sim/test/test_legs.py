# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Legs as a contract describes them: position and motion of the feet match the model's."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from policy_core.estimation.leg_chain import LegChain, cross
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation
from robot_sim.model import build_model


@pytest.mark.parametrize("robot", ["lite3", "go2", "g1"])
def test_points_move_as_in_the_model_of_the_robot(robot: str) -> None:
    figures = load_robot(robot)
    chains = [LegChain(leg, figures.joint_names) for leg in make_estimation(figures).legs]
    model, random = build_model(figures), np.random.default_rng(1)
    data = mujoco.MjData(model)
    data.qpos[7:] = random.uniform(-1.0, 1.0, model.nu)
    data.qpos[3:7] = (1.0, 0.0, 0.0, 0.0)
    data.qvel[6:] = random.uniform(-5.0, 5.0, model.nu)
    mujoco.mj_forward(model, data)
    for chain, foot in zip(chains, figures.feet, strict=True):
        chain.update(data.qpos[7:].tolist(), data.qvel[6:].tolist())
        body = model.body(foot.body).id
        for point, sphere in enumerate(foot.spheres):
            place = data.xpos[body] + data.xmat[body].reshape(3, 3) @ np.add(foot.pos, sphere)
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacobian, None, place, body)
            found = chain.points[point]
            np.testing.assert_allclose(found, place - data.qpos[:3], atol=1e-9)
            velocity = np.subtract(cross(chain.turn, found), chain.moment)
            np.testing.assert_allclose(velocity, jacobian @ data.qvel, atol=1e-8)
