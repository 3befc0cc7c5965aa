# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: collect samples, learn from them, raise the difficulty while the robots follow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tools.train_walk.environment import Environment, Step
from tools.train_walk.physics import POLICY_DT_S
from tools.train_walk.ppo import GAMMA, Agent, Batch, Learner, advantages, to_tensor

TICKS = 24
RANDOMISE_EVERY = 50
# The difficulty never falls: when it could, randomisation came and went, and learning circled.
RAISE = 0.0012
FOLLOW = {"follow_xy": 0.6, "follow_wz": 0.56, "follow_joints": 0.6}
ENTROPY_WEIGHT, TARGET_KL = 0.01, 0.02
# The last part of a run takes ever smaller steps, so that it ends in the middle of what is good.
# The actions lose their randomness: with it a robot is slower, and a policy that was trained to be
# right with it is too fast without.
CALM_SHARE, CALM_KL = 0.35, 0.004
USUAL_STD, CALM_STD = 0.25, 0.08
# What is kept is the mean of the last policies: each of them favours what its latest samples were.
AVERAGE_DECAY = 0.99


class Trainer:
    """Teaches one agent in one environment."""

    def __init__(self, environment: Environment, agent: Agent, *, samples: int) -> None:
        """Start all episodes.

        Args:
            environment: The robots.
            agent: Who learns.
            samples: After how many samples the training shall be over.
        """
        self.environment, self.agent, self.iterations = environment, agent, 0
        self._samples_per_iteration = environment.count * TICKS
        self._last_iteration = -(-samples // self._samples_per_iteration)
        self._learner = Learner(agent)
        self._average = AveragedModel(agent.actor, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY))
        self._obs, self._critic_obs = map(to_tensor, environment.reset())

    @property
    def samples(self) -> int:
        """Policy steps of single robots so far."""
        return self.iterations * self._samples_per_iteration

    @property
    def samples_wanted(self) -> int:
        """Those at the end: whole iterations."""
        return self._last_iteration * self._samples_per_iteration

    @property
    def _left(self) -> float:
        return 1.0 - self.iterations / self._last_iteration

    @property
    def done(self) -> bool:
        """Whether the training is over."""
        return self.iterations >= self._last_iteration

    def iterate(self) -> dict[str, float]:
        """Collect a batch, learn from it, move the difficulty; return figures to log."""
        environment = self.environment
        with torch.no_grad():
            batch, figures = self._collect()
        divergence = self._learner.update(
            batch, entropy_weight=self._entropy_weight(), target_kl=self._blend(CALM_KL, TARGET_KL)
        )
        if self._left < CALM_SHARE:
            self.agent.limit_std(self._blend(CALM_STD, USUAL_STD))
        if all(figures[name] > least for name, least in FOLLOW.items() if name in figures):
            environment.difficulty = min(environment.difficulty + RAISE, 1.0)
        self.iterations += 1
        self._keep_average()
        if self.iterations % RANDOMISE_EVERY == 0:
            self._obs, self._critic_obs = map(to_tensor, environment.randomise())
        return figures | {
            "kl": divergence,
            "learning_rate": self._learner.learning_rate,
            "std": float(self.agent.log_std.detach().exp().mean()),
            "difficulty": environment.difficulty,
        }

    def _blend(self, calm: float, usual: float) -> float:
        """Return `usual`, and in the calm part what leads from there to `calm`."""
        return calm + (usual - calm) * min(1.0, self._left / CALM_SHARE)

    def _entropy_weight(self) -> float:
        easing = max(0.2, 1.0 - 3.0 * self.environment.difficulty)
        return ENTROPY_WEIGHT * (easing if self._left > CALM_SHARE else 0.0)

    def _keep_average(self) -> None:
        """Average the actors of the calm part; the last iteration makes the average the actor."""
        if self._left < CALM_SHARE:
            self._average.update_parameters(self.agent.actor)
        if self.done:
            self.agent.actor.load_state_dict(self._average.module.state_dict())

    def _collect(self) -> tuple[Batch, dict[str, float]]:
        """Let the policy act for `TICKS` periods."""
        rows: list[dict[str, Tensor]] = []
        log: list[dict[str, float]] = []
        for _ in range(TICKS):
            policy, value = self.agent.policy(self._obs), self.agent.critic(self._critic_obs)
            action = policy.sample()
            step = self.environment.step(action.numpy())
            rows.append(
                {
                    "obs": self._obs,
                    "critic_obs": self._critic_obs,
                    "action": action,
                    "mean": policy.mean,
                    "log_prob": policy.log_prob(action).sum(-1),
                    "value": value,
                    "reward": self._with_bootstrap(step),
                    "alive": to_tensor(~(step.terminated | step.truncated)),
                }
            )
            log.append(self.environment.means | _outcome(step))
            self._obs, self._critic_obs = to_tensor(step.obs), to_tensor(step.critic_obs)
        stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        figures = {name: float(np.mean([entry[name] for entry in log])) for name in log[0]}
        return self._batch(stacked), figures

    def _with_bootstrap(self, step: Step) -> Tensor:
        """Return the reward, with the value of what lies beyond where only the time was over."""
        beyond = self.agent.critic(to_tensor(step.final_critic_obs))
        return to_tensor(step.reward) + GAMMA * beyond * to_tensor(step.truncated)

    def _batch(self, stacked: dict[str, Tensor]) -> Batch:
        following = self.agent.critic(self._critic_obs)
        reward, value, alive = (stacked.pop(name) for name in ("reward", "value", "alive"))
        advantage = advantages(reward, value, following, alive)
        stacked["returns"] = advantage + value
        stacked["advantage"] = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        return Batch(**{name: values.flatten(0, 1) for name, values in stacked.items()})


def _outcome(step: Step) -> dict[str, float]:
    return {
        "reward_per_s": float(step.reward.mean()) / POLICY_DT_S,
        "falls_per_min": float(step.terminated.mean()) * 60.0 / POLICY_DT_S,
    }
