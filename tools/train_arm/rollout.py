# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measures a policy's success in closed loop, with the simulated world and LeRobot's own code."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from torch import Tensor

from robot_sim.arm_expert import EPISODE_NS, ReachJudge
from robot_sim.arm_world import ArmWorld
from tools.train_arm import unet
from tools.train_arm.demonstrations import advance_period, to_policy, to_rad
from tools.train_arm.frames import IMAGES, STATE

Kind = Literal["act", "diffusion", "flow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """One episode: whether it succeeded, the smallest distance (m) and the duration (s)."""

    seed: int
    succeeded: bool
    closest_m: float
    duration_s: float


class Runner:
    """A checkpoint, run as in LeRobot: processors, network, queue."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        """Load the policy of a checkpoint.

        Args:
            kind: Kind of the policy.
            folder: Folder of the checkpoint.
        """
        self._policy: Any
        self._sampler: unet.ChunkSampler | None = None
        if kind == "act":
            self._policy = ACTPolicy.from_pretrained(folder)
        else:
            self._policy = unet.load(kind, folder)
            self._sampler = unet.ChunkSampler(self._policy, kind)
        self._steps = self._policy.config.n_action_steps
        self._before: Any = PolicyProcessorPipeline.from_pretrained(
            folder, config_filename="policy_preprocessor.json"
        )
        self._after: Any = PolicyProcessorPipeline.from_pretrained(
            folder,
            config_filename="policy_postprocessor.json",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        )
        self._queue = deque[np.ndarray]()
        self._random = np.random.default_rng(0)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise for a chunk; empty if the policy needs none."""
        return (unet.HORIZON, self._policy.config.action_feature.shape[0]) if self._sampler else ()

    def reset(self) -> None:
        """Clear the observations and the queue; call before every episode."""
        self._queue.clear()
        if self._sampler:
            self._sampler.reset()

    def __call__(self, world: ArmWorld) -> np.ndarray:
        """Return the positions to command [6], rad."""
        observation = self.see(world)
        if not self._queue:
            noise = self._random.standard_normal(self.noise_shape, np.float32)
            self._queue.extend(to_rad(self.chunk(observation, noise)[: self._steps]))
        return self._queue.popleft()

    def see(self, world: ArmWorld) -> dict[str, Tensor]:
        """Observe the world; return the network's inputs, made by LeRobot's processors."""
        observation = {STATE: torch.from_numpy(to_policy(world.sense().joint_pos))}
        for name, key in IMAGES.items():
            image = world.render(name).transpose(2, 0, 1).astype(np.float32) / 255.0
            observation[key] = torch.from_numpy(image)
        made: dict[str, Tensor] = self._before(observation)
        if self._sampler:
            self._sampler.see(made)
        return made

    def chunk(self, observation: dict[str, Tensor], noise: np.ndarray) -> np.ndarray:
        """Return the network's output [steps, 6], in degrees, and in percent for the gripper.

        Args:
            observation: The last result of `see`.
            noise: Noise of the shape `noise_shape`.
        """
        with torch.inference_mode():
            if self._sampler is None:
                chunk = self._policy.predict_action_chunk(observation)
            else:
                chunk = self._sampler.chunk(torch.from_numpy(noise)[None])
            return np.asarray(self._after(chunk).squeeze(0).numpy())


def judge(
    policy: Callable[[ArmWorld], np.ndarray], seeds: Iterable[int], reset: Callable[[], None]
) -> list[RolloutOutcome]:
    """Run one episode per seed."""
    outcomes = []
    with closing(ArmWorld()) as world:
        for seed in seeds:
            world.reset(seed=seed)
            reset()
            reach = ReachJudge()
            while not reach.look(world.sense()) and world.time_ns < EPISODE_NS:
                advance_period(world, policy(world))
            outcomes.append(
                RolloutOutcome(
                    seed=seed,
                    succeeded=reach.succeeded,
                    closest_m=reach.closest_m,
                    duration_s=world.time_ns / 1e9,
                )
            )
    return outcomes
