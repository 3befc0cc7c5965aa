# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Targets that do not come from the policy: standing up, and what stands in after a fault."""

from __future__ import annotations

import numpy as np

from policy_inference.bundle.body import Body
from policy_inference.bundle.joint_values import per_joint
from policy_inference.interfaces import F64, JointTargets, OnFault


class Stand:
    """Moves from a measured pose to the contract's stand pose on a smooth curve."""

    def __init__(self, body: Body, effort_limit: F64) -> None:
        """Prepare targets with the stand gains."""
        stand, names = body.stand, body.joints.names
        self.targets = JointTargets(len(names))
        self.targets.stiffness[:] = per_joint(stand.stiffness, names)
        self.targets.damping[:] = per_joint(stand.damping, names)
        self.targets.effort_limit[:] = effort_limit
        self.pose: F64 = per_joint(stand.position, names)
        self._tolerance: F64 = per_joint(stand.tolerance, names)
        self._names = names
        self._duration_ns = max(1, round(stand.duration_s * 1e9))
        self._start = self.pose.copy()
        self._began_ns = 0

    def begin(self, joint_pos: F64, now_ns: int) -> None:
        """Start from the measured pose [joints]."""
        self._start[:] = joint_pos
        self._began_ns = now_ns

    def pause(self, duration_ns: int) -> None:
        """Leave out a time in which the motion was held."""
        self._began_ns += duration_ns

    def update(self, now_ns: int) -> bool:
        """Write the targets of this time; return whether the motion has ended."""
        share = min(1.0, max(0, now_ns - self._began_ns) / self._duration_ns)
        smooth = share * share * (3.0 - 2.0 * share)
        self.targets.position[:] = self._start + smooth * (self.pose - self._start)
        return share >= 1.0

    def continue_from(self, before: Stand) -> None:
        """Go on with the motion of another, to the same pose."""
        self._start[:], self._began_ns = before._start, before._began_ns
        self.targets.block[:] = before.targets.block

    def differences(self, before: Stand) -> list[str]:
        """Return what this one commands otherwise."""
        mine, theirs = self.targets, before.targets
        same = {
            "stand.position": np.array_equal(self.pose, before.pose),
            "stand.stiffness": np.array_equal(mine.stiffness, theirs.stiffness),
            "stand.damping": np.array_equal(mine.damping, theirs.damping),
            "stand.duration_s": self._duration_ns == before._duration_ns,
            "joints.effort_limit": np.array_equal(mine.effort_limit, theirs.effort_limit),
        }
        return [key for key, is_same in same.items() if not is_same]

    def far_off(self, joint_pos: F64) -> list[str]:
        """Return the joints that are further from the stand pose than RUN may start from."""
        far = np.flatnonzero(np.abs(joint_pos - self.pose) > self._tolerance)
        return [self._names[i] for i in far]


class SafeTargets:
    """What is commanded in DAMP, by the contract's `on_fault`."""

    def __init__(self, body: Body, effort_limit: F64) -> None:
        """Prepare the targets; `hold_measured` needs a measured pose before it can command."""
        names = body.joints.names
        self.on_fault = OnFault(body.safety.on_fault)
        self.targets = JointTargets(len(names))
        self.targets.effort_limit[:] = effort_limit
        if self.on_fault is OnFault.DAMP:
            self.targets.damping[:] = per_joint(body.damp.damping, names)
        elif self.on_fault is OnFault.HOLD_MEASURED:
            # Not the policy's gains: those of a velocity or effort policy may hold nothing.
            self.targets.stiffness[:] = per_joint(body.stand.stiffness, names)
            self.targets.damping[:] = per_joint(body.stand.damping, names)
        self.forget()

    def forget(self) -> None:
        """Forget a measured pose: until another is captured there is nothing to command."""
        if self.on_fault is OnFault.HOLD_MEASURED:
            self.targets.position[:] = np.nan

    def capture(self, joint_pos: F64) -> None:
        """Hold this measured pose [joints] from now on, where that is the fault behaviour."""
        if self.on_fault is OnFault.HOLD_MEASURED and np.isfinite(joint_pos).all():
            self.targets.position[:] = joint_pos

    def continue_from(self, before: SafeTargets) -> None:
        """Hold the pose that another one of the same `on_fault` holds."""
        self.targets.position[:] = before.targets.position

    @property
    def known(self) -> bool:
        """Whether there is something to command."""
        return bool(np.isfinite(self.targets.position).all())
