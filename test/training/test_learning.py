# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""rsl_rl gets the environment that it expects, and the schedule ends where it should."""

from __future__ import annotations

import pytest
import torch

from tools.train_walk.definition import load_task, load_trained_robot
from tools.train_walk.environment import Environment
from tools.train_walk.layout import ACTION_SIZE, COMMAND, FRAME, Layout
from tools.train_walk.learning import (
    CALM_KL,
    FIRST_STD,
    RAISE,
    TICKS,
    WalkEnv,
    imitate,
    mirror_action,
    mirror_obs,
    new_runner,
)
from tools.train_walk.reference import reference_of

COUNT = 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def environment(task: str = "walk") -> Environment:
    return Environment(load_trained_robot("lite3"), load_task(task), COUNT, seed=1)


@pytest.mark.parametrize("layout", [COMMAND, FRAME], ids=["command", "frame"])
def test_the_mirror_of_a_mirror_is_the_robot(layout: Layout) -> None:
    obs, action = torch.randn(4, layout.obs_size), torch.randn(4, ACTION_SIZE)
    assert torch.equal(mirror_obs(mirror_obs(obs, layout), layout), obs)
    assert torch.equal(mirror_action(mirror_action(action)), action)


def test_a_mirrored_robot_turns_and_leans_to_the_other_side() -> None:
    obs = torch.zeros(1, COMMAND.obs_size)
    obs[0, [1, 3, 6, 7, 8]] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    obs[0, 9] = 0.6  # FL_HipX, outward
    mirrored = mirror_obs(obs, COMMAND)
    assert mirrored[0, [1, 3, 6, 7, 8]].tolist() == pytest.approx([0.1, 0.2, 0.3, -0.4, -0.5])
    assert float(mirrored[0, 12]) == pytest.approx(-0.6)  # FR_HipX, outward too


@pytest.mark.parametrize(("follows", "raised"), [(0.9, RAISE), (0.1, 0.0)])
def test_the_difficulty_rises_only_while_robots_follow(
    follows: float, raised: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = WalkEnv(environment())

    def means(*_: object) -> dict[str, float]:
        return {"follow_xy": follows, "follow_wz": 0.9}

    monkeypatch.setattr(Environment, "means", property(means, lambda *_: None), raising=False)
    for _ in range(TICKS):
        obs, reward, dones, extras = env.step(torch.zeros(COUNT, ACTION_SIZE))
    assert env.environment.difficulty == raised
    assert obs["actor"].shape == (COUNT, COMMAND.obs_size)
    assert obs["critic"].shape == (COUNT, COMMAND.critic_size)
    assert reward.shape == dones.shape == extras["time_outs"].shape == (COUNT,)


def test_a_training_ends_calm() -> None:
    runner = new_runner(environment(), None, samples=3 * COUNT * TICKS)
    assert float(
        runner.alg.actor.distribution.log_std_param.detach().exp().mean()
    ) == pytest.approx(FIRST_STD)
    runner.learn(3)
    assert runner.alg.entropy_coef == 0.0
    assert CALM_KL < runner.alg.desired_kl < 0.02
    assert float(runner.alg.actor.distribution.log_std_param.detach().exp().max()) <= 0.0801


def test_a_beginner_of_a_motion_asks_for_its_frames_and_beyond_what_is_missing() -> None:
    robot = load_trained_robot("lite3_bow")
    frames = reference_of(robot, load_task("bow")).joint_pos
    actor = new_runner(environment("bow"), None, samples=1).alg.actor.mlp
    imitate(actor, frames, robot.pose_rad, robot.scale_rad)
    obs = torch.zeros(2, FRAME.obs_size)
    frame = torch.tensor(frames[70], dtype=torch.float32)
    pose, scale = torch.tensor(robot.pose_rad), torch.tensor(robot.scale_rad)
    obs[:, 6:18], obs[:, 30:42] = frame, frame - pose
    obs[1, 30:42] += 0.1
    with torch.no_grad():
        targets = pose + actor(obs) * scale
    assert float((targets[0] - frame).abs().max()) < 0.05
    assert float((targets[1] - (frame - 0.1)).abs().max()) < 0.05
