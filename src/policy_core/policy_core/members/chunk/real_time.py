# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: a new chunk is made so that it continues the one that is executed.

While a chunk is computed, the robot executes steps of the one before. In each denoising step, the
velocity is pulled towards those planned steps: wholly for the steps that will have been executed
when the chunk arrives, less and less for the steps after them (Black et al. 2025, arXiv
2506.07339). The correction is that of LeRobot, weight x (plan - actions), without the gradient
through the network that the paper has, so it needs nothing but the graph's answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from policy_core.control_state import Stateful
from policy_core.interfaces import F32, F64

PrefixSchedule = Literal["linear", "exp", "ones", "zeros"]
PREFIX_SCHEDULES: tuple[str, ...] = get_args(PrefixSchedule)
_DELAYS = 10
"""So many inferences count for the next one's delay: one slow one is forgotten after them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedSteps:
    """What a new chunk continues: targets [steps, actions], rad, the first for its first step.

    `delay` of them will have been executed when the chunk arrives, those since its observation
    included.
    """

    targets: F64
    delay: int


class PrefixGuidance:
    """Changes the velocities of one chunk so that it continues planned steps."""

    def __init__(
        self,
        planned: F64,
        delay: int,
        rows: int,
        *,
        schedule: PrefixSchedule,
        horizon: int | None,
        largest_weight: float,
    ) -> None:
        """Compute the weight of each row.

        Args:
            planned: Normalised targets [steps, actions], the first for the chunk's first row.
            delay: How many of them count wholly.
            rows: Of the chunk.
            schedule: How the weights fall from 1, at the delay, to 0, at the horizon.
            horizon: From which row on nothing is pulled; as many as are planned if None.
            largest_weight: Of the whole correction, near the noise.
        """
        count = min(len(planned), rows)
        self._planned = np.zeros((rows, planned.shape[1]), np.float32)
        self._planned[:count] = planned[:count]
        end = count if horizon is None else min(horizon, count)
        self._weights = prefix_weights(schedule, delay, end, rows)[:, np.newaxis]
        self._largest = largest_weight

    def __call__(self, x: F32, velocity: F32, time: float) -> F32:
        """Return the velocity to take, as `denoising.Guide`."""
        clean = x - np.float32(time) * velocity
        pull = (self._planned - clean) * self._weights
        return velocity - guidance_weight(time, self._largest) * pull


def prefix_weights(schedule: PrefixSchedule, delay: int, horizon: int, rows: int) -> F32:
    """Return how much each row [rows] is pulled: 1 before `delay`, 0 from `horizon` on.

    Between them linear falls evenly, exp faster, ones not at all, and zeros is 0 at once.
    """
    row, start, end = np.arange(rows), min(delay, horizon), min(horizon, rows)
    if schedule == "zeros":
        return (row < start).astype(np.float32)
    if schedule == "ones":
        return (row < end).astype(np.float32)
    falling = max(end - start, 0)
    line = (1.0 - np.arange(1, falling + 1) / (falling + 1)).astype(np.float32)
    if schedule == "exp":
        line = line * np.expm1(line) / np.float32(np.e - 1)
    weights = (row < start).astype(np.float32)
    weights[start : start + falling] = line
    return weights


def guidance_weight(time: float, largest: float) -> np.float32:
    """Return the weight of the correction at a time, 1 is noise; it is least in the middle."""
    done = np.float32(1.0 - time)
    if done <= 0:
        return np.float32(largest)
    weight = (1 - done) / done * (((1 - done) ** 2 + done**2) / (1 - done) ** 2)
    return np.float32(min(weight, np.float32(largest)))


class ExecutedDelay(Stateful):
    """How many steps are executed between an observation and its chunk, as it was lately."""

    STATE = ("_lately",)
    PLAN = ("_expected",)

    def __init__(self, expected: int) -> None:
        """Expect so many until a chunk has come while steps were executed."""
        self._expected = expected
        self._lately = deque[int](maxlen=_DELAYS)

    def add(self, steps: int) -> None:
        """Note how many were executed for a chunk that came."""
        self._lately.append(steps)

    @property
    def steps(self) -> int:
        """The most of lately: with fewer, what was executed already would be changed."""
        return max(self._lately, default=self._expected)
