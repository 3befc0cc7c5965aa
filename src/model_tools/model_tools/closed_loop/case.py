# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A walk that a policy is asked for in closed loop, and what it must not exceed there.

Errors are |mean velocity after 2 s of a command - command| in the yaw-aligned base frame, and
where there are several commands the mean of those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_sim.faults import Fault
from robot_sim.ground import LEVEL, Ground
from robot_sim.walk import Schedule, evenly_timed

PUSHED_AT_S, PUSH_S, PUSH_N = 5.0, 0.1, 100.0
MIXED_EACH_S, MIXED_LARGEST = 4.0, 0.8
Velocity = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a case must not exceed, beside that the robot does not fall.

    Attributes:
        error: On any axis, m/s and rad/s.
        tilt_deg: At any time.
        torque_limit_share: Share of samples (joint x physics step) at the torque limit.
        action_change: Mean |change of the action from tick to tick|.
        altered_share: Share of ticks in which the guard changes a target.
    """

    error: float = np.inf
    tilt_deg: float = np.inf
    torque_limit_share: float = np.inf
    action_change: float = np.inf
    altered_share: float = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One walk.

    Attributes:
        name: Says what is special about it.
        group: The row of the summary to which it belongs.
        schedule: Commands by time since the case began.
        duration_s: Its length.
        push: Side from which the robot is pushed at `PUSHED_AT_S`.
        friction, latency_ms, ground, payload_kg: The world.
        limits: What it must not exceed; None where it is only measured.
    """

    name: str
    group: str
    schedule: Schedule
    duration_s: float = 20.0
    push: str | None = None
    friction: float = 1.0
    latency_ms: int = 0
    ground: Ground = LEVEL
    payload_kg: float = 0.0
    limits: Limits | None = Limits()

    def faults(self, start_s: float) -> list[Fault]:
        """Return the push of a case that begins at `start_s` on the world's clock."""
        if self.push is None:
            return []
        return [Fault(kind="push", target=self.push, start_s=start_s + PUSHED_AT_S,
                      duration_s=PUSH_S, value=PUSH_N)]  # fmt: skip


def steady(*velocity: float) -> Schedule:
    """Return one command for the whole case."""
    vx, vy, wz = velocity
    return [(0.0, (vx, vy, wz))]


def mixed(duration_s: float, seed: int) -> Schedule:
    """Return commands that jump on all axes at once; one in ten is zero."""
    count = int(np.ceil(duration_s / MIXED_EACH_S))
    random = np.random.default_rng(seed)
    commands = random.uniform(-MIXED_LARGEST, MIXED_LARGEST, (count, 3))
    commands[9::10] = 0.0
    return evenly_timed(commands.tolist(), each_s=MIXED_EACH_S)
