# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Distance between a shadow policy's targets and the active policy's, tick by tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from policy_core.bundle.body import Body
from policy_core.interfaces import F64
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome

_LEAST_TORQUE_NM = 1e-3
_ROUNDING = 1e-10
"""Relative rounding error of a variance, which is computed as a difference of means."""


class Divergence:
    """Statistics over a shadow policy's answers.

    The node, the tools and the tests use this class. The same answers in the same order give
    bit-identical figures.

    Attributes:
        joints: Joint names of the robot, in the order of all arrays.
        counts: Ticks by outcome.
        rules: Number of times each guard rule would have acted.
        beyond_limits: Ticks in which a target exceeded a joint limit that the active policy's
            target did not exceed.
        max: Largest distance between the two policies' targets [joints], rad, rad/s or N·m; 0
            before the first tick.
        duration_max_s: Duration of the shadow's longest tick, s.
    """

    def __init__(self, joints: Sequence[str], step: F64 | None) -> None:
        """Start with no data.

        Args:
            joints: Joints of the active policy, named as on the robot.
            step: Largest step of the active policy's targets in a healthy run [joints]
                (`nominal.target_step`); None if its contract has none.
        """
        self.joints, self._step = tuple(joints), step
        self.counts = dict.fromkeys(ShadowOutcome, 0)
        self.rules = Counter[str]()
        self.beyond_limits = 0
        self.max: F64 = np.zeros(len(self.joints))
        self._sum, self._squares = np.zeros((2, len(self.joints)))
        self._moments: F64 = np.zeros((5, len(self.joints)))
        self._torques: F64 = np.zeros((2, len(self.joints)))
        self._torque_ticks = 0
        self._ran, self._duration_ns, self.duration_max_s = 0, 0, 0.0

    @classmethod
    def of(cls, active: Body) -> Divergence:
        nominal = active.nominal
        return cls(active.joints.on_robot(), None if nominal is None else nominal.target_step)

    def add(self, answer: ShadowAnswer) -> None:
        self.counts[answer.outcome] += 1
        self.rules.update(answer.rules)
        if answer.outcome not in (ShadowOutcome.SKIPPED, ShadowOutcome.LOST):
            self._ran += 1
            self._duration_ns += answer.duration_ns
            self.duration_max_s = max(self.duration_max_s, answer.duration_ns * 1e-9)
        if answer.target is None or answer.active_target is None:
            return
        distance = np.abs(answer.target - answer.active_target)
        self.beyond_limits += answer.beyond_limits
        self._sum += distance
        self._squares += distance * distance
        np.maximum(self.max, distance, out=self.max)
        if answer.torque is not None and answer.active_torque is not None:
            self._torque_ticks += 1
            error = answer.torque - answer.active_torque
            self._torques += error * error, answer.active_torque * answer.active_torque
        ours, theirs = answer.active_target, answer.target
        self._moments += ours, theirs, ours * ours, theirs * theirs, ours * theirs

    @property
    def compared(self) -> int:
        """Number of ticks in which both policies had a target."""
        return self.counts[ShadowOutcome.COMPARED]

    @property
    def mean(self) -> F64:
        """Mean distance between the targets [joints], in the same unit as `max`."""
        return self._sum / max(1, self.compared)

    @property
    def rms(self) -> F64:
        """Root mean square distance between the targets [joints], in the same unit as `max`."""
        return np.asarray(np.sqrt(self._squares / max(1, self.compared)))

    @property
    def gain(self) -> F64:
        """Slope of the line that predicts the shadow's target from the active policy's [joints].

        It is 1 if both targets move alike, 0.5 if the shadow moves half as much, and NaN if the
        active policy's target does not move.
        """
        ours, _, both = self._covariances()
        return _ratio(both, ours)

    @property
    def moves(self) -> F64:
        """Root mean square deviation of the active target from its mean [joints]; unit of `max`."""
        return np.asarray(np.sqrt(self._covariances()[0]))

    @property
    def correlation(self) -> F64:
        """Correlation between the two targets [joints], -1 to 1.

        It is 0 if the shadow's target does not move, and NaN if the active policy's does not.
        """
        ours, theirs, both = self._covariances()
        found = np.clip(_ratio(both, np.sqrt(ours * theirs)), -1.0, 1.0)
        return np.asarray(np.where((ours > 0.0) & (theirs == 0.0), 0.0, found))

    @property
    def torque_error(self) -> F64 | None:
        """Share of the torque that differs because of different gains [joints]; None if unknown.

        Root mean square of the difference between the torques that the two policies' gains demand
        for the same target, as a share of the root mean square of the active policy's torque,
        which counts as at least 1 mN·m.
        """
        if not self._torque_ticks:
            return None
        error, active = self._torques / self._torque_ticks
        return np.asarray(np.sqrt(error / np.maximum(active, _LEAST_TORQUE_NM**2)))

    def _covariances(self) -> tuple[F64, F64, F64]:
        """Return the variances of the active and shadow targets, and their covariance [joints]."""
        our, their, ours, theirs, both = self._moments / max(1, self.compared)
        noise = _ROUNDING * (ours + theirs)
        ours, theirs, both = ours - our * our, theirs - their * their, both - our * their
        return ours * (ours > noise), theirs * (theirs > noise), both

    @property
    def beyond_limits_share(self) -> float:
        """Share of the compared ticks in which a target exceeded a limit, 0 to 1."""
        return self.beyond_limits / max(1, self.compared)

    @property
    def duration_mean_s(self) -> float:
        """Mean duration of the shadow's ticks, s; 0 before the first one."""
        return self._duration_ns / max(1, self._ran) * 1e-9

    def in_steps(self, distance: F64) -> F64 | None:
        """Return a distance [joints] in multiples of the active policy's step; None if unknown."""
        return None if self._step is None else distance / self._step


def _ratio(of: F64, to: F64) -> F64:
    return np.asarray(np.divide(of, to, out=np.full_like(of, np.nan), where=to > 0.0))
