# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a sample of the joints can be true; what cannot is never seen by policy and guard.

A driver that has not read yet, or that has died, publishes zeros or its last numbers; an encoder
slips; a bus flips bits. Such a sample is finite and fresh, and would be a pose to hold, to stand up
from, or a bound on the torque.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policy_inference.bundle.body import Body
from policy_inference.bundle.joint_values import per_joint
from policy_inference.interfaces import F64

_BEYOND_LIMIT_RAD = 0.5
"""Joints rest on their stops and are pressed into them: a walking simulated Lite3 by 0.42 rad."""
_SPEED_FACTOR = 10.0
"""Of the velocity limit; in contacts the simulated Lite3 reaches 5.5 times its."""
_REACH_FACTOR, _JITTER_NS, _NOISE_RAD = 2.0, 5_000_000, 0.02
"""A joint is reached that lies within twice its velocity limit over the time since, and 5 ms more,
and 0.02 rad. The simulated Lite3 uses 84 % of that at 200 Hz and 58 % at 50 Hz."""
_CONFIRM_S = 0.5
"""For so long samples must agree before a pose is believed that none led to."""
_FEWEST = 5


class JointCheck:
    """Judges samples of the joints, one after the other.

    A sample is believed if positions are within 0.5 rad of the joints' limits, velocities within
    ten times theirs, and if the joints can have come there from the sample believed last, in the
    time since or in `longest_ns`. A pose that none led to, the first among them, is believed once
    half a second of ticks has seen samples that follow on each other; never while the robot moves.

    Attributes:
        in_motion: Whether the robot is commanded to move; its controller says so.
        replaced: How often a pose was believed that none led to though the source was never
            silent: no robot that is held can have got there.
    """

    def __init__(self, body: Body, longest_ns: int, clock: Callable[[], int]) -> None:
        """Know no pose.

        Args:
            body: States limits and rate.
            longest_ns: A source that is silent for longer has had an outage; no longer time counts
                as one to move in.
            clock: Of the ticks.
        """
        joints, self._names = body.joints, body.joints.names
        self._low = per_joint(joints.position_min, self._names) - _BEYOND_LIMIT_RAD
        self._high = per_joint(joints.position_max, self._names) + _BEYOND_LIMIT_RAD
        self._speed = per_joint(joints.velocity_limit, self._names)
        self._fastest = _SPEED_FACTOR * self._speed
        self._longest_ns, self._clock = longest_ns, clock
        self._needed = max(_FEWEST, round(_CONFIRM_S * body.rate_hz))
        self.in_motion, self.replaced = False, 0
        # Rows: believed last, seen last.
        self._poses: F64 = np.full((2, len(self._names)), np.nan)
        self.forget()

    def forget(self) -> None:
        """Believe no pose until it is confirmed."""
        self._believed_ns: int | None = None
        self._seen_ns, self._agreeing, self._lost = 0, 0, True
        self._poses[:] = np.nan

    def continue_from(self, before: JointCheck) -> None:
        """Believe what another one of the same joints does."""
        self._poses[:] = before._poses
        self._believed_ns, self._seen_ns = before._believed_ns, before._seen_ns
        self._agreeing, self._lost = before._agreeing, before._lost
        self.in_motion, self.replaced = before.in_motion, before.replaced

    def problem(self, position: F64, velocity: F64 | None) -> str:
        """Judge a sample; return why it cannot be true, empty where it is believed.

        What is not finite is passed on: that is the guard's to act on.

        Args:
            position: Measured positions [joints], rad.
            velocity: Measured velocities [joints], rad/s; None where nothing uses them.
        """
        now_ns = self._clock()
        gap_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        if gap_ns > self._longest_ns:
            self._lost, self._agreeing = True, 0
        possible = ((position >= self._low) & (position <= self._high)).all() and (
            velocity is None or (np.abs(velocity) <= self._fastest).all())
        if not possible:
            self._agreeing = 0
            return self._beyond(position, velocity)
        if self._believed_ns is not None:
            since_ns = now_ns - self._believed_ns
            if self._is_reached(0, position, min(since_ns, self._longest_ns)):
                return self._believe(position, now_ns)
        return self._confirm(position, gap_ns, now_ns)

    def _beyond(self, position: F64, velocity: F64 | None) -> str:
        """Name a joint that is beyond what it can be; empty where a value is not finite."""
        if not np.isfinite([position] if velocity is None else [position, velocity]).all():
            return ""
        outside = (position < self._low) | (position > self._high)
        if velocity is None or outside.any():
            joint = int(outside.argmax())
            return (f"{self._names[joint]} at {position[joint]:.3g} rad, expected within "
                    f"[{self._low[joint]:.3g}, {self._high[joint]:.3g}]")
        joint = int((np.abs(velocity) / self._fastest).argmax())
        return (f"{self._names[joint]} at {velocity[joint]:.3g} rad/s, expected at most "
                f"{self._fastest[joint]:.3g}")

    def _reach(self, since_ns: int) -> F64:
        seconds = _REACH_FACTOR * (max(0, since_ns) + _JITTER_NS) * 1e-9
        reach: F64 = seconds * self._speed + _NOISE_RAD
        return reach

    def _is_reached(self, row: int, position: F64, since_ns: int) -> bool:
        """Return whether the joints can have come from a pose to this one in that time."""
        return bool((np.abs(position - self._poses[row]) <= self._reach(since_ns)).all())

    def contradicts(self, pose: F64, tolerance: F64) -> bool:
        """Return whether samples after an outage, not believed yet, are far from a pose."""
        return self._lost and self._agreeing > 0 and bool(
            (np.abs(self._poses[1] - pose) > tolerance).any())

    def _believe(self, position: F64, now_ns: int) -> str:
        self._poses[:] = position
        self._believed_ns, self._agreeing, self._lost = now_ns, 0, False
        return ""

    def _confirm(self, position: F64, gap_ns: int, now_ns: int) -> str:
        """Count a sample of a pose that none led to; believe it when there were enough."""
        follows = self._agreeing > 0 and self._is_reached(1, position, gap_ns)
        self._agreeing = self._agreeing + 1 if follows else 1
        self._poses[1] = position
        if self._agreeing >= self._needed and not self.in_motion:
            self.replaced += not self._lost
            return self._believe(position, now_ns)
        if self._believed_ns is None:
            return f"{self._agreeing} of {self._needed} samples that agree"
        joint = int((np.abs(position - self._poses[0]) - self._reach(0)).argmax())
        return (f"{self._names[joint]} at {position[joint]:.3g} rad, {self._poses[0, joint]:.3g} "
                "just before: it cannot move that fast")
