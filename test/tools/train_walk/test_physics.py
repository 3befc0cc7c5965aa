# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robots that learn are robot_sim's, stepped together."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.figures import Array
from robot_sim.ground import TERRAINS, Terrain
from robot_sim.model import build_model
from robot_sim.world import World
from tools.train_walk.definition import TrainedRobot, load_task, load_trained_robot
from tools.train_walk.physics import DECIMATION, POLICY_DT_S, Dynamics, Robots, training_model
from tools.train_walk.reference import main, make_reference

COUNT = 4
DOWN = np.array([0.0, 0.0, -1.0])
ROBOT = load_trained_robot("lite3")
LITE3 = ROBOT.body


def dynamics(count: int = COUNT, **changed: Array) -> Dynamics:
    ones = np.ones(count)
    values = {
        "friction": ones,
        "payload_kg": 0.0 * ones,
        "com_offset_m": np.zeros((count, 3)),
        "stiffness": ones,
        "damping": ones,
        "armature_kgm2": 0.0 * ones,
        "joint_friction_nm": 0.0 * ones,
        "joint_damping": 0.0 * ones,
        "gravity_unit": np.tile(DOWN, (count, 1)),
    }
    return Dynamics(**values | changed)


def made_robots(
    *,
    terrain: Terrain = "tiles",
    rough: int = 0,
    step_m: float = 0.0,
    count: int = COUNT,
    threads: int = 2,
    **changed: Array,
) -> Robots:
    robots = Robots(ROBOT, count, rough={terrain: rough}, grounds=2, threads=threads)
    robots.randomise(dynamics(count, **changed), steps_m={terrain: (step_m / 2.0, step_m)}, seed=1)
    stand(robots)
    return robots


def stand(robots: Robots, height_m: float = 0.345) -> None:
    qpos = np.zeros((robots.count, 19))
    qpos[:, 2], qpos[:, 3], qpos[:, 7:] = height_m, 1.0, LITE3.standing_rad
    robots.place(np.arange(robots.count), qpos, np.zeros((robots.count, 18)))


def hold(robots: Robots, periods: int) -> None:
    for _ in range(periods):
        robots.step(np.tile(LITE3.standing_rad, (robots.count, DECIMATION, 1)))


@pytest.mark.parametrize("name", ["lite3", "go2"])
def test_the_training_model_is_robot_sims_robot(name: str) -> None:
    robot = load_trained_robot(name)
    ours, theirs = training_model(robot), build_model(robot.body)
    assert [ours.joint(i + 1).name for i in range(ours.nu)] == list(robot.body.joint_names)
    assert [ours.actuator(i).name for i in range(ours.nu)] == list(robot.body.joint_names)
    np.testing.assert_array_equal(ours.body_mass, theirs.body_mass)
    np.testing.assert_array_equal(ours.body_inertia, theirs.body_inertia)
    np.testing.assert_array_equal(ours.body_pos, theirs.body_pos)
    np.testing.assert_array_equal(ours.jnt_range, theirs.jnt_range)
    np.testing.assert_array_equal(ours.dof_armature, theirs.dof_armature)
    assert ours.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST


def test_a_robot_moves_as_in_the_world_of_robot_sim() -> None:
    """Same drives, other time step and contact solver: a fifth of a second on the feet."""
    robots, world = made_robots(), World(pose="standing")
    stand(robots, height_m=float(world.sense().pos_world[2]))
    target = LITE3.standing_rad + 0.1
    for _ in range(10):
        world.apply(position_command(target, stiffness=ROBOT.stiffness, damping=ROBOT.damping))
        world.step(round(POLICY_DT_S * 1e9))
        robots.step(np.tile(target, (COUNT, DECIMATION, 1)))
    sensed = world.sense()
    np.testing.assert_allclose(robots.qpos[0, 7:], sensed.joint_pos, atol=0.04)
    np.testing.assert_allclose(robots.qpos[0, :3], sensed.pos_world, atol=0.01)


@pytest.mark.parametrize("terrain", ["tiles", "stairs"])
def test_tiles_carry_robots_and_are_where_the_heights_say(terrain: Terrain) -> None:
    robots = made_robots(terrain=terrain, rough=2, step_m=0.1)
    half_m = float(np.prod(TERRAINS[terrain])) / 2.0
    probes = np.random.default_rng(0).uniform(-half_m, half_m, (COUNT, 50, 2))
    heights = robots.ground_m(probes)
    assert not heights[:2].any()
    assert heights[2:].max() > 0.04
    highest = probes[3, int(np.argmax(heights[3]))]
    qpos = np.zeros((1, 19))
    qpos[0, :2], qpos[0, 2], qpos[0, 3] = highest, heights[3].max() + 0.345, 1.0
    qpos[0, 7:] = LITE3.standing_rad
    robots.place(np.array([3]), qpos, np.zeros((1, 18)))
    hold(robots, 25)
    assert robots.foot_pos_world[3, :, 2].max() > 0.04
    weight_n = 9.81 * float(build_model().body_mass.sum())
    upward_n = float(robots.foot_force_n[3].mean(axis=0).sum())
    assert upward_n == pytest.approx(weight_n, rel=0.3)


BOW = load_task("bow")


@pytest.fixture(params=["lite3", "go2"])
def posed_robot(request: pytest.FixtureRequest) -> TrainedRobot:
    return load_trained_robot(request.param)


def test_feet_stay_on_the_ground_where_they_stand(posed_robot: TrainedRobot) -> None:
    reference, model = make_reference(posed_robot, BOW), build_model(posed_robot.body)
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
    reference = make_reference(posed_robot, BOW)
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
        np.testing.assert_array_equal(clip["joint_pos"], make_reference(posed_robot, BOW).joint_pos)
