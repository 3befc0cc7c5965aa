# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plausibility check on joint samples; the policy and the guard never see implausible samples.

A driver that has not yet read its joints, or has lost them, publishes zeros or its last values;
encoders slip; buses flip bits. Such samples are finite and fresh: unchecked, they would be used as
the pose to hold, as the start of a stand-up motion, or for a torque limit.
"""

from __future__ import annotations

import math

import numpy as np

from policy_core import words
from policy_core.bundle.body import Body
from policy_core.bundle.contract import Joints
from policy_core.control_state import Stateful
from policy_core.interfaces import F64

_BEYOND_LIMIT_RAD = 0.5
"""Plausible distance beyond the position limits. Joints rest against their stops and are pressed
into them, by up to 0.42 rad on a simulated walking Lite3.
"""
_SPEED_FACTOR = 10.0
"""Plausible multiple of the velocity limit; the simulated Lite3 reaches 5.5 on contact."""
_NOISE_RAD_S = 2.0
"""Plausible velocity of slow joints: one count (of 4096 per turn) in 2 ms is 0.77 rad/s."""
_REACH_FACTOR, _JITTER_NS, _NOISE_RAD = 2.0, 5_000_000, 0.02
"""A joint can move by at most twice its velocity limit times (elapsed time + 5 ms), plus 0.02 rad.
The simulated Lite3 uses 84 % of that at 200 Hz and 58 % at 50 Hz.
"""
_CONFIRM_S = 0.5
"""Time for which the samples after an implausible jump must agree before the pose is trusted."""
_FEWEST = 5
_TURN_RAD, _ROUNDED_RAD = 2.0 * math.pi, 0.01
"""One turn, and the tolerance for a limit of one turn to each side, which may be rounded up."""
_FORGOTTEN_NS = 500_000_000
"""Samples farther apart in time than both this value and `longest_ns` do not count as agreeing.
`longest_ns` alone would not suffice, since a source may be slower than the policy.
"""


def joint_turns(joints: Joints) -> F64:
    """Return one turn for continuous joints and 0 for all others [joints], rad.

    The encoders of continuous joints may wrap around after each turn.
    """
    span = joints.position_max - joints.position_min
    return np.where(span > 2.0 * _TURN_RAD + _ROUNDED_RAD, _TURN_RAD, 0.0)


def nearest_turn(position: F64, to: F64, turns: F64) -> F64:
    """Return positions [joints], in rad, shifted by whole turns to be as close to `to` as possible.

    `turns` is the result of `joint_turns`.
    """
    return position - turns * np.rint((position - to) / _TURN_RAD)


class JointCheck(Stateful):
    """Decides, sample by sample, whether joint measurements can be trusted.

    A sample is trusted if its positions are at most 0.5 rad beyond the joint limits, its velocities
    are at most ten times the velocity limits or 2 rad/s, and its pose is reachable from the last
    trusted pose in the time between the two. Except for wheels, this time is capped at
    `longest_ns`; if the robot is at rest after an outage, its joints must not have moved. An
    unreachable pose within these ranges, including the first pose, is trusted after half a second
    of ticks with consistent samples, but never while the robot moves.

    Attributes:
        names: Joint names.
        lost: True if the source was silent and no sample has been trusted since.
        in_motion: True if the robot is commanded to move; set by the controller.
        replaced: Number of times an implausible jump was accepted although the source was never
            silent; a robot that holds its pose cannot have moved that far.
    """

    STATE = ("_believed_ns", "_seen_ns", "_agreeing", "lost", "in_motion", "replaced")
    STATE_IN_PLACE = ("_believed", "_seen")
    PLAN = ("_turns", "_speed", "_farthest", "_centre", "_half", "_longest_ns", "_needed")

    def __init__(self, body: Body, longest_ns: int) -> None:
        """Start without a pose.

        Args:
            body: Limits and rate of the robot.
            longest_ns: A longer silence of the source is an outage. Also caps the time in which a
                joint may have moved, except for wheels (joints without `stand.stiffness`).
        """
        joints, self.names = body.joints, body.joints.names
        self._turns = joint_turns(joints)
        low = joints.position_min - _BEYOND_LIMIT_RAD
        high = joints.position_max + _BEYOND_LIMIT_RAD
        self._speed = _REACH_FACTOR * joints.velocity_limit
        self._longest_ns = longest_ns
        # A wheel, which has no stand pose, keeps turning while its source is silent.
        is_wheel = body.stand.stiffness == 0.0
        self._farthest = np.where(is_wheel, np.inf, self._speed * (longest_ns * 1e-9))
        # Rows, each |sample - centre| <= half width: position, velocity, and distance from the last
        # trusted pose, as reachable in zero time. These nearly always suffice, so a tick needs only
        # one comparison.
        self._sample: F64 = np.zeros((3, len(self.names)))
        self._positions, self._velocity = self._sample[::2], self._sample[1]
        self._centre = np.stack([(low + high) / 2.0, np.zeros_like(low), np.full_like(low, np.nan)])
        fastest = _SPEED_FACTOR / _REACH_FACTOR * self._speed
        self._half = np.stack(
            [(high - low) / 2.0, np.maximum(fastest, _NOISE_RAD_S), self._reached(0)]
        )
        self._excess, self._within = self._sample.copy(), np.zeros(self._sample.shape, bool)
        self._needed = max(_FEWEST, round(_CONFIRM_S * body.rate_hz))
        self.in_motion, self.replaced = False, 0
        self._believed, self._seen = self._centre[2], np.full_like(low, np.nan)
        self.forget()

    def forget(self) -> None:
        """Discard the trusted pose; no pose is trusted until one is confirmed."""
        self._believed_ns: int | None = None
        self._seen_ns, self._agreeing, self.lost = 0, 0, True
        self._believed[:] = self._seen[:] = np.nan

    def believe(self, position: F64, now_ns: int) -> None:
        """Trust this pose [joints], in rad, as measured at `now_ns`."""
        self._seen_ns = now_ns
        self._believe(position, now_ns)

    def problem(self, position: F64, velocity: F64 | None, now_ns: int) -> str:
        """Check a sample; return why it is implausible, or "" if it is trusted.

        Values that are not finite are passed on to the guard.

        Args:
            position: Measured positions [joints], rad.
            velocity: Measured velocities [joints], rad/s; None if unused.
            now_ns: Time of the tick. A clock read here would give another time, which no replay
                knows, and which decides if the source was silent for too long.
        """
        gap_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        self.lost = self.lost or gap_ns > self._longest_ns
        if gap_ns > max(_FORGOTTEN_NS, self._longest_ns):
            self._agreeing = 0
        self._positions[...] = position
        if velocity is not None:
            self._velocity[...] = velocity
        np.subtract(self._sample, self._centre, self._excess)
        np.absolute(self._excess, self._excess)
        np.less_equal(self._excess, self._half, self._within)
        # Takes a fifth of the time of all(). A comparison with NaN (no trusted pose) is false.
        if 0 not in self._within.tobytes():
            return self._believe(position, now_ns)
        if not self._within[:2].all():
            self._agreeing = 0
            return self._beyond() if np.isfinite(self._sample).all() else ""
        # At rest, a robot moved during an outage and a driver with wrong first values look alike.
        trusting = self.in_motion or not self.lost
        reach = self._reached(now_ns - (self._believed_ns or 0) if trusting else 0)
        way = self._way(position, self._believed)
        if (self._excess[2] <= reach).all() or (way <= reach).all():
            return self._believe(position, now_ns)
        return self._confirm(position, way - reach, gap_ns, now_ns)

    def _way(self, to: F64, begin: F64) -> F64:
        """Return each joint's distance between two poses [joints], rad."""
        way = nearest_turn(to, begin, self._turns) - begin
        return np.absolute(way, out=way)

    def _beyond(self) -> str:
        """Describe the first joint that is outside its possible range."""
        row, joint = np.argwhere(~self._within[:2])[0].tolist()
        found, centre, half = (
            each[row, joint] for each in (self._sample, self._centre, self._half)
        )
        return words.BEYOND.format(
            joint=self.names[joint],
            a=found,
            unit="rad/s" if row == 1 else "rad",
            b=centre - half,
            c=centre + half,
        )

    def _reached(self, since_ns: int) -> F64:
        """Return how far the joints can have moved in this time [joints], rad."""
        moved = np.minimum(self._speed * (max(0, since_ns) * 1e-9), self._farthest)
        return moved + self._speed * (_JITTER_NS * 1e-9) + _NOISE_RAD

    @property
    def doubted(self) -> F64 | None:
        """Newest positions [joints], in rad, if in range but not yet trusted; otherwise None."""
        return self._seen if self._agreeing else None

    def _believe(self, position: F64, now_ns: int) -> str:
        self._believed[...] = position
        self._believed_ns, self._agreeing, self.lost = now_ns, 0, False
        return ""

    def _confirm(self, position: F64, jump: F64, gap_ns: int, now_ns: int) -> str:
        """Count a sample after an implausible jump; trust its pose after enough such samples.

        `jump` [joints], in rad, is the distance that each joint moved beyond what is possible.
        """
        follows = (
            self._agreeing > 0 and (self._way(position, self._seen) <= self._reached(gap_ns)).all()
        )
        self._agreeing = self._agreeing + 1 if follows else 1
        self._seen[:] = position
        if self._agreeing >= self._needed and not self.in_motion:
            self.replaced += not self.lost
            return self._believe(position, now_ns)
        if self._believed_ns is None:
            return words.UNCONFIRMED.format(count=self._agreeing, needed=self._needed)
        joint = int(jump.argmax())
        return words.JUMP.format(
            joint=self.names[joint], a=position[joint], b=self._believed[joint]
        )
