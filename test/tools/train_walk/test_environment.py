# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The task that a policy learns is the one that the product sets it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from model_tools.simulation.controlled import ControlledPolicy, RecordingBackend
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle, parse_contract
from policy_inference.backends.registry import open_backend
from robot_sim.figures import Array
from robot_sim.walk import walk
from robot_sim.world import World
from tools.train_walk.definition import Task, TrainedRobot, load_task, load_trained_robot
from tools.train_walk.draws import Draws
from tools.train_walk.environment import Environment
from tools.train_walk.layout import ACTION_SIZE, FRAME, JOINT_VEL_SCALE, observe
from tools.train_walk.reference import make_reference
from tools.train_walk.scene import main as write_scene

BUNDLES = Path(__file__).resolve().parents[3] / "config" / "bundles"
COUNT = 20
STILL = np.zeros((COUNT, ACTION_SIZE))
TASK = load_task("walk")


@pytest.fixture(params=["lite3", "lite3_crouch", "go2"])
def trained_robot(request: pytest.FixtureRequest) -> TrainedRobot:
    return load_trained_robot(request.param)


def environment(
    trained_robot: TrainedRobot, *, task: Task = TASK, seed: int = 1, difficulty: float = 0.0
) -> Environment:
    made = Environment(trained_robot, task, COUNT, seed=seed)
    made.difficulty = difficulty
    made.reset()
    return made


def trained_contract(trained_robot: TrainedRobot) -> JointContract:
    file = BUNDLES / trained_robot.bundle / CONTRACT_FILE
    return parse_contract(file.read_bytes(), file, kind=JointContract)


def test_the_contract_says_what_is_trained(trained_robot: TrainedRobot) -> None:
    contract, body = trained_contract(trained_robot), trained_robot.body
    joints, action = contract.joints, contract.action.terms[0]
    assert joints.on_robot() == body.joint_names == tuple(action.joints)
    np.testing.assert_array_equal(joints.default_position, trained_robot.pose_rad)
    np.testing.assert_array_equal([joints.position_min, joints.position_max], body.range_rad.T)
    np.testing.assert_array_equal(joints.effort_limit, body.effort_limit_nm)
    np.testing.assert_array_equal(joints.stiffness, trained_robot.stiffness)
    np.testing.assert_array_equal(joints.damping, trained_robot.damping)
    np.testing.assert_array_equal(action.scale, trained_robot.scale_rad)
    trained = trained_contract(load_trained_robot("lite3"))
    for name, observation in trained.observations.items():
        found = contract.observations[name]
        np.testing.assert_equal(dataclasses.asdict(found), dataclasses.asdict(observation))


