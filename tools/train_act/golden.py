# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of raw observations and LeRobot's own answers, for `model_tools export act --golden`."""

from pathlib import Path

import numpy as np

from policy_inference.bundle.chunk_contract import GOLDEN_CAMERA, GOLDEN_CHUNK, GOLDEN_STATE
from robot_sim.arm_expert import ReachExpert
from robot_sim.arm_world import ArmWorld
from tools.train_act.demonstrations import RATE_HZ, advance_period, to_policy
from tools.train_act.rollout import Runner
from tools.train_act.scenes import CAMERAS

_SEEDS, _MOMENTS_S = (1, 2, 3), (0.0, 1.0, 3.0)


def write_golden(runner: Runner, file: Path) -> None:
    """Write moments of the expert's movement, as the cameras show them, and the policy's chunks."""
    rows: dict[str, list[np.ndarray]] = {}
    world = ArmWorld()
    for seed in _SEEDS:
        world.reset(seed=seed)
        expert = ReachExpert(world)
        for period in range(round(_MOMENTS_S[-1] * RATE_HZ) + 1):
            if period / RATE_HZ in _MOMENTS_S:
                row = {
                    GOLDEN_STATE: to_policy(world.sense().joint_pos),
                    GOLDEN_CHUNK: runner.chunk(world),
                }
                row |= {GOLDEN_CAMERA + name: world.render(name) for name in CAMERAS}
                for key, value in row.items():
                    rows.setdefault(key, []).append(value)
            advance_period(world, expert.target(world.time_ns))
    world.close()
    np.savez_compressed(
        file, allow_pickle=False, **{key: np.array(values) for key, values in rows.items()}
    )
