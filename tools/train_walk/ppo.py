# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with a mirrored loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from robot_sim.figures import Array
from tools.train_walk.layout import ACTION_SIZE, COMMAND, LEG_SIGNS, MIRRORED_LEGS, Layout

HIDDEN = (256, 128, 64)
GAMMA, LAMBDA, CLIP, MAX_GRAD_NORM = 0.99, 0.95, 0.2, 1.0
EPOCHS, MINIBATCHES = 4, 4
SLOWEST, FASTEST, FIRST = 1e-5, 2e-3, 3e-4
MIRROR_WEIGHT, FIRST_STD = 0.5, 0.8

_LEGS, _ACTION_SIGN = [*MIRRORED_LEGS], torch.tensor(LEG_SIGNS)
IMITATIONS, IMITATED, IMITATION_RATE, IMITATED_STD = 1000, 512, 1e-3, 0.3


class Agent(nn.Module):
    """Actor on the observations, critic on those plus what only a simulator knows.

    Attributes:
        layout: What it observes.
    """

    def __init__(self, layout: Layout = COMMAND) -> None:
        """Start with small mean actions and much randomness."""
        super().__init__()
        self.layout = layout
        self.actor = _mlp(layout.obs_size, ACTION_SIZE)
        self.critic = _mlp(layout.critic_size, 1).append(nn.Flatten(0))
        self.log_std = nn.Parameter(torch.full((ACTION_SIZE,), math.log(FIRST_STD)))
        with torch.no_grad():
            last = self.actor[-1].weight
            last.mul_(0.1)

    def limit_std(self, largest: float) -> None:
        """Keep the standard deviation of all actions below `largest`."""
        with torch.no_grad():
            self.log_std.clamp_(max=math.log(largest))

    def policy(self, obs: Tensor) -> Normal:
        """Return the distribution of the action [n, 12] for observations [n, obs_size]."""
        return Normal(self.actor(obs), self.log_std.exp(), validate_args=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples to learn from; tensors have a row per sample."""

    obs: Tensor
    critic_obs: Tensor
    action: Tensor
    mean: Tensor
    log_prob: Tensor
    returns: Tensor
    advantage: Tensor

    def rows(self, chosen: Tensor) -> Batch:
        """Return some of the samples."""
        return Batch(**{name: getattr(self, name)[chosen] for name in Batch.__slots__})


def mirror_obs(obs: Tensor, layout: Layout = COMMAND) -> Tensor:
    """Return what the mirrored robot would observe, [n, obs_size]."""
    places, signs = layout.mirrored_obs
    return obs[:, places] * torch.tensor(signs)


def imitate(agent: Agent, frames: Array, pose_rad: Array, scale_rad: Array) -> None:
    """Begin with a policy that asks for the joints of the frame that it is shown, and beyond.

    What it lacks counts twice: held by the gains of walking alone, a robot sinks and tips over.

    Args:
        agent: Its layout is `FRAME`.
        frames: Joints of a motion [frames, 12], rad.
        pose_rad: What an action of 0 asks for [12].
        scale_rad: What an action of 1 adds [12].
    """
    optimizer = torch.optim.Adam(agent.actor.parameters(), lr=IMITATION_RATE)
    motion, pose, scale = to_tensor(frames), to_tensor(pose_rad), to_tensor(scale_rad)
    shown, measured = slice(6, 6 + ACTION_SIZE), slice(-3 * ACTION_SIZE, -2 * ACTION_SIZE)
    for _ in range(IMITATIONS):
        obs = IMITATED_STD * torch.randn(IMITATED, agent.layout.obs_size)
        obs[:, shown] += motion[torch.randint(len(motion), (IMITATED,))]
        wanted = obs[:, shown] - pose
        obs[:, measured] += wanted
        action = (2.0 * wanted - obs[:, measured]) / scale
        error = (agent.actor(obs) - action).pow(2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()


def mirror_action(action: Tensor) -> Tensor:
    """Return what the mirrored robot would do, [n, 12]."""
    return action[:, _LEGS] * _ACTION_SIGN


def advantages(reward: Tensor, value: Tensor, following: Tensor, alive: Tensor) -> Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016, arXiv:1506.02438), [T, n].

    Args:
        reward: [T, n], with the value of the state beyond where time ran out.
        value: [T, n], of the states acted in.
        following: [n], of the state after the last.
        alive: [T, n], 1 where the episode goes on.
    """
    gain, found = torch.zeros_like(following), []
    for t in reversed(range(len(reward))):
        delta = reward[t] + GAMMA * following * alive[t] - value[t]
        gain, following = delta + GAMMA * LAMBDA * alive[t] * gain, value[t]
        found.append(gain)
    return torch.stack(found[::-1])


class Learner:
    """Improves an agent, at a learning rate that holds the KL divergence of an update."""

    def __init__(self, agent: Agent) -> None:
        """Start with the first learning rate."""
        self.agent, self.learning_rate = agent, FIRST
        self._optimizer = torch.optim.Adam(agent.parameters(), lr=FIRST)

    def update(self, batch: Batch, *, entropy_weight: float, target_kl: float) -> float:
        """Learn from a batch; return the KL divergence from the old policy to the new one."""
        old_std = self.agent.log_std.detach().exp()
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(batch.obs)).chunk(MINIBATCHES):
                part = batch.rows(rows)
                policy = self.agent.policy(part.obs)
                self._descend(_loss(self.agent, part, policy, entropy_weight))
        divergence = self._divergence(batch, old_std)
        self._adapt(divergence, target_kl)
        return divergence

    def _divergence(self, batch: Batch, old_std: Tensor) -> float:
        with torch.no_grad():
            old = Normal(batch.mean, old_std, validate_args=False)
            return float(kl_divergence(old, self.agent.policy(batch.obs)).sum(-1).mean())

    def _adapt(self, divergence: float, target_kl: float) -> None:
        rate = self.learning_rate
        if divergence < target_kl / 1.5:
            rate *= 1.25
        elif divergence > target_kl * 1.5:
            rate /= 1.25
        self.learning_rate = min(max(rate, SLOWEST), FASTEST)
        self._optimizer.param_groups[0]["lr"] = self.learning_rate

    def _descend(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.agent.parameters(), MAX_GRAD_NORM)
        self._optimizer.step()


def _loss(agent: Agent, part: Batch, policy: Normal, entropy_weight: float) -> Tensor:
    """Return clipped surrogate, value loss, entropy bonus and left-right asymmetry in one."""
    ratio = (policy.log_prob(part.action).sum(-1) - part.log_prob).exp()
    surrogate = torch.min(
        ratio * part.advantage, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * part.advantage
    )
    value_loss = (agent.critic(part.critic_obs) - part.returns).pow(2)
    asymmetry = (mirror_action(agent.actor(mirror_obs(part.obs, agent.layout))) - policy.mean).pow(
        2
    )
    return (
        value_loss.mean()
        - surrogate.mean()
        + MIRROR_WEIGHT * asymmetry.mean()
        - entropy_weight * policy.entropy().sum(-1).mean()
    )


def to_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Copy an array into a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Build a perceptron with ELU between its layers."""
    sizes = [inputs, *HIDDEN]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
