# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The guard's rules and their counters, and limits on targets."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from policy_core.bundle.body import Body
from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import F64, Command, JointTargets, Kind, Mode, OnFault


class Rule(str, Enum):
    """Rules of the guard; each has a counter."""

    ESTOP = "estop"
    NOT_FINITE = "not_finite"
    STALE_STATE = "stale_state"
    STALE_PERCEPTION = "stale_perception"
    INVALID_PERCEPTION = "invalid_perception"
    HELD_TOO_LONG = "held_too_long"
    STALE_COMMAND = "stale_command"
    BAD_COMMAND = "bad_command"
    INFERENCE_ERROR = "inference_error"
    INFERENCE_LATE = "inference_late"
    NO_TARGET = "no_target"
    ATTITUDE = "attitude"
    CLOCK = "clock"
    INTERNAL = "internal"
    DRIVER = "driver"
    ACTION_CLIP = "action_clip"
    GAIN_LIMIT = "gain_limit"
    RELATIVE_TARGET = "relative_target"
    TARGET_SPEED = "target_speed"
    EFFORT = "effort"
    TARGET_STEP = "target_step"
    CLIPPED_TOO_LONG = "clipped_too_long"
    POSITION_LIMIT = "position_limit"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trip:
    """A rule that latched a fault or started a HOLD."""

    rule: Rule
    reason: str
    latched: bool


CLIPPED_TICKS_LIMIT = 10
"""Number of consecutive ticks with a clipped step or effort that counts as a fault."""


class TargetBounds(Stateful):
    """Limits on a policy's command [joints], in the units of the joints' kinds.

    There are three rows, each |command - centre| <= half width: for the torque that results from
    the command, the gains and the measured state; for the step from the previous command; and for
    the joint's own limit. For a command u, the demanded torque is stiffness (u - q) - damping dq
    for positions, damping (u - dq) for velocities, and u for efforts, so a torque limit is an
    interval of u. Rows 0 and 1 are a healthy run's values times a margin; without such values, they
    are unlimited.

    The rows apply in this order. Measurements affect only the first row, so a wrong measurement
    never moves the command by more than a step, and the joint limits always hold.
    """

    STATE_IN_PLACE = ("_last",)
    PLAN = ("_margin", "_is_position", "_is_effort", "_half", "_centre")
    RULES = (Rule.EFFORT, Rule.TARGET_STEP, Rule.POSITION_LIMIT)

    def __init__(self, body: Body, action: Command, margin: float) -> None:
        """Compute the limits for a contract; `margin` is the factor on healthy values."""
        joints = len(body.joints.names)
        kinds = np.array([kind.value for kind in action.kinds])
        position, effort = kinds == Kind.POSITION.value, kinds == Kind.EFFORT.value
        self._action, self._margin = action, margin
        self._is_position, self._is_effort, self._posed = position, effort, bool(position.all())
        self._of_position = position.astype(np.float64)
        low, high = joint_limits(body, action)
        self._half = np.full((3, joints), np.inf)
        self._half[2] = (high - low) / 2.0
        self._centre = np.zeros((3, joints))
        self._centre[2] = (high + low) / 2.0
        self._effort_centre, self._last, _ = self._centre
        self._excess = np.zeros((3, joints))
        self._beyond = np.zeros((3, joints), dtype=bool)
        self._per_unit, self._of_velocity = np.zeros((2, joints))
        self._has_gain = np.zeros(joints, dtype=bool)
        self.rescale()

    def rescale(self) -> None:
        """Recompute the limits for the action's current gains and healthy values."""
        (stiffness, damping), (demand, step) = self._action.gains, self._action.healthy
        per_unit, of_velocity, has_gain = self._per_unit, self._of_velocity, self._has_gain
        # The torque per unit of the command, and the command per unit of velocity, by kind.
        per_unit[...] = damping
        np.copyto(per_unit, stiffness, where=self._is_position)
        np.copyto(per_unit, 1.0, where=self._is_effort)
        of_velocity[...] = 1.0
        np.copyto(of_velocity, 0.0, where=self._is_effort)
        np.copyto(of_velocity, 0.0, where=self._is_position)
        np.greater(stiffness, 0.0, has_gain)
        has_gain &= self._is_position
        np.divide(damping, stiffness, of_velocity, where=has_gain)
        np.multiply(demand, self._margin, self._half[0])
        np.greater(per_unit, 0.0, has_gain)
        np.divide(self._half[0], per_unit, self._half[0], where=has_gain)
        np.logical_not(has_gain, has_gain)
        np.copyto(self._half[0], np.inf, where=has_gain)
        np.multiply(step, self._margin, self._half[1])

    def reset(self, pose: F64) -> None:
        """Measure the next step from this pose [joints], in rad, or from 0 for other kinds."""
        np.multiply(pose, self._of_position, out=self._last)

    def count_from(self, command: F64) -> None:
        """Measure the next step from this command [joints], in the units of the joints' kinds."""
        self._last[:] = command

    def restore(self, saved: Tree) -> None:
        """Restore a saved state, after the action's gains and healthy values were restored."""
        super().restore(saved)
        self.rescale()

    def apply(self, command: F64, joint_pos: F64, joint_vel: F64) -> tuple[Rule, ...]:
        """Clip `command` in place, and return the rules that changed it.

        Args:
            command: Target of each joint [joints], finite; changed in place.
            joint_pos: Measured positions [joints], rad.
            joint_vel: Measured velocities [joints], rad/s.
        """
        effort_centre = self._effort_centre
        np.multiply(joint_vel, self._of_velocity, effort_centre)
        effort_centre += joint_pos if self._posed else joint_pos * self._of_position
        np.subtract(command, self._centre, self._excess)
        np.absolute(self._excess, self._excess)
        np.greater(self._excess, self._half, self._beyond)
        # Takes a fifth of the time of the array method any(), which is written in Python.
        acted = self._clip(command) if 1 in self._beyond.tobytes() else ()
        self._last[...] = command
        return acted

    def _clip(self, command: F64) -> tuple[Rule, ...]:
        """Clip to the rows in order: clipping to one row may leave the command beyond the next."""
        acted = []
        for rule, centre, half in zip(self.RULES, self._centre, self._half, strict=True):
            if (np.abs(command - centre) > half).any():
                np.clip(command, centre - half, centre + half, out=command)
                acted.append(rule)
        return tuple(acted)