@pytest.mark.parametrize("name", ["lite3", "go2"])
def test_the_policy_is_trained_on_what_the_product_shows_it(name: str) -> None:
    trained_robot = load_trained_robot(name)
    bundle = load_bundle(BUNDLES / trained_robot.bundle, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    trace = walk(
        World(trained_robot.body),
        ControlledPolicy(bundle, recorder, robot=SimulatedRobot(figures=trained_robot.figures)),
        [(3.0, (0.5, 0.1, -0.3))],
        duration_s=5.0,
        until=None,
    )
    tensors = recorder.recorded()
    shown, actions = (tensors[name].astype(float) for name in ("obs", "action"))
    trace = trace.rows(slice(len(trace.time_s) - len(shown), None))
    last = np.concatenate([np.zeros((1, ACTION_SIZE)), actions[:-1]])
    down = np.tile([0.0, 0.0, -1.0], (len(last), 1))
    trained = observe(
        trace.quat_xyzw,
        down,
        trace.ang_vel_body,
        trace.command,
        trace.joint_pos - trained_robot.body.standing_rad,
        trace.joint_vel,
        last,
    )
    backend.close()
    np.testing.assert_allclose(shown, trained, atol=2e-6)
    targets = trained_robot.body.standing_rad + actions * trained_robot.scale_rad
    faded_in = slice(50, None)
    np.testing.assert_allclose(trace.target[faded_in], targets[faded_in], atol=1e-5)


def stepped(trained_robot: TrainedRobot, steps: int, seed: int, difficulty: float) -> Array:
    made = environment(trained_robot, seed=seed, difficulty=difficulty)
    random = np.random.default_rng(0)
    for _ in range(steps):
        step = made.step(random.normal(0.0, 0.5, STILL.shape))
    return np.concatenate([step.obs, step.critic_obs, step.reward[:, None]], axis=1)


def test_the_same_seed_gives_the_same_robots(trained_robot: TrainedRobot) -> None:
    first, again, other = (stepped(trained_robot, 30, seed, 1.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_a_robot_that_falls_is_reported_and_starts_again(trained_robot: TrainedRobot) -> None:
    made = environment(trained_robot)
    fallen = 0
    collapse = np.tile([0.0, 8.0, 8.0], 4) * np.repeat(-trained_robot.backward, 3)
    for _ in range(60):
        step = made.step(STILL + collapse)
        fallen += int(np.count_nonzero(step.terminated))
        assert (step.reward[step.terminated] == TASK.fall_reward).all()
        upright = step.critic_obs[step.terminated, 5]
        assert (upright < -0.9).all()
    assert fallen >= COUNT


def test_the_shipped_scene_is_what_rays_of_the_physics_find(tmp_path: Path) -> None:
    file = tmp_path / "scene.npz"
    assert write_scene(["--robot", "lite3_stairs", "--output", str(file)]) == 0
    shipped = BUNDLES / "lite3_stairs" / "scan_scene.npz"
    with np.load(file) as found, np.load(shipped) as expected:
        assert {*found} == {*expected}
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_a_robot_is_shown_the_velocity_of_its_base_last() -> None:
    made = environment(load_trained_robot("lite3_velocity"))
    step = made.step(STILL)
    np.testing.assert_array_equal(step.obs[:, -3:], step.critic_obs[:, -3:])
    np.testing.assert_allclose(step.obs[:, -3:], step.critic_obs[:, 45:48], atol=1e-12)
    places, signs = made.layout.mirrored_obs
    assert (places[-3:], signs[-3:]) == ([45, 46, 47], [1.0, -1.0, 1.0])


def test_a_robot_is_shown_the_ground_around_it_last() -> None:
    trained_robot = load_trained_robot("lite3_stairs")
    made = environment(trained_robot, task=load_task("stairs"))
    step = made.step(STILL)
    assert trained_robot.scan is not None
    ground = step.obs[:, -len(trained_robot.scan.points) :]
    assert np.isfinite(ground).all()
    np.testing.assert_allclose(ground, step.critic_obs[:, -ground.shape[1] :], atol=1e-9)


def test_on_stairs_most_commands_lead_ahead() -> None:
    robot, stairs = load_trained_robot("lite3_stairs"), load_task("stairs")
    commands = Draws(robot, stairs, COUNT, seed=1).commands(1000, 1.0)
    least = stairs.commands.single_axis_least * stairs.commands.largest[0]
    ahead = (commands[:, 0] >= least) & (np.abs(commands[:, 1]) <= 0.2 * commands[:, 0].max())
    assert ahead.mean() > 0.75


def test_a_policy_of_a_motion_is_shown_the_next_frame_in_each_tick() -> None:
    trained_robot, bow = load_trained_robot("lite3_bow"), load_task("bow")
    reference = make_reference(trained_robot, bow)
    frames = np.hstack([reference.joint_pos, JOINT_VEL_SCALE * reference.joint_vel])

    def frame_of(obs: Array) -> Array:
        shown = obs[:, 6 : 6 + FRAME.goal_size]
        errors = np.abs(shown[:, None] - frames).max(axis=2)
        np.testing.assert_array_equal(errors.min(axis=1), 0.0)
        return np.asarray(errors.argmin(axis=1))

    made = environment(trained_robot, task=bow)
    before, step = frame_of(made.reset()[0]), made.step(STILL)
    assert step.obs.shape == (COUNT, FRAME.obs_size)
    assert step.critic_obs.shape == (COUNT, FRAME.critic_size)
    # At rest, frames are alike.
    moves = (np.abs(reference.joint_vel).max(axis=1) > 0.01)[before]
    going = moves & ~(step.terminated | step.truncated)
    assert going.sum() > COUNT // 2
    np.testing.assert_array_equal(frame_of(step.obs)[going], before[going] + 1)
    assert 0.0 < made.means["follow_joints"] < 1.0
