# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The velocity command: clipped to the trained range, faded out when it is too old."""

from __future__ import annotations

import math

import numpy as np

from policy_core.bundle.contract import VelocityCommand
from policy_core.control_state import Stateful, Tree
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64


class CommandFader(Stateful):
    """Keeps the newest velocity command [vx, vy, yaw rate] (m/s, m/s, rad/s, body frame).

    A command older than the time-out fades linearly to zero: never held, never damped.
    """

    STATE = ("_wanted", "_born_ns", "fading", "_closed")
    PLAN = ("_low", "_high")

    def __init__(self, out: F64 | None, trained: VelocityCommand | None, limits: Limits) -> None:
        """Write into `out` [3] at each `update`; None where the policy takes no command."""
        self._out = out
        self._low, self._high = (
            (trained.min, trained.max) if trained else ((-math.inf,) * 3, (math.inf,) * 3)
        )
        self._limits = limits
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Command zero until a new command comes."""
        self._wanted: F64 = np.zeros(3)
        self._born_ns: int | None = None
        self.fading = False
        if self._out is not None:
            self._out[:] = 0.0

    def set(self, velocity: tuple[float, float, float], born_ns: int) -> bool:
        """Take a new command; return False for one that is not finite, which is not taken."""
        if not all(map(math.isfinite, velocity)):
            return False
        if self._closed:
            return True
        self._born_ns = born_ns
        for i, value in enumerate(velocity):
            self._wanted[i] = min(max(value, self._low[i]), self._high[i])
        return True

    def narrow(self, within: VelocityCommand) -> None:
        """Clip commands to this range as well."""
        self._low = tuple(map(max, self._low, within.min))
        self._high = tuple(map(min, self._high, within.max))

    def close(self, now_ns: int) -> None:
        """Fade to zero from now on, as if the last command were too old; take none before `open`.

        A run opens it as it begins. The fade is not one that `update` reports.
        """
        self._closed = self.fading = True
        if self._born_ns is not None:
            self._born_ns = min(self._born_ns, now_ns - self._limits.command_timeout_ns)

    def open(self) -> None:
        """Take commands again."""
        self._closed = False

    def restore(self, saved: Tree) -> None:
        """Go on with the command of another policy, clipped to what this one was trained for."""
        super().restore(saved)
        self._wanted = np.clip(self._wanted, self._low, self._high)

    def update(self, now_ns: int) -> bool:
        """Write the command of this tick; return True in the tick in which it begins to fade."""
        if self._out is None or self._born_ns is None:
            return False
        if now_ns < self._born_ns:
            # The clock was reset: the age is not known, and would stay small for long.
            self.reset()
            return True
        late_ns = now_ns - self._born_ns - self._limits.command_timeout_ns
        began = late_ns > 0 and not self.fading
        self.fading = late_ns > 0
        if not self.fading:
            self._out[...] = self._wanted
        elif late_ns >= self._limits.command_ramp_ns:
            self._out[:] = 0.0
        else:
            np.multiply(self._wanted, 1.0 - late_ns / self._limits.command_ramp_ns, out=self._out)
        return began
