# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Adapts the environment to rsl_rl's runner, and schedules rsl_rl's PPO during a training run."""

from __future__ import annotations

import math
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robot_sim.errors import SimError
from robot_sim.figures import Array
from tools.train_walk.environment import Environment
from tools.train_walk.layout import ACTION_SIZE, LEG_SIGNS, MIRRORED_LEGS, Layout
from tools.train_walk.physics import POLICY_DT_S

HIDDEN = (256, 128, 64)
TICKS = 24
# The difficulty never falls: when it could, randomization oscillated, and so did learning.
FOLLOW = {"follow_xy": 0.6, "follow_wz": 0.56, "follow_joints": 0.6, "advancing": 0.85}
ENTROPY_WEIGHT, TARGET_KL, MIRROR_WEIGHT = 0.01, 0.02, 0.5
FIRST_STD, FIRST_RATE, SAVE_EVERY = 0.8, 3e-4, 200
# The last part of a run takes ever smaller steps, so that it ends in the middle of the optimum. The
# actions lose their randomness: with randomness, a robot is slower, and a policy trained with it is
# too fast without it.
CALM_SHARE, CALM_KL = 0.35, 0.004
USUAL_STD, CALM_STD = 0.25, 0.08
# the result is the mean of the last policies: each of them favors its latest samples
AVERAGE_DECAY = 0.99
IMITATIONS, IMITATED, IMITATION_RATE, IMITATED_STD = 1000, 512, 1e-3, 0.3


class WalkEnv(VecEnv):
    """Robots behind rsl_rl's interface; the difficulty rises while the robots follow commands."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.num_envs, self.num_actions = environment.count, ACTION_SIZE
        self.max_episode_length = environment.task.episode_ticks
        self.device, self.cfg = "cpu", dict[str, object]()
        self._latest = list[dict[str, float]]()
        self._obs = _groups(*environment.reset())

    def get_observations(self) -> TensorDict:
        """Return the observations of actor and critic."""
        return self._obs

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Apply the policy's outputs [robots, 12] for one period."""
        environment = self.environment
        step = environment.step(actions.numpy())
        figures = environment.means | {
            "reward_per_s": float(step.reward.mean()) / POLICY_DT_S,
            "falls_per_min": float(step.terminated.mean()) * 60.0 / POLICY_DT_S,
            "difficulty": environment.difficulty,
        }
        self._latest.append(environment.means)
        if len(self._latest) == TICKS:
            self._raise_difficulty()
        self._obs = _groups(step.obs, step.critic_obs)
        extras = {
            "time_outs": to_tensor(step.truncated),
            "log": {f"Task/{name}": value for name, value in figures.items()},
        }
        dones = torch.from_numpy(step.terminated | step.truncated)
        return self._obs, to_tensor(step.reward), dones, extras

    def _raise_difficulty(self) -> None:
        following = FOLLOW.keys() & self._latest[0].keys()
        if all(np.mean([one[name] for one in self._latest]) > FOLLOW[name] for name in following):
            environment = self.environment
            environment.difficulty = min(
                environment.difficulty + environment.task.difficulty_step, 1.0
            )
        self._latest.clear()


class CalmingPPO(PPO):
    """PPO whose last updates are small; the final actor is an average over these updates."""

    def __init__(self, *args: Any, updates: int, **kwargs: Any) -> None:
        """Take rsl_rl's arguments, and the number of updates in the whole training run."""
        super().__init__(*args, **kwargs)
        self._updates, self._done = updates, 0
        self._average = AveragedModel(
            self.actor.mlp, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY)
        )

    @property
    def _left(self) -> float:
        return 1.0 - self._done / self._updates

    def update(self) -> dict[str, float]:
        difficulty = self.symmetry.env.environment.difficulty
        easing = max(0.2, 1.0 - 3.0 * difficulty) if self._left > CALM_SHARE else 0.0
        self.entropy_coef = ENTROPY_WEIGHT * easing
        self.desired_kl = self._blend(CALM_KL, TARGET_KL)
        losses: dict[str, float] = super().update()
        self._done += 1
        if self._left < CALM_SHARE:
            largest = math.log(self._blend(CALM_STD, USUAL_STD))
            self.actor.distribution.log_std_param.data.clamp_(max=largest)
            self._average.update_parameters(self.actor.mlp)
        if self._done == self._updates:
            self.actor.mlp.load_state_dict(self._average.module.state_dict())
        return losses

    def _blend(self, calm: float, usual: float) -> float:
        """Return `usual`, or, in the final calm part, a value between it and `calm`."""
        return calm + (usual - calm) * min(1.0, self._left / CALM_SHARE)


