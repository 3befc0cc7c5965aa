# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Targets that do not come from the policy: for standing up, and safe targets after a fault."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import reduce
from itertools import accumulate, compress

import numpy as np
import numpy.typing as npt

from policy_core import words
from policy_core.bundle.body import Body
from policy_core.control_state import Stateful, Tree
from policy_core.guard.bounds import StepBound
from policy_core.guard.joint_check import JointCheck, joint_turns, nearest_turn
from policy_core.interfaces import F64, JointTargets, OnFault

_FOLLOWED_RAD = 0.05
"""Distance within which a joint follows its command: a loaded servo arm sags about this much."""


class Stand(Stateful):
    """Stand-up motion: from a start pose to the contract's stand pose, through its `via` poses.

    Each segment is a cubic function of time that begins and ends at rest, so the joints rest for an
    instant at each via pose. A via pose is skipped unless it is closer to the stand pose than the
    start pose is (Euclidean distance over joints with stiffness). No point of the motion is
    therefore farther from the stand pose than the start, and a standing robot does not draw its
    legs in.
    """

    STATE = ("_way", "_ends_ns", "_began_ns")
    STATE_IN_PLACE = ("_position",)
    PLAN = ("targets", "poses", "_durations_ns", "_posed", "_tolerance")

    def __init__(self, body: Body, effort_limit: F64) -> None:
        """Prepare the targets with the stand gains."""
        stand, names = body.stand, body.joints.names
        self.targets = JointTargets(len(names))
        self.targets.stiffness[:] = stand.stiffness
        self.targets.damping[:] = stand.damping
        self.targets.effort_limit[:] = effort_limit
        self._position = self.targets.position
        positions = [*(via.position for via in stand.via), stand.position]
        durations_s = [*(via.duration_s for via in stand.via), stand.duration_s]
        self.poses: F64 = np.array(positions)
        self.pose: F64 = self.poses[-1]
        self._durations_ns = [max(1, round(duration_s * 1e9)) for duration_s in durations_s]
        # A joint without stiffness, such as a wheel, stands at any position.
        self._posed = self.targets.stiffness > 0.0
        self._tolerance: F64 = np.where(self._posed, stand.tolerance, np.inf)
        self._names = names
        self.begin(self.pose, 0)

    def begin(self, pose: F64, now_ns: int) -> None:
        """Start the motion from this pose [joints], rad."""
        measured = self._distance(pose)
        nearer = np.array([self._distance(via) < measured for via in self.poses])
        nearer[-1] = True
        self._way: F64 = np.vstack((pose, self.poses[nearer]))
        self._ends_ns = list(accumulate(compress(self._durations_ns, nearer)))
        self._began_ns = now_ns

    def _distance(self, pose: F64) -> float:
        """Return the distance to the stand pose, over joints with stiffness.

        Squares are summed in joint order, as in C++.
        """
        ways = (pose - self.pose)[self._posed].tolist()
        return math.sqrt(reduce(lambda total, way: total + way * way, ways, 0.0))

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval during which the motion was held."""
        self._began_ns += duration_ns

    def update(self, now_ns: int) -> bool:
        """Set the targets for this time; return True if the motion has ended."""
        passed_ns = max(0, now_ns - self._began_ns)
        part = min(bisect_right(self._ends_ns, passed_ns), len(self._ends_ns) - 1)
        began_ns = self._ends_ns[part - 1] if part else 0
        share = min(1.0, (passed_ns - began_ns) / (self._ends_ns[part] - began_ns))
        smooth = share * share * (3.0 - 2.0 * share)
        start, end = self._way[part], self._way[part + 1]
        self.targets.position[:] = start + smooth * (end - start)
        return share >= 1.0

    def differences(self, before: Stand) -> list[str]:
        """Return the contract keys in which this stand motion differs from another."""
        mine, theirs = self.targets, before.targets
        same = {
            "stand.position": np.array_equal(self.pose, before.pose),
            "stand.via": np.array_equal(self.poses[:-1], before.poses[:-1])
            and self._durations_ns[:-1] == before._durations_ns[:-1],
            "stand.stiffness": np.array_equal(mine.stiffness, theirs.stiffness),
            "stand.damping": np.array_equal(mine.damping, theirs.damping),
            "stand.duration_s": self._durations_ns[-1] == before._durations_ns[-1],
            "joints.effort_limit": np.array_equal(mine.effort_limit, theirs.effort_limit),
        }
        return [key for key, is_same in same.items() if not is_same]

    def far_off(self, joint_pos: F64) -> list[str]:
        """Return the names of the joints that are too far from the stand pose for RUN to start."""
        far = np.flatnonzero(np.abs(joint_pos - self.pose) > self._tolerance)
        return [self._names[i] for i in far]


def silence_words(*, known: bool, requested: bool) -> str:
    """Return the reason why no command is sent; "" if commands are sent."""
    if known:
        return ""
    return words.SILENT_ASKED if requested else words.SILENT


class SafeTargets(Stateful):
    """Targets for DAMP, as defined by the contract's `on_fault`.

    With `hold_measured`, they hold a pose within the joints' position limits, and no command is
    sent before `capture` or `hold`. A joint near its commanded position keeps that command;
    otherwise it is held at its measured position, on the turn closest to the command. Of each
    joint's last two samples, the one closer to the command is used, so a single bad sample does not
    move an arm.
    """

    STATE = ("known", "_sample_ns", "_lost", "_replaced", "_requested")
    STATE_IN_PLACE = ("_position", "_goal", "_commanded", "_measured", "_newest", "_seen")
    PLAN = (
        "targets",
        "_holds",
        "_low",
        "_high",
        "_tolerance",
        "_turns",
        "_speed",
        "_period_ns",
        "_timeout_ns",
    )

    def __init__(
        self,
        body: Body,
        effort_limit: F64,
        joint_vel: F64 | None,
        step: StepBound,
        timeout_ns: int,
    ) -> None:
        """Prepare the targets; with `hold_measured`, none are sent until a pose is requested.

        Args:
            body: Defines the behavior after a fault.
            effort_limit: Maximum drive effort [joints], N·m.
            joint_vel: Velocities measured with each pose [joints], rad/s. Positions with a NaN
                velocity do not count as a pose: they may be made up by a driver that cannot read
                its joints.
            step: Limit on the distance between a held pose and the last command.
            timeout_ns: A sample that is older than the newest one by more than this is ignored.
        """
        self._joint_vel, self._step, self._timeout_ns = joint_vel, step, timeout_ns
        self._names = names = body.joints.names
        self.on_fault = OnFault(body.safety.on_fault)
        self._holds = self.on_fault is OnFault.HOLD_MEASURED
        self.targets = JointTargets(len(names))
        self._position = self.targets.position
        self.targets.effort_limit[:] = effort_limit
        if self.on_fault is OnFault.DAMP:
            self.targets.damping[:] = body.damp.damping
        elif self._holds:
            # Not the policy's gains: a velocity or effort policy's may be too weak to hold a pose.
            self.targets.stiffness[:] = body.stand.stiffness
            self.targets.damping[:] = body.stand.damping
        self._low = body.joints.position_min
        self._high = body.joints.position_max
        self._tolerance = body.stand.tolerance
        self._turns = joint_turns(body.joints)
        self._speed: F64 = body.joints.velocity_limit * 1e-9
        self._period_ns = body.period_ns
        self._goal, self._commanded, self._measured = np.zeros((3, len(names)))
        self._newest, self._seen = np.zeros((2, len(names)))
        self._sample_ns: int | None = None
        self._replaced = 0
        self.known = False
        """True if there is a pose to command."""
        self.forget()

    def forget(self) -> None:
        """Discard the held pose and all samples; called on each activation.

        With `hold_measured`, no command is sent until a pose is requested.
        """
        self.known = not self._holds
        # `targets` keeps its values: another thread may be sending them.
        self._goal[:] = self._commanded[:] = self._measured[:] = np.nan
        self._sample_ns = None
        self._lost, self._requested = True, False

    @property
    def silence(self) -> str:
        """Reason why no command is sent; empty if commands are sent."""
        return silence_words(known=self.known, requested=self._requested)

    def note(self, commanded: JointTargets) -> None:
        """Record a command sent in a mode other than DAMP."""
        if self._holds:
            self._commanded[:] = commanded.position
            self.targets.position[:] = self._step.within(self.targets.position)

    def see(self, joint_pos: F64, sample_ns: int | None) -> None:
        """Record a sample of a trusted pose, unless it was recorded before.

        Args:
            joint_pos: Measured positions [joints], rad.
            sample_ns: Time of the measurement; None before the first one.
        """
        last_ns = self._sample_ns
        if not self._holds or sample_ns in (None, last_ns) or not self._is_pose(joint_pos):
            return
        self._seen[:] = joint_pos
        if last_ns is not None and sample_ns - last_ns <= self._timeout_ns:
            newest, before = nearest_turn(
                np.stack([joint_pos, self._newest]), self._commanded, self._turns
            )
            nearer = np.abs(before - self._commanded) < np.abs(newest - self._commanded)
            np.copyto(self._seen, before, where=nearer)
        self._newest[:], self._sample_ns = joint_pos, sample_ns

    def capture(self) -> None:
        """With `hold_measured`, hold the last recorded pose from now on.

        The targets move as close to it as the step limit allows; later DAMP ticks continue from
        there, and bring a joint that is beyond its position limits back within them.
        """
        if not self._holds or self._sample_ns is None:
            return
        commanded = np.where(np.isnan(self._commanded), self._seen, self._commanded)
        pose = self._held_pose(commanded)
        begin = commanded if self.known else pose
        held = np.clip(pose, np.minimum(self._low, begin), np.maximum(self._high, begin))
        self.targets.position[:] = self._step.within(held)
        self._goal[:] = self.within_limits(held)
        self._measured[:] = self._seen
        self._requested = self.known = True

    def hold(self) -> None:
        """Hold the last recorded pose; DAMP ticks move to it within the velocity limits."""
        if not self.known:
            self.capture()
        elif self._holds and self._sample_ns is not None:
            self._goal[:] = self.within_limits(self._held_pose(self.targets.position))

    def watch(self, joint_pos: F64, check: JointCheck, gap_ns: int, *, stale: bool) -> None:
        """Advance the held pose in a DAMP tick, and detect joints moved during an outage.

        An arm found elsewhere after an outage does not move back: no command is sent until its new
        pose is trusted, and then that pose is held. An arm that sags below its target does
        not count as moved, nor does one whose position jumps implausibly without an outage.

        Args:
            joint_pos: Trusted positions [joints].
            check: Plausibility check of the samples.
            gap_ns: Time since the last tick.
            stale: True if no sample has been trusted for too long.
        """
        if not self._holds:
            return
        if stale:
            self._lost = True
            if check.lost and check.doubted is not None and self._moved(check.doubted):
                self.known = False
        elif self._is_pose(joint_pos):
            if self._requested and (self._lost or not self.known):
                self._find(joint_pos, replaced=check.replaced != self._replaced)
            self._lost, self._replaced = False, check.replaced
            self._measured[:] = joint_pos
        if self.known:
            self._go_on(gap_ns)

    def _find(self, joint_pos: F64, *, replaced: bool) -> None:
        """Resume holding a pose after an outage: the new pose if the arm was moved."""
        if not replaced and self._moved(joint_pos):
            self.hold()
        self.known = True

    def _go_on(self, gap_ns: int) -> None:
        """Move the targets toward the held pose, as far as the elapsed time allows."""
        position = self.targets.position
        stride = self._speed * min(max(gap_ns, 0), self._period_ns)
        position += np.clip(self._goal - position, -stride, stride)
        self._commanded[:] = position

    def within_limits(self, pose: F64) -> F64:
        """Return a pose [joints], in rad, clipped to the joints' position limits."""
        return np.clip(pose, self._low, self._high)

    def _held_pose(self, commanded: F64) -> F64:
        """Return the pose to hold [joints], given the last commanded positions."""
        measured = nearest_turn(self._seen, commanded, self._turns)
        return np.where(np.abs(commanded - measured) <= _FOLLOWED_RAD, commanded, measured)

    def _moved(self, joint_pos: F64) -> bool:
        """Return True if a joint is far from both its held position and its last sample."""
        moved = nearest_turn(joint_pos, self._measured, self._turns) - self._measured
        far: npt.NDArray[np.bool_] = self._far(joint_pos) & (np.abs(moved) > self._tolerance)
        return bool(far.any())

    def motion_start(self, joint_pos: F64) -> F64:
        """Return a motion's start pose [joints]: the held pose if any, else the measured pose."""
        return self.targets.position if self._holds and self.known else joint_pos

    def contradictions(self, joint_pos: F64) -> list[str]:
        """Return the reasons why a motion cannot start from the measured positions [joints]."""
        if not self._holds:
            return []
        return [
            words.HELD_ELSEWHERE.format(
                joint=self._names[i], a=joint_pos[i], b=self.targets.position[i]
            )
            for i in np.flatnonzero(self._far(joint_pos) & self.known)
        ]

    def _far(self, joint_pos: F64) -> npt.NDArray[np.bool_]:
        """Return the mask [joints] of the joints that are far from their held positions."""
        held = self.targets.position
        far = np.abs(nearest_turn(joint_pos, held, self._turns) - held) > self._tolerance
        return far & self._is_pose(joint_pos)

    def _is_pose(self, joint_pos: F64) -> bool:
        """Return True if these positions [joints] and their velocities are finite."""
        velocity = joint_pos if self._joint_vel is None else self._joint_vel
        return bool(np.isfinite(joint_pos).all() and np.isfinite(velocity).all())

    def beyond(self, saved: Tree) -> list[str]:
        """Describe each joint that another controller's saved pose holds beyond these limits."""
        goal: F64 = saved["goal"]
        outside = (goal < self._low) | (goal > self._high)
        return [
            f"{self._names[i]} is held at {goal[i]:.2f} rad, beyond the new limits "
            f"[{self._low[i]:.2f}, {self._high[i]:.2f}]"
            for i in np.flatnonzero(outside)
        ]