class StepBound(Stateful):
    """Limit on the position step between ticks; it is applied last.

    The step from the previous command may be as large as `velocity_limit` allows in one period. The
    limit always applies to the joints of chunk policies. With `hold_measured`, it applies to all
    joints, except those of joint policies in RUN and on leaving RUN: their targets become torques,
    which `nominal` limits.
    """

    STATE_IN_PLACE = ("_last",)
    PLAN = ("_stride", "_free_in_run", "_acts")

    def __init__(self, body: Body) -> None:
        """Set no limit before the first command."""
        holds = body.safety.on_fault == OnFault.HOLD_MEASURED.value
        bounded = body.step_bounded
        self._stride: F64 = np.where(
            bounded | holds, body.joints.velocity_limit / body.rate_hz, np.inf
        )
        self._free_in_run = ~bounded
        self._acts = bool(np.isfinite(self._stride).any())
        self._last: F64 = np.full_like(self._stride, np.nan)

    def forget(self) -> None:
        """Remove the limit, because no command is being sent."""
        self._last[:] = np.nan

    def count_from(self, position: F64, stiffness: F64, mode: Mode) -> None:
        """Measure the next step from this command: positions and stiffness [joints], and mode."""
        # A joint without stiffness moves freely.
        self._last[:] = np.where(stiffness > 0.0, position, np.nan)
        if mode is Mode.RUN:
            self._last[self._free_in_run] = np.nan

    def within(self, position: F64) -> F64:
        """Return the positions [joints], in rad, clipped to the limit."""
        # fmin and fmax ignore NaN, which means no limit.
        return np.fmin(np.fmax(position, self._last - self._stride), self._last + self._stride)

    def apply(self, targets: JointTargets) -> None:
        """Clip a tick's positions in place, and measure the next step from them."""
        if not self._acts:
            return
        targets.position[:] = self.within(targets.position)
        # HOLD repeats the previous command.
        if targets.mode is not Mode.HOLD:
            self.count_from(targets.position, targets.stiffness, targets.mode)


def healthy_range(body: Body) -> F64:
    """Return the largest healthy torque demand and step [2, joints]; inf without `nominal`."""
    nominal = body.nominal
    if nominal is None:
        return np.full((2, len(body.joints.names)), np.inf)
    return np.stack([nominal.effort_demand, nominal.target_step])


def joint_limits(body: Body, action: Command) -> tuple[F64, F64]:
    """Return each joint's lowest and highest command [joints], in the unit of its kind."""
    joints, kinds = body.joints, np.array([kind.value for kind in action.kinds])
    is_position, is_effort = kinds == Kind.POSITION.value, kinds == Kind.EFFORT.value
    largest = np.where(is_effort, joints.effort_limit, joints.velocity_limit)
    low = np.where(is_position, joints.position_min, -largest)
    return low, np.where(is_position, joints.position_max, largest)
