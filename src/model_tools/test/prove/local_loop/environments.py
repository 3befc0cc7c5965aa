# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Small environments with either API, which show given rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from policy_core.interfaces import F32

from ...tiny_bundle import OBSERVATIONS, observations

SIZES = {"obs": OBSERVATIONS}
OBS = observations()


class Rows:
    """Episodes of `length` steps; a step's reward is its number in the episode, from 1."""

    def __init__(self, length: int = 4, rows: F32 = OBS) -> None:
        self.length, self.actions, self.resets = length, list[F32](), 0
        self._rows = iter(rows)

    def begin(self) -> F32:
        self.resets, self.age = self.resets + 1, 0
        return self.next_row()

    def next_row(self) -> F32:
        return next(self._rows)

    def act(self, action: F32) -> tuple[Any, float, bool]:
        self.actions.append(action)
        self.age += 1
        return self.next_row(), float(self.age), self.age == self.length


class Gymnasium(Rows):
    """As gymnasium has it; an episode is truncated at its end."""

    seed: int | None = None

    def reset(
        self, *, seed: int | None = None, options: object = None
    ) -> tuple[Any, dict[str, object]]:
        self.seed = seed or self.seed
        return self.begin(), {}

    def step(self, action: F32) -> tuple[Any, float, bool, bool, dict[str, object]]:
        row, reward, ended = self.act(action)
        return row, reward, False, ended, {}


class OldGym(Rows):
    """As gym had it; with one robot in a batch, as simulators of many give it."""

    seeded: int | None = None

    def seed(self, seed: int) -> None:
        self.seeded = seed

    def reset(self) -> Any:
        return self.begin()[None]

    def step(self, action: F32) -> tuple[Any, Any, Any, dict[str, object]]:
        row, reward, ended = self.act(action)
        return row[None], np.array([reward]), np.array([ended]), {}
