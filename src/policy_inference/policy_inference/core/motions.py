# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Targets that do not come from the policy: standing up, and what stands in after a fault."""

from __future__ import annotations

import numpy as np

from policy_inference.bundle.body import Body
from policy_inference.bundle.joint_values import per_joint
from policy_inference.core.joint_check import JointCheck
from policy_inference.interfaces import F64, JointTargets, OnFault

_FOLLOWED_RAD = 0.05
"""So near to its command a joint follows it: under its load a servo arm sags by about as much."""


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
        # A joint without stiffness, a wheel, stands where it is.
        self._tolerance: F64 = np.where(self.targets.stiffness > 0.0,
                                        per_joint(stand.tolerance, names), np.inf)
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
    """What is commanded in DAMP, by the contract's `on_fault`; `targets` always say so.

    With `hold_measured` that is a pose within the joints' position limits. Where a joint is about
    where it was commanded to be, it stays commanded so; else it is held where it was measured.
    """

    def __init__(self, body: Body, effort_limit: F64) -> None:
        """Prepare the targets; `hold_measured` needs a measured pose before it can command."""
        self._names = names = body.joints.names
        self.on_fault = OnFault(body.safety.on_fault)
        self._holds = self.on_fault is OnFault.HOLD_MEASURED
        self.targets = JointTargets(len(names))
        self.targets.effort_limit[:] = effort_limit
        if self.on_fault is OnFault.DAMP:
            self.targets.damping[:] = per_joint(body.damp.damping, names)
        elif self._holds:
            # Not the policy's gains: those of a velocity or effort policy may hold nothing.
            self.targets.stiffness[:] = per_joint(body.stand.stiffness, names)
            self.targets.damping[:] = per_joint(body.stand.damping, names)
        self._low = per_joint(body.joints.position_min, names)
        self._high = per_joint(body.joints.position_max, names)
        self._tolerance = per_joint(body.stand.tolerance, names)
        self._stride: F64 = per_joint(body.joints.velocity_limit, names) / body.rate_hz
        self._goal, self._commanded = np.zeros((2, len(names)))
        self._replaced = 0
        self.forget()

    def forget(self) -> None:
        """Forget a measured pose: until another is captured there is nothing to command."""
        if self._holds:
            self.targets.position[:] = self._goal[:] = self._commanded[:] = np.nan
        self._lost = True

    def note(self, commanded: JointTargets) -> None:
        """Take down what is commanded in a motion."""
        if self._holds:
            self._commanded[:] = commanded.position

    def capture(self, joint_pos: F64) -> None:
        """Hold this pose [joints] from now on, where that is the fault behaviour; never NaN."""
        if self._holds and np.isfinite(joint_pos).all():
            self._goal[:] = self.pose_of(joint_pos, self._commanded)
            self.targets.position[:] = self._goal

    def hold(self, joint_pos: F64) -> None:
        """Hold this pose [joints]; ticks of DAMP go there no faster than the velocity limits."""
        if self.known and self._holds and np.isfinite(joint_pos).all():
            self._goal[:] = self.pose_of(joint_pos, self.targets.position)

    def watch(self, joint_pos: F64, check: JointCheck, *, stale: bool) -> None:
        """Hold in DAMP what was held, as long as that can be where the joints are.

        The pose of before an outage is held through it, and never gone back to after it: once the
        joints are found far from it, nothing is commanded until their pose is believed. A pose
        that none led to, while its source was never silent, is not followed.

        Args:
            joint_pos: What is believed [joints].
            check: What judges the samples.
            stale: Whether no sample was believed for too long.
        """
        if not self._holds:
            return
        lost, self._lost = self._lost, stale
        replaced, self._replaced = self._replaced, check.replaced
        if stale and self.known and check.contradicts(self.targets.position, self._tolerance):
            self.forget()
        elif not stale and (not self.known or (lost and replaced == check.replaced)):
            self.capture(joint_pos)
        position = self.targets.position
        position += np.clip(self._goal - position, -self._stride, self._stride)
        self._commanded[:] = position

    def pose_of(self, joint_pos: F64, commanded: F64) -> F64:
        """Return the pose [joints] that is held where these are measured and commanded."""
        near = np.abs(commanded - joint_pos) <= _FOLLOWED_RAD
        pose: F64 = np.clip(np.where(near, commanded, joint_pos), self._low, self._high)
        return pose

    def contradictions(self, joint_pos: F64) -> list[str]:
        """Return the reasons why a motion cannot start where the joints are measured [joints]."""
        if not self._holds or not self.known:
            return []
        far = np.flatnonzero(np.abs(joint_pos - self.targets.position) > self._tolerance)
        return [f"{self._names[i]} is measured at {joint_pos[i]:.2f} rad and held at "
                f"{self.targets.position[i]:.2f} rad; ask for damp to hold what is measured"
                for i in far]

    def continue_from(self, before: SafeTargets) -> None:
        """Hold the pose that another one of the same `on_fault` holds."""
        self.targets.position[:], self._goal[:] = before.targets.position, before._goal
        self._commanded[:] = before._commanded
        self._lost, self._replaced = before._lost, before._replaced

    @property
    def known(self) -> bool:
        """Whether there is something to command."""
        return bool(np.isfinite(self.targets.position).all())
