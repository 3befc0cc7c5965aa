# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: denoise a new chunk so that it continues the one being executed.

While a chunk is computed, the robot executes steps of the previous one. In each denoising step, the
velocity is pulled toward these planned steps: fully for the steps that will have been executed when
the new chunk arrives, and less and less for later steps (Black et al. 2025, arXiv 2506.07339). The
correction is the same as in LeRobot, weight x (plan - actions), without the paper's gradient
through the network, so it needs only the graph's outputs.
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
"""Number of recent inferences from which the next delay is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedSteps:
    """Planned steps that a new chunk must continue.

    Attributes:
        targets: Targets [steps, actions], rad, from the new chunk's first step on.
        delay: Number of these steps that will have been executed when the chunk arrives.
    """

    targets: F64
    delay: int


class PrefixGuidance:
    """Corrects the denoising velocities so that the chunk continues the planned steps."""

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
            planned: Normalized targets [steps, actions], from the chunk's first row on.
            delay: Number of rows with full weight.
            rows: Rows of the chunk.
            schedule: Decay of the weights from 1 at the delay to 0 at the horizon.
            horizon: First row without guidance; None for the number of planned rows.
            largest_weight: Maximum weight of the whole correction, reached while the chunk is
                nearly pure noise.
        """
        count = min(len(planned), rows)
        self._planned = np.zeros((rows, planned.shape[1]), np.float32)
        self._planned[:count] = planned[:count]
        end = count if horizon is None else min(horizon, count)
        self._weights = prefix_weights(schedule, delay, end, rows)[:, np.newaxis]
        self._largest = largest_weight

    def __call__(self, x: F32, velocity: F32, time: float) -> F32:
        """Return the velocity to use; see `denoising.Guide`."""
        clean = x - np.float32(time) * velocity
        pull = (self._planned - clean) * self._weights
        return velocity - guidance_weight(time, self._largest) * pull


def prefix_weights(schedule: PrefixSchedule, delay: int, horizon: int, rows: int) -> F32:
    """Return the guidance weight of each row [rows]: 1 before `delay`, 0 from `horizon` on.

    In between, `linear` decays evenly, `exp` decays faster, `ones` stays at 1, and `zeros` drops to
    0 immediately.
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
    """Return the weight of the whole correction at a flow time (1 is noise), at most `largest`."""
    done = np.float32(1.0 - time)
    if done <= 0:
        return np.float32(largest)
    weight = (1 - done) / done * (((1 - done) ** 2 + done**2) / (1 - done) ** 2)
    return np.float32(min(weight, np.float32(largest)))


class ExecutedDelay(Stateful):
    """Predicts how many steps are executed from an observation until the chunk for it arrives."""

    STATE = ("_lately",)
    PLAN = ("_expected",)

    def __init__(self, expected: int) -> None:
        """Start without measurements; until the first one, predict `expected` steps."""
        self._expected = expected
        self._lately = deque[int](maxlen=_DELAYS)

    def add(self, steps: int) -> None:
        """Add a measured number of steps."""
        self._lately.append(steps)

    @property
    def steps(self) -> int:
        """Maximum of the recent delays: with a smaller one, a chunk could change executed steps."""
        return max(self._lately, default=self._expected)
