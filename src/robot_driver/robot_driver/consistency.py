# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a legged robot's sensors agree with each other and with its commands.

Each value on its own could come from a healthy robot: a velocity of 0, a rate that is 0.5 rad/s too
high, or the angle of a joint on another leg. Only the combination of values reveals the fault.
"""

from math import cos, sin

import numpy as np

from robot_driver.checks import TICKS, TICKS_PER_S
from robot_driver.following import law_torque
from robot_driver.interfaces import F64, POSITION, STIFFNESS, DriveFigures, DriveState

MISMATCH_LIMIT = 0.5
"""Limit for two signals a and b that should be equal: the mean of (a - b)^2 as a share of the mean
of a^2 + b^2. This share is 1 if one signal is always 0, and 2 if it has the wrong sign.
"""
BIAS_LIMIT_RAD_S = 0.25
"""Limit on the mean difference between the angular velocity and the rate of the attitude."""
GRAVITY_LIMIT_M_S2 = 6.0
"""Limit on the difference between the mean acceleration, in the world frame, and the reaction to
gravity.
"""
STILL_LIMIT = 0.5
"""Limit on how much the torque that the target position demands may change while the joint stands
still, in multiples of `DriveFigures.demand_nm`.
"""
WARNING_SHARE = 0.75
"""Share of a limit above which a rule warns."""

_BLOCK_S = 0.04
_LONGEST_STEP_S = 0.05
"""Maximum gap between two states; longer gaps are skipped."""
_WINDOW_S, _SLOW_WINDOW_S = 1.0, 2.0
_REACTION_M_S2 = np.array([0.0, 0.0, 9.81])
_WAY_FLOOR_RAD, _TURN_FLOOR_RAD = 0.05, 0.06
"""Noise floor of joint displacements and rotations in a block, for a robot that hardly moves: the
root of the mean of a^2 + b^2. For torques, it is `DriveFigures.demand_nm`.
"""
_MOST_RAD = 0.12
"""Maximum displacement in a block; larger ones are scaled down, since a jump is not a fault."""
_STILL_RAD, _STILL_S = 1e-4, 0.2
"""A joint stands still if it moves by at most this distance in each block, for this time. Working
encoders have more noise; at the end of a swing, a joint moves this little only for a block or two.
"""
_MOVED_RAD = 1e-3
_STOP_RAD = 0.1
"""Distance from the end of its range within which a joint may rest on its stop."""
_JOINTS = 2
"""Minimum number of joints with mismatched torques; a single one may be a failed drive."""


class SenseConsistency:
    """Compares positions, velocities, attitude, angular velocity, acceleration and commands.

    Time is the robot's tick. Windows are exponential averages, so impacts and noise have little
    effect.

    Attributes:
        shares: Latest value of each rule, as a share of its limit.
        problem: Description of the rules beyond their limits; empty if there are none.
        warning: Description of the rules beyond `WARNING_SHARE` of their limits.
    """

    def __init__(self, figures: DriveFigures, *, torques: bool) -> None:
        """Start with no state.

        Args:
            figures: The robot's drive figures.
            torques: True if the reported torques are reliable.
        """
        self._names, self._demand_nm = figures.joint_names, figures.demand_nm
        self._largest_nm, self._torques = figures.largest_torque_nm, torques
        self._lowest_rad = figures.lowest_rad + _STOP_RAD
        self._highest_rad = figures.highest_rad - _STOP_RAD
        joints = self._joints = len(figures.joint_names)
        self.shares = dict.fromkeys(("velocity", "turn", "bias", "gravity", "torque", "still"), 0.0)
        self.problem = self.warning = ""
        self._command: F64 | None = None
        self._nothing = np.zeros(2 * joints)
        self._last: tuple[int, F64] | None = None
        self._begin: tuple[F64, F64] | None = None
        self._passed_s, self._integral = 0.0, np.zeros(3 * joints + 6)
        # joint displacements, rotations about the body's axes, joint torques
        self._apart, self._size = np.zeros((2, 2 * joints + 3))
        floors = _WAY_FLOOR_RAD, _TURN_FLOOR_RAD, figures.demand_nm
        self._floor = np.repeat(np.square(floors), [joints, 3, joints])
        self._most = np.concatenate([np.full(joints + 3, _MOST_RAD), figures.largest_torque_nm])
        self._window_s = np.repeat([_WINDOW_S, _WINDOW_S, _SLOW_WINDOW_S], [joints, 3, joints])
        self._bias, self._reaction = np.zeros(3), _REACTION_M_S2.copy()
        self._moved = np.zeros(joints, bool)
        self._still_s, self._low, self._high = np.zeros((3, joints))
        self._recent = np.zeros((2, joints))
        """Target positions at the ends of the last two blocks."""

    def sent(self, values: F64 | None) -> None:
        """Set the values that the drives now follow [n, 5] (COMMAND_FIELDS); None if unknown."""
        self._command = values

    def notes(self) -> dict[str, str | float]:
        return {"senses_share": round(float(max(self.shares.values())), 3)}

    def see(self, state: DriveState, rpy: F64, ang_vel: F64, lin_acc: F64) -> None:
        """Update with a state.

        Args:
            state: The joints' state.
            rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
            ang_vel: Angular velocity in the body frame [3], rad/s.
            lin_acc: Acceleration in the body frame [3], m/s^2, including the reaction to gravity.
        """
        tick, torques = state.tick, self._nothing
        if self._torques and self._command is not None:
            asked = law_torque(self._command, state)
            np.clip(asked, -self._largest_nm, self._largest_nm, asked)
            torques = np.concatenate([state.joint_effort, asked])
        rates = np.concatenate([state.joint_vel, ang_vel, lin_acc, torques])
        last, self._last = self._last, (tick, rates)
        step_s = (tick - last[0]) % TICKS / TICKS_PER_S if last else np.inf
        if last is None or self._begin is None or step_s > _LONGEST_STEP_S:
            self._begin_block(state.joint_pos, _axes(rpy))
            return
        self._integral += (0.5 * step_s) * (last[1] + rates)
        self._passed_s += step_s
        if self._passed_s >= _BLOCK_S:
            axes = _axes(rpy)
            self._end_block(state.joint_pos, axes, *self._begin)
            self._begin_block(state.joint_pos, axes)

    def _begin_block(self, joint_pos: F64, axes: F64) -> None:
        self._begin = joint_pos, axes
        self._passed_s = 0.0
        self._integral[:] = 0.0

    def _end_block(self, joint_pos: F64, axes: F64, pos_before: F64, axes_before: F64) -> None:
        joints, passed_s, integral = self._joints, self._passed_s, self._integral
        way = joint_pos - pos_before
        rest = joints + 3
        mean_nm = integral[rest + 3 :] / passed_s
        one = np.concatenate([way, _turn(axes_before, axes), mean_nm[:joints]])
        other = np.concatenate([integral[:rest], mean_nm[joints:]])
        share = self._most / np.maximum(self._most, np.maximum(np.abs(one), np.abs(other)))
        one *= share
        other *= share
        gap = one - other
        new = passed_s / self._window_s
        self._apart += new * (gap * gap - self._apart)
        self._size += new * (one * one + other * other - self._size)
        mismatch = self._apart / (self._size + self._floor)
        self._bias += passed_s / _SLOW_WINDOW_S * (gap[joints:rest] / passed_s - self._bias)
        mean_acc = axes @ integral[rest : rest + 3] / passed_s
        self._reaction += passed_s / _WINDOW_S * (mean_acc - self._reaction)
        changed_nm = self._asked_of_the_still(joint_pos, np.abs(way), passed_s)
        shares = self.shares = {
            "velocity": mismatch[:joints].max() / MISMATCH_LIMIT,
            "turn": mismatch[joints:rest].max() / MISMATCH_LIMIT,
            "bias": _length(self._bias) / BIAS_LIMIT_RAD_S,
            "gravity": _length(self._reaction - _REACTION_M_S2) / GRAVITY_LIMIT_M_S2,
            "torque": np.partition(mismatch[rest:], -_JOINTS)[-_JOINTS] / MISMATCH_LIMIT,
            "still": changed_nm.max() / (STILL_LIMIT * self._demand_nm),
        }
        self.problem = self.warning = ""
        if max(shares.values()) >= WARNING_SHARE:
            self._explain(mismatch, changed_nm)

    def _asked_of_the_still(self, joint_pos: F64, moved: F64, passed_s: float) -> F64:
        """Return how much the torque demanded of each joint changed while the joint stood still."""
        values = self._command
        if values is None:
            self._still_s[:], self._moved[:] = 0.0, False
            return self._still_s
        stiffness, target = values[:, STIFFNESS], values[:, POSITION]
        free = (joint_pos > self._lowest_rad) & (joint_pos < self._highest_rad)
        # a joint that has not moved yet may be held by the ground
        self._moved |= moved > _MOVED_RAD
        still = (moved <= _STILL_RAD) & free & (stiffness > 0.0) & self._moved
        self._still_s = np.where(still, self._still_s + passed_s, 0.0)
        # a joint takes time to follow: a loaded leg may end the first block where it began
        settled = self._recent[0]
        self._low = np.where(still, np.minimum(self._low, settled), target)
        self._high = np.where(still, np.maximum(self._high, settled), target)
        self._recent = np.where(still, [self._recent[1], target], target)
        return np.where(self._still_s >= _STILL_S, stiffness * (self._high - self._low), 0.0)

    def _explain(self, mismatch: F64, changed_nm: F64) -> None:
        """Describe the rules that are beyond or near a limit."""
        joints = self._joints
        rest, names = joints + 3, self._names
        joint, axis = mismatch[:joints].argmax(), mismatch[joints:rest].argmax()
        untrue = [names[i] for i in np.argsort(-mismatch[rest:])[:_JOINTS]]
        texts = {
            "velocity": f"the velocity of {names[joint]} does not match the change of its "
            "position: check the encoder, and the sign and unit of the velocity",
            "turn": f"the angular velocity about {'xyz'[axis]} does not match the change of the "
            "attitude: check the gyroscope's sign, axes and unit",
            "bias": "the mean angular velocity differs from the rate of change of the attitude by "
            f"more than {BIAS_LIMIT_RAD_S} rad/s",
            "gravity": "the mean acceleration does not match gravity in the measured attitude: "
            "check the accelerometer's sign, axes and unit, and the attitude",
            "torque": f"the torques of {' and '.join(untrue)} do not match their commands and "
            "positions: two joints are swapped, or the drives do not follow",
            "still": f"{names[changed_nm.argmax()]} stands still while its command moves: check "
            "its encoder",
        }
        shares = self.shares
        beyond = [rule for rule in texts if shares[rule] >= 1.0]
        near = [rule for rule in texts if WARNING_SHARE <= shares[rule] < 1.0]
        # without numbers: each new number would make a new text for the log
        self.problem = "; ".join(texts[rule] for rule in beyond)
        self.warning = "; ".join(f"{texts[rule]} (near the limit)" for rule in near)


def _axes(rpy: F64) -> F64:
    """Return the body's axes in the world frame, as columns [3, 3]."""
    roll, pitch, yaw = rpy.tolist()
    cr, sr, cp, sp, cy, sy = cos(roll), sin(roll), cos(pitch), sin(pitch), cos(yaw), sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _turn(before: F64, axes: F64) -> F64:
    """Return the small rotation from one attitude to another, in the body frame [3], rad."""
    _, (_, _, yz), _ = rows = (before.T @ axes).tolist()
    (_, xy, xz), (yx, _, _), (zx, zy, _) = rows
    return np.array([0.5 * (zy - yz), 0.5 * (xz - zx), 0.5 * (yx - xy)])


def _length(vector: F64) -> float:
    return float(np.sqrt(vector @ vector))
