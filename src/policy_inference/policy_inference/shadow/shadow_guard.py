# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Effect that the guard would have on a shadow's targets if the shadow were active."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import Body
from policy_core.guard.bounds import CLIPPED_TICKS_LIMIT, Rule, TargetBounds, joint_limits
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Command


class ShadowGuard:
    """Limits a shadow's commands as the guard would, and names the rules that act."""

    def __init__(
        self, body: Body, action: Command, limits: Limits, active: Body, active_action: Command
    ) -> None:
        """Compute the limits.

        Args:
            body: The shadow's contract.
            action: Commands of the shadow.
            limits: Limits that would be in force if the shadow were active.
            active: The active policy's contract; targets are checked against its joint limits.
            active_action: Commands of the active policy.
        """
        self._bounds = TargetBounds(body, action, limits.margin)
        self._pose = body.stand.position
        self._low, self._high = joint_limits(active, active_action)
        self._clipped_ticks = 0

    def restart(self) -> None:
        """Measure steps from the stand pose, where a run begins."""
        self._bounds.reset(self._pose)
        self._clipped_ticks = 0

    def follow(self, command: F64) -> None:
        """Measure the next step from this command [joints of the shadow]."""
        self._bounds.count_from(command)

    def act(self, command: F64, joint_pos: F64, joint_vel: F64) -> tuple[str, ...]:
        """Clip a command [joints of the shadow] in place; return the rules that acted.

        Args:
            command: Command to clip; finite, in the units of its command kinds.
            joint_pos: Measured positions [joints of the shadow], rad.
            joint_vel: Measured velocities [joints of the shadow], rad/s.
        """
        acted = self._bounds.apply(command, joint_pos, joint_vel)
        beyond_nominal = acted and acted != (Rule.POSITION_LIMIT,)
        self._clipped_ticks = self._clipped_ticks + 1 if beyond_nominal else 0
        if self._clipped_ticks == CLIPPED_TICKS_LIMIT:
            acted = (*acted, Rule.CLIPPED_TOO_LONG)
        return tuple(rule.value for rule in acted)

    def is_beyond_limits(self, target: F64, active_target: F64) -> bool:
        """Return True if a target exceeds a joint limit that the active policy's does not exceed.

        Args:
            target: Target of the shadow [joints of the active contract].
            active_target: Target of the active policy [joints of the active contract].
        """
        added = self._exceeds(target) & ~self._exceeds(active_target)
        return bool(added.any())

    def _exceeds(self, target: F64) -> npt.NDArray[np.bool_]:
        return np.asarray((target < self._low) | (target > self._high))
