# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Raw observations and LeRobot's own outputs, for `model_tools export lerobot --golden`."""

from pathlib import Path

import numpy as np

from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_NOISE,
    GOLDEN_STATE,
)
from robot_sim.arm_expert import ReachExpert
from robot_sim.arm_world import ArmWorld
from tools.train_arm.demonstrations import RATE_HZ, advance_period, to_policy
from tools.train_arm.rollout import Runner
from tools.train_arm.scenes import CAMERAS

_SEEDS, _MOMENTS_S = (1, 2, 3), (0.0, 1.0, 3.0)


def write_golden(runner: Runner, file: Path, observations: int) -> None:
    """Write a policy's observations and chunks at some moments of the expert's movement.

    Args:
        runner: The policy.
        file: File to write.
        observations: Number of successive observations of the policy; if more than one, they form
            an axis after the row axis.
    """
    rows: dict[str, list[np.ndarray]] = {}
    world, random = ArmWorld(), np.random.default_rng(0)
    for seed in _SEEDS:
        world.reset(seed=seed)
        runner.reset()
        expert, seen = ReachExpert(world), list[dict[str, np.ndarray]]()
        for period in range(round(_MOMENTS_S[-1] * RATE_HZ) + 1):
            row: dict[str, np.ndarray] = {GOLDEN_STATE: to_policy(world.sense().joint_pos)}
            row |= {GOLDEN_CAMERA + name: world.render(name) for name in CAMERAS}
            seen.append(row)
            observation = runner.see(world)
            if period / RATE_HZ in _MOMENTS_S:
                noise = random.standard_normal(runner.noise_shape, np.float32)
                last = [seen[max(period - back, 0)] for back in reversed(range(observations))]
                for key in row:
                    stacked = np.stack([one[key] for one in last])
                    rows.setdefault(key, []).append(stacked if observations > 1 else stacked[0])
                if runner.noise_shape:
                    rows.setdefault(GOLDEN_NOISE, []).append(noise[np.newaxis])
                rows.setdefault(GOLDEN_CHUNK, []).append(runner.chunk(observation, noise))
            advance_period(world, expert.target(world.time_ns))
    world.close()
    np.savez_compressed(
        file, allow_pickle=False, **{key: np.array(values) for key, values in rows.items()}
    )
