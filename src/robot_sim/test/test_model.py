# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The model has the published figures, and its drives are stable where explicit ones are not."""

import mujoco
import numpy as np
import pytest

from robot_sim.drives import Drives, position_command
from robot_sim.model import build_model

# Knees nearly straight: the lightest load a knee drive can have in the air.
STRETCHED_RAD = np.tile([0.0, -0.4, 0.8], 4)


def swing_in_the_air(model: mujoco.MjModel, damping: float) -> float:
    """Return the fastest joint (rad/s) a second after a floating robot's legs were knocked."""
    model.opt.gravity[:] = 0.0
    data, drives = mujoco.MjData(model), Drives(model)
    data.qpos[2], data.qpos[7:], data.qvel[6:] = 2.0, STRETCHED_RAD, 0.5
    command = position_command(
        STRETCHED_RAD, stiffness=30.0, damping=damping, valid_for_ns=2_000_000_000
    )
    drives.send(command, 0)
    for _ in range(round(1.0 / model.opt.timestep)):
        data.ctrl[:] = drives.update(0)
        mujoco.mj_step(model, data)
    return float(np.abs(data.qvel[6:]).max())


@pytest.mark.parametrize("timestep_s", [0.001, 0.005])
@pytest.mark.parametrize("damping", [1.0, 5.0])
def test_legs_in_the_air_come_to_rest(damping: float, timestep_s: float) -> None:
    assert swing_in_the_air(build_model(timestep_s=timestep_s), damping) < 0.05


def test_an_explicit_pd_loop_at_200_hz_shakes_the_same_legs() -> None:
    model = build_model(timestep_s=0.005)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    assert swing_in_the_air(model, 1.0) > 1.0


def test_visible_shapes_weigh_and_touch_nothing() -> None:
    model = build_model()
    seen = model.geom_group == 2
    assert seen.any()
    assert not (model.geom_contype[seen] | model.geom_conaffinity[seen]).any()
