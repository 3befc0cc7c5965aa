# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robots without physics, whose sensors are the same on every machine.

Joints follow their commands half-way in each tick, on a grid of 2^-20, under disturbances that
whole numbers make: additions, products and roots alone, which IEEE 754 fixes to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
GRID = float(1 << 20)
START_NS = 1_000_000_000
"""The first time that is shown: a stamp of 0 is none."""


def on_grid(values: F64) -> F64:
    """Round to multiples of 2^-20."""
    return np.asarray(np.round(values * GRID) / GRID)


def wave(tick: int, count: int, period: int = 50) -> F64:
    """Return `count` triangle waves in -1 ... 1, each of another period and phase."""
    places = np.arange(count)
    periods = period + 7 * places
    part = (tick + 13 * places) % periods / periods
    return on_grid(4.0 * np.abs(part - 0.5) - 1.0)


@dataclass
class Faults:
    """What is wrong with the sensors of the next tick; a case sets it, the tick clears it."""

    silent: frozenset[str] = frozenset()
    """Inputs that bring no message."""
    stamp_back_ns: dict[str, int] = field(default_factory=dict)
    """Inputs whose stamps are so much earlier."""
    change: Callable[[str, Any], None] | None = None
    """Changes a message, of the topic that is named, before it is published."""


class Joints:
    """Positions and velocities [joints] of drives that follow commands."""

    def __init__(self, names: Sequence[str], position: F64, period_s: float) -> None:
        """Begin at rest.

        Args:
            names: Of the joints, as the robot calls them.
            position: Where they are, rad.
            period_s: Time of a tick.
        """
        self.names, self.period_s = list(names), period_s
        self.position, self.velocity = on_grid(position), np.zeros(len(names))
        self._at_rest = self.position

    def follow(self, command: dict[str, Any], tick: int, disturbance: float) -> None:
        """Go half-way to the command, and be disturbed, rad; without stiffness sink to rest."""
        named = command.get("names", self.names)
        order = [named.index(name) for name in self.names]
        goal = command["position"][order]
        stiff = command.get("stiffness", np.ones(len(named)))[order] > 0.0
        towards = np.where(stiff, 0.5 * (goal - self.position), (self._at_rest - self.position) / 8)
        moved = self.position + towards
        after = on_grid(moved + disturbance * wave(tick, len(self.names)))
        self.velocity = on_grid((after - self.position) / self.period_s)
        self.position = after


def stamp(field_: Any, time_ns: int) -> None:
    """Write a time into a builtin_interfaces/Time."""
    field_.sec, field_.nanosec = divmod(time_ns, 1_000_000_000)


def tilted(roll: float, pitch: float) -> tuple[float, float, float, float]:
    """Return a unit quaternion xyzw from its x and y, whose root IEEE 754 fixes."""
    return roll, pitch, 0.0, float(np.sqrt(1.0 - roll * roll - pitch * pitch))
