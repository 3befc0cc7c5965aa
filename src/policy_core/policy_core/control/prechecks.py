# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reasons to refuse motion: stale or invalid inputs, tilt, joints beyond their limits."""

import math
from collections.abc import Mapping

import numpy as np

from policy_core import words
from policy_core.bundle.body import Body
from policy_core.control_state import Stateful
from policy_core.guard.bounds import Rule
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector, tilt_rad

LIMIT_SLACK_RAD = 0.1
"""Tolerance for position limits, since a leg on its mechanical stop may measure slightly beyond."""


class MotionPrechecks(Stateful):
    """Checks on the measured state before and during a motion; methods describe what they find."""

    PLAN = ("_low", "_high", "_upright_z")

    def __init__(
        self,
        body: Body,
        state: StateVector,
        inputs: Mapping[str, Input],
        max_tilt_rad: float | None,
    ) -> None:
        """Check `state`, which must have `gravity_body` if `max_tilt_rad` is given."""
        self._names = body.joints.names
        self._state = state
        self._needed = tuple(i for i in inputs.values() if i.timeout_ns is not None)
        self._watched = tuple(i for i in self._needed if i.stops_all)
        self._max_tilt_rad = max_tilt_rad
        # If the gravity vector's z is below this, the tilt is allowed, whatever its angle.
        self._upright_z = -math.cos(max_tilt_rad or 0.0)
        self._gravity = state["gravity_body"] if max_tilt_rad is not None else None
        self._joint_pos = state["joint_pos"]
        self._low = body.joints.position_min - LIMIT_SLACK_RAD
        self._high = body.joints.position_max + LIMIT_SLACK_RAD

    def not_finite(self) -> str:
        """Return the names of the fields that hold NaN or infinite values; "" if none does."""
        return "" if self._state.is_finite() else ", ".join(self._state.not_finite())

    def stale(self, now_ns: int) -> tuple[Rule, str] | None:
        """Return the rule and the description for the first stale input; None if none is stale.

        Only inputs that stop the robot count.
        """
        for watched in self._watched:
            if watched.is_stale(now_ns):
                return _stale_rule(watched), watched.describe(now_ns)
        return None

    def tilted(self) -> str:
        """Describe a tilt beyond the limit; return "" if it is allowed or there is no limit."""
        if self._gravity is None or self._max_tilt_rad is None:
            return ""
        if self._gravity.item(2) < self._upright_z:
            return ""
        tilt = tilt_rad(self._gravity)
        limit = self._max_tilt_rad
        return words.TILT.format(a=tilt, limit=limit) if tilt > limit else ""

    def problems(self, now_ns: int) -> list[str]:
        """Return all reasons to refuse leaving DAMP or READY."""
        stale = [i.describe(now_ns) for i in self._needed if i.is_stale(now_ns) or i.problem]
        if stale:
            return stale
        self._state.derive()
        if names := self.not_finite():
            return [words.FIELDS_NOT_FINITE.format(fields=names)]
        return [problem for problem in (self.tilted(), self._outside_limits()) if problem]

    def _outside_limits(self) -> str:
        outside = (self._joint_pos < self._low) | (self._joint_pos > self._high)
        names = [self._names[i] for i in np.flatnonzero(outside)]
        return words.OUTSIDE.format(joints=", ".join(names)) if names else ""


def _stale_rule(found: Input) -> Rule:
    if not found.is_perceived:
        return Rule.STALE_STATE
    return Rule.INVALID_PERCEPTION if found.problem else Rule.STALE_PERCEPTION