def new_runner(environment: Environment, folder: Path | None, *, samples: int) -> OnPolicyRunner:
    """Return rsl_rl's runner for a training run with at least `samples` policy steps.

    Args:
        environment: The robots.
        folder: Folder for checkpoints and TensorBoard curves; None to write neither.
        samples: Number of policy steps, summed over all robots.
    """
    network = {"class_name": "MLPModel", "hidden_dims": HIDDEN, "activation": "elu"}
    runner = OnPolicyRunner(
        WalkEnv(environment),
        {
            "num_steps_per_env": TICKS,
            "save_interval": SAVE_EVERY,
            "obs_groups": {"actor": ["actor"], "critic": ["critic"]},
            "actor": {
                **network,
                "distribution_cfg": {
                    "class_name": "GaussianDistribution",
                    "init_std": FIRST_STD,
                    "std_type": "log",
                },
            },
            "critic": network,
            "algorithm": {
                "class_name": CalmingPPO,
                "updates": -(-samples // (environment.count * TICKS)),
                "num_learning_epochs": 4,
                "learning_rate": FIRST_RATE,
                "use_clipped_value_loss": False,
                "symmetry_cfg": {
                    "data_augmentation_func": with_mirrored,
                    "use_mirror_loss": True,
                    "mirror_loss_coeff": MIRROR_WEIGHT,
                },
            },
        },
        log_dir=None if folder is None else str(folder),
    )
    with torch.no_grad():  # small mean actions at first
        runner.alg.actor.mlp[-1].weight.mul_(0.1)
    return runner


def with_mirrored(
    env: WalkEnv, obs: TensorDict | None, actions: Tensor | None
) -> tuple[TensorDict | None, Tensor | None]:
    """Return observations and actions [n, ...] with those of the mirrored robots [2 n, ...]."""
    if actions is not None:
        actions = torch.cat([actions, mirror_action(actions)])
    if obs is not None:  # only the actor uses the mirror loss
        mirrored = obs.clone()
        mirrored["actor"] = mirror_obs(obs["actor"], env.environment.layout)
        obs = torch.cat([obs, mirrored])
    return obs, actions


def mirror_obs(obs: Tensor, layout: Layout) -> Tensor:
    """Return the observation of the mirrored robot [n, obs_size]."""
    places, signs = layout.mirrored_obs
    return obs[:, places] * torch.tensor(signs)


def mirror_action(action: Tensor) -> Tensor:
    """Return the action of the mirrored robot [n, 12]."""
    return action[:, [*MIRRORED_LEGS]] * torch.tensor(LEG_SIGNS)


def start_from(alg: PPO, checkpoint: Path) -> None:
    """Load actor and critic from another training run, which may lack the last inputs.

    Such inputs (a height scan, or the velocity of the base) have no effect at first.
    """
    try:
        content = torch.load(checkpoint, weights_only=True)
        for part, model in (("actor", alg.actor), ("critic", alg.critic)):
            weights, first = _weights(content, part), "0.weight"
            lacks = model.mlp[0].in_features - weights[first].shape[1]
            weights[first] = torch.nn.functional.pad(weights[first], (0, max(0, lacks)))
            model.mlp.load_state_dict(weights)
    except (KeyError, OSError, RuntimeError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise SimError(f"{checkpoint}: expected a training checkpoint, found: {reason}") from error


def _weights(content: dict[str, Any], part: str) -> dict[str, Tensor]:
    """Return one network's weights, from rsl_rl 4 or later or an earlier combined network."""
    if (own := f"{part}_state_dict") in content:
        content, part = content[own], "mlp"
    return {
        name.removeprefix(f"{part}."): value
        for name, value in content.items()
        if name.startswith(f"{part}.")
    }


def imitate(actor: Any, frames: Array, pose_rad: Array, scale_rad: Array) -> None:
    """Initialize a policy that targets the joints of the observed frame plus the remaining error.

    The error thus counts twice, because a robot with the gains used for walking would otherwise
    sink and tip over.

    Args:
        actor: Layers of the policy, whose observation has the layout `FRAME`.
        frames: Joint positions of a motion [frames, 12], rad.
        pose_rad: Target for an action of 0 [12].
        scale_rad: Change of the target for an action of 1 [12].
    """
    optimizer = torch.optim.Adam(actor.parameters(), lr=IMITATION_RATE)
    motion, pose, scale = to_tensor(frames), to_tensor(pose_rad), to_tensor(scale_rad)
    shown, measured = slice(6, 6 + ACTION_SIZE), slice(-3 * ACTION_SIZE, -2 * ACTION_SIZE)
    for _ in range(IMITATIONS):
        obs = IMITATED_STD * torch.randn(IMITATED, actor[0].in_features)
        obs[:, shown] += motion[torch.randint(len(motion), (IMITATED,))]
        wanted = obs[:, shown] - pose
        obs[:, measured] += wanted
        action = (2.0 * wanted - obs[:, measured]) / scale
        error = (actor(obs) - action).pow(2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()


def to_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Copy an array into a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))


def _groups(obs: Array, critic_obs: Array) -> TensorDict:
    return TensorDict(
        {"actor": to_tensor(obs), "critic": to_tensor(critic_obs)}, batch_size=[len(obs)]
    )
