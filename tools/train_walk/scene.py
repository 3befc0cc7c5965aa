# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the scan of a tilted robot beside steps, to verify the contract of the robot's policy.

    python -m tools.train_walk.scene --robot lite3_stairs --output scan_scene.npz

The ground is found with the physics engine's rays, not with the formula used in training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from model_tools.files.arrays import write_arrays
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.ground import Ground
from robot_sim.rotation import place_level
from tools.train_walk.definition import TrainedRobot, load_trained_robot
from tools.train_walk.layout import observe_ground
from tools.train_walk.physics import training_model

_POSITION, _ROLL_PITCH_YAW = np.array([0.5, 0.3, 0.4]), (0.2, 0.25, 0.6)
_GROUND = Ground(terrain="stairs", step_m=0.07, reach_m=3.0)
_ABOVE_M = 2.0


def make_scene(robot: TrainedRobot) -> dict[str, Array]:
    """Return the arrays that `policy_core.observation.scan_scene` defines.

    Raises:
        SimError: The policy has no height scan.
    """
    if robot.scan is None:
        raise SimError(f"{robot.bundle}: expected a policy with a height scan, found none")
    model = training_model(robot, _GROUND)
    data = mujoco.MjData(model)
    data.qpos[2] = 50.0  # no ray meets the robot
    mujoco.mj_forward(model, data)
    quat_wxyz = np.zeros(4)
    mujoco.mju_euler2Quat(quat_wxyz, np.array(_ROLL_PITCH_YAW), "XYZ")
    quat_xyzw = np.roll(quat_wxyz, -1)
    hits = place_level(robot.scan.points, _POSITION, quat_xyzw)
    for hit in hits:
        begin, met = hit + np.array([0.0, 0.0, _ABOVE_M]), np.zeros(1, np.int32)
        way_m = mujoco.mj_ray(model, data, begin, np.array([0, 0, -1.0]), None, 1, -1, met)
        hit[2] = begin[2] - way_m
    values = observe_ground(robot, _POSITION[2:], hits[None, :, 2])[0]
    return {"hits": hits, "position": _POSITION, "quat_xyzw": quat_xyzw, "values": values}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="train_walk.scene", description=__doc__)
    parser.add_argument(
        "--robot", default="lite3_stairs", help="name of a file in tools/train_walk/robots"
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write, .npz")
    given = parser.parse_args(args)
    write_arrays(given.output, make_scene(load_trained_robot(given.robot)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
