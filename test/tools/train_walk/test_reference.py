# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A motion made of key poses is one that the robot can do, on feet that stay where they stand."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from robot_sim.model import build_model
from tools.train_walk.definition import TrainedRobot, load_task, load_trained_robot
from tools.train_walk.reference import main, reference_of

BOW = load_task("bow")


@pytest.fixture(params=["lite3", "go2"])
def posed_robot(request: pytest.FixtureRequest) -> TrainedRobot:
    return load_trained_robot(request.param)


def test_feet_stay_on_the_ground_where_they_stand(posed_robot: TrainedRobot) -> None:
    reference, model = reference_of(posed_robot, BOW), build_model(posed_robot.body)
    data, feet = mujoco.MjData(model), []
    for frame, pitch in enumerate(reference.pitch_rad):
        data.qpos[:3] = reference.base_x_m[frame], 0.0, reference.base_z_m[frame]
        data.qpos[3:7] = np.cos(pitch / 2), 0.0, np.sin(pitch / 2), 0.0
        data.qpos[7:19] = reference.joint_pos[frame]
        mujoco.mj_kinematics(model, data)
        feet.append([data.geom(name).xpos.copy() for name in posed_robot.body.foot_names])
    np.testing.assert_allclose(feet, np.tile(feet[0], (len(feet), 1, 1)), atol=1e-6)
    lowest = np.array(feet)[:, :, 2].min(axis=1)
    np.testing.assert_allclose(lowest, posed_robot.body.feet[0].radius_m, atol=1e-6)


def test_a_motion_begins_and_ends_at_rest_in_the_default_pose(posed_robot: TrainedRobot) -> None:
    reference = reference_of(posed_robot, BOW)
    for frame in (0, -1):
        np.testing.assert_allclose(reference.joint_pos[frame], posed_robot.pose_rad, atol=1e-9)
        np.testing.assert_allclose(reference.joint_vel[frame], 0.0, atol=1e-9)


def test_the_clip_of_a_task_has_names_and_rate(tmp_path: Path) -> None:
    file = tmp_path / "motion.npz"
    assert main(["--robot", "lite3_bow", "--task", "bow", "--output", str(file)]) == 0
    posed_robot = load_trained_robot("lite3_bow")
    with np.load(file) as clip:
        assert float(clip["fps"]) == 50.0
        assert tuple(clip["joint_names"]) == posed_robot.body.joint_names
        assert clip["body_quat_w"].shape == (201, 1, 4)
        np.testing.assert_array_equal(clip["joint_pos"], reference_of(posed_robot, BOW).joint_pos)
