# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is commanded where it is not the policy's: standing up, standing, holding, after a fault."""

from __future__ import annotations

import numpy as np

from model_tools.replaying.recorded import Recorded
from model_tools.replaying.ticks import Tick
from policy_inference.core.motions import SafeTargets, Stand
from policy_inference.interfaces import F64, Mode, OnFault


class OtherCommands:
    """Says what the commands of these modes should have been, as far as the recording tells.

    Gains, limits and feed-forward are known from the contract. A position is known but for when a
    motion began, and which of two measured poses a fault found: it must be one of the possible
    ones.
    """

    def __init__(self, recorded: Recorded, stand: Stand, safe: SafeTargets) -> None:
        """Command as these do; `stand` is left with what was commanded last."""
        self._recorded, self._stand, self._safe = recorded, stand, safe
        self.forget()

    def forget(self) -> None:
        """Know nothing of what was before; a policy takes over from the pose at the end."""
        self._stand.targets.position[:] = self._stand.pose

    def of(self, tick: Tick, before: Tick | None) -> F64 | None:
        """Return the command [6, joints] of a tick that has one; None where nothing is known.

        `before` is the tick before it, None where that is not in the recording.
        """
        commanded = self._recorded.command(tick)
        assert commanded is not None
        if tick.command_mode is Mode.DAMP or tick.mode is Mode.DAMP:
            if self._safe.on_fault is OnFault.HOLD_MEASURED:
                self._safe.targets.position[:] = self._held(commanded[0], tick, before)
            return self._safe.targets.block
        if tick.mode is Mode.HOLD:
            return None if before is None else self._recorded.command(before)
        self._stand.targets.position[:] = (
            self._stand.pose if tick.mode is Mode.READY
            else self._on_the_way(commanded[0], tick, before))
        return self._stand.targets.block

    def _held(self, position: F64, tick: Tick, before: Tick | None) -> F64:
        """Return the pose that is held after a fault: each joint where it was sent, or measured.

        On the way to a pose that was asked for it is between both.
        """
        if before is None:
            return position
        past = self._recorded.command(before)
        measured = [pose for pose in map(self._recorded.joint_pos, (tick, before))
                    if pose is not None and np.isfinite(pose).all()]
        known = [*([] if past is None else [past[0]]),
                 *measured, *map(self._safe.within_limits, measured)]
        if not known:
            return position
        if before.mode is Mode.DAMP:
            return np.clip(position, np.min(known, axis=0), np.max(known, axis=0))
        nearest = np.argmin(np.abs(np.array(known) - position), axis=0)
        found: F64 = np.array(known)[nearest, np.arange(position.size)]
        return found

    def _on_the_way(self, position: F64, tick: Tick, before: Tick | None) -> F64:
        """Return the position, brought between where standing up may have begun and its end."""
        if before is None:
            return position
        held = self._safe.on_fault is OnFault.HOLD_MEASURED  # where a motion then begins
        past = (self._recorded.command(before)
                if held or before.mode in (Mode.STAND, Mode.HOLD) else None)
        poses = [*self._stand.poses, None if past is None else past[0],
                 self._recorded.joint_pos(tick), self._recorded.joint_pos(before)]  # fmt: skip
        known = [pose for pose in poses if pose is not None and np.isfinite(pose).all()]
        return np.clip(position, np.min(known, axis=0), np.max(known, axis=0))
