# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in closed loop: the world, LeRobot's own code, no ROS."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action

from robot_sim.arm_expert import EPISODE_NS, ReachJudge
from robot_sim.arm_world import ArmWorld
from tools.train_act.demonstrations import advance_period, to_policy, to_rad
from tools.train_act.policy import CUBE, IMAGES, STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """One episode: whether it succeeded, the smallest distance on the way, m, and its length, s."""

    seed: int
    succeeded: bool
    closest_m: float
    duration_s: float


class Runner:
    """A checkpoint as LeRobot runs it: processors, network, queue."""

    def __init__(self, folder: Path, steps: int | None = None) -> None:
        """Load a checkpoint.

        Args:
            folder: Made by `policy.save`.
            steps: Of a chunk to execute, if not what the checkpoint says.
        """
        self._policy = ACTPolicy.from_pretrained(folder)
        self._policy.config.n_action_steps = steps or self._policy.config.n_action_steps
        self._before: Any = PolicyProcessorPipeline.from_pretrained(
            folder, config_filename="policy_preprocessor.json"
        )
        self._after: Any = PolicyProcessorPipeline.from_pretrained(
            folder,
            config_filename="policy_postprocessor.json",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        )

    def reset(self) -> None:
        """Forget the queue, as before every episode."""
        self._policy.reset()

    def __call__(self, world: ArmWorld) -> np.ndarray:
        """Return positions to command [6], rad."""
        with torch.inference_mode():
            action = self._after(self._policy.select_action(self._observe(world)))
        return to_rad(action.squeeze(0).numpy())

    def chunk(self, world: ArmWorld) -> np.ndarray:
        """Return what the network answers now [steps, 6], degrees and percent."""
        with torch.inference_mode():
            chunk = self._after(self._policy.predict_action_chunk(self._observe(world)))
        return np.asarray(chunk.squeeze(0).numpy())

    def _observe(self, world: ArmWorld) -> Any:
        """Return the network's inputs, made by LeRobot's processors."""
        sensed, wanted = world.sense(), self._policy.config.input_features
        observation = {STATE: torch.from_numpy(to_policy(sensed.joint_pos))}
        if CUBE in wanted:
            observation[CUBE] = torch.from_numpy(sensed.cube_world.astype(np.float32))
        for name, key in IMAGES.items():
            if key in wanted:
                image = world.render(name).transpose(2, 0, 1).astype(np.float32) / 255.0
                observation[key] = torch.from_numpy(image)
        return self._before(observation)


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
