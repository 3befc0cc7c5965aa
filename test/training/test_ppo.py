# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The learner does what the papers say, and knows left from right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tools.train_walk.definition import load_task, load_trained_robot
from tools.train_walk.layout import ACTION_SIZE, COMMAND, FRAME, Layout
from tools.train_walk.ppo import (
    FIRST_STD,
    GAMMA,
    LAMBDA,
    Agent,
    Batch,
    Learner,
    advantages,
    imitate,
    mirror_action,
    mirror_obs,
)
from tools.train_walk.reference import reference_of


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_advantages_are_the_discounted_sums_of_surprises() -> None:
    reward, value = torch.randn(5, 3), torch.randn(5, 3)
    following, alive = torch.randn(3), torch.ones(5, 3)
    alive[2, 1] = 0.0  # one episode ends on the way
    found = advantages(reward, value, following, alive)
    later = torch.cat([value[1:], following[None]])
    surprise = reward + GAMMA * later * alive - value
    for robot in range(3):
        for t in range(5):
            expected, weight = 0.0, 1.0
            for k in range(t, 5):
                expected += weight * float(surprise[k, robot])
                weight *= GAMMA * LAMBDA * float(alive[k, robot])
            assert float(found[t, robot]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layout", [COMMAND, FRAME], ids=["command", "frame"])
def test_the_mirror_of_a_mirror_is_the_robot(layout: Layout) -> None:
    obs, action = torch.randn(4, layout.obs_size), torch.randn(4, ACTION_SIZE)
    assert torch.equal(mirror_obs(mirror_obs(obs, layout), layout), obs)
    assert torch.equal(mirror_action(mirror_action(action)), action)


def test_a_mirrored_robot_turns_and_leans_to_the_other_side() -> None:
    obs = torch.zeros(1, COMMAND.obs_size)
    obs[0, [1, 3, 6, 7, 8]] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    obs[0, 9] = 0.6  # FL_HipX, outward
    mirrored = mirror_obs(obs)
    assert mirrored[0, [1, 3, 6, 7, 8]].tolist() == pytest.approx([0.1, 0.2, 0.3, -0.4, -0.5])
    assert float(mirrored[0, 12]) == pytest.approx(-0.6)  # FR_HipX, outward too


def batch(agent: Agent, reward: Tensor) -> Batch:
    obs, critic_obs = (
        torch.randn(len(reward), size) for size in (COMMAND.obs_size, COMMAND.critic_size)
    )
    with torch.no_grad():
        policy = agent.policy(obs)
        action = policy.sample()
        return Batch(
            obs=obs,
            critic_obs=critic_obs,
            action=action,
            mean=policy.mean,
            log_prob=policy.log_prob(action).sum(-1),
            returns=reward,
            advantage=(action[:, 0] - policy.mean[:, 0]) * reward,
        )


def test_an_action_that_was_better_than_expected_becomes_likelier() -> None:
    agent = Agent()
    part = batch(agent, torch.ones(2000))
    learner = Learner(agent)
    for _ in range(20):
        learner.update(part, entropy_weight=0.0, target_kl=0.02)
    with torch.no_grad():
        moved = (agent.actor(part.obs) - part.mean).mean(dim=0)
        error = (agent.critic(part.critic_obs) - 1.0).abs().mean()
    assert float(moved[0]) > 0.05
    assert float(error) < 0.5


@pytest.mark.parametrize(("target_kl", "faster"), [(1e-9, False), (1e3, True)])
def test_the_learning_rate_follows_the_divergence(target_kl: float, faster: bool) -> None:
    agent = Agent()
    learner = Learner(agent)
    before = learner.learning_rate
    learner.update(batch(agent, torch.ones(500)), entropy_weight=0.0, target_kl=target_kl)
    assert (learner.learning_rate > before) == faster


def test_actor_and_critic_have_the_sizes_of_the_contract() -> None:
    agent = Agent()
    assert agent.actor(torch.zeros(2, COMMAND.obs_size)).shape == (2, ACTION_SIZE)
    assert agent.critic(torch.zeros(2, COMMAND.critic_size)).shape == (2,)
    assert np.isclose(
        float(agent.policy(torch.zeros(1, COMMAND.obs_size)).stddev.mean()), FIRST_STD
    )


def test_a_beginner_of_a_motion_asks_for_its_frames_and_beyond_what_is_missing() -> None:
    robot = load_trained_robot("lite3_bow")
    frames = reference_of(robot, load_task("bow")).joint_pos
    agent = Agent(FRAME)
    imitate(agent, frames, robot.pose_rad, robot.scale_rad)
    obs = torch.zeros(2, FRAME.obs_size)
    frame = torch.tensor(frames[70], dtype=torch.float32)
    pose, scale = torch.tensor(robot.pose_rad), torch.tensor(robot.scale_rad)
    obs[:, 6:18], obs[:, 30:42] = frame, frame - pose
    obs[1, 30:42] += 0.1
    with torch.no_grad():
        targets = pose + agent.actor(obs) * scale
    assert float((targets[0] - frame).abs().max()) < 0.05
    assert float((targets[1] - (frame - 0.1)).abs().max()) < 0.05
