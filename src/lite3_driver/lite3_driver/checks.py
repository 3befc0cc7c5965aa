# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What must be true of a state, and of the robot before anything is sent to it."""

from collections import deque

import numpy as np

from lite3_driver import figures
from lite3_driver.meters import NS_PER_S
from lite3_driver.wire import F64, JOINT_NAMES, TICKS, TICKS_PER_S, State

_STILL_RAD_S = 0.3
_STILL_GYRO_RAD_S = 0.2
_STILL_S = 0.5
_LEVEL_RAD = 0.35
_TURN_RAD = np.radians(5.0)
_WINDOW_S = 1.0
_SAMPLE_S = 0.02
_LONGEST_STEP_S = 0.1
_STEEPEST_RAD = np.radians(60.0)
_TOLERANCE = 1.25
_DEGREES = 180.0 / np.pi

# A state beyond these tells of no robot: a stop gives way by less, and so much an overloaded drive
# neither turns nor carries. IMUs of such robots measure to 2000 deg/s and 16 g; which unit the
# host sends is not known before the robot was turned, so that the limit is in deg/s.
_BEYOND_RANGE_RAD = 0.5
_BEYOND_RATED_SPEED, _BEYOND_RATED_TORQUE = 2.0, 3.0
_NOISE_RAD = 0.1
"""By how much two positions may differ at once: encoders' noise, frames that come in a burst."""
_FASTEST_TURN = np.degrees(50.0)
_LARGEST_ACCELERATION_MPS2 = 20.0 * 9.81
_LARGEST_ANGLE_RAD = 100.0 * 2.0 * np.pi
"""Nobody says that yaw does not count turns."""
_HIGHEST = np.concatenate([
    figures.HIGHEST_RAD + _BEYOND_RANGE_RAD, figures.FASTEST_RAD_S * _BEYOND_RATED_SPEED,
    figures.LARGEST_TORQUE_NM * _BEYOND_RATED_TORQUE,
    np.full(3, _FASTEST_TURN), np.full(3, _LARGEST_ACCELERATION_MPS2),
    np.full(3, _LARGEST_ANGLE_RAD)])
_LOWEST = -_HIGHEST
_LOWEST[:len(JOINT_NAMES)] = figures.LOWEST_RAD - _BEYOND_RANGE_RAD
_VALUES = [
    f"the {what} of {which}" for whats, names in (
        (("position", "velocity", "torque"), JOINT_NAMES),
        (("angular velocity", "acceleration", "angle"), ("axis x", "axis y", "axis z")))
    for what in whats for which in names]


def implausible(state: State) -> str:
    """Return why no robot can be so, angular velocity in whatever unit the host sends."""
    values = np.concatenate([state.joint_pos, state.joint_vel, state.joint_effort,
                             state.ang_vel, state.lin_acc, state.rpy])
    beyond = (values < _LOWEST) | (values > _HIGHEST)
    if not beyond.any():
        return ""
    first = int(beyond.argmax())
    return (f"{_VALUES[first]} is {values[first]:.4g}, expected "
            f"{_LOWEST[first]:.4g}..{_HIGHEST[first]:.4g}")


def jump(before: State, state: State, passed_s: float) -> str:
    """Return which joint cannot have moved so far within a time: a sentence, or nothing."""
    moved = np.abs(state.joint_pos - before.joint_pos)
    if moved.max() <= _NOISE_RAD:
        return ""
    furthest = _NOISE_RAD + _BEYOND_RATED_SPEED * figures.FASTEST_RAD_S * passed_s
    beyond = moved > furthest
    if not beyond.any():
        return ""
    first = int(beyond.argmax())
    return (f"the position of {JOINT_NAMES[first]} jumps by {moved[first]:.3g} rad in "
            f"{1e3 * passed_s:.0f} ms, expected at most {furthest[first]:.3g}")


class Stillness:
    """For how long neither the joints nor the body have moved."""

    def __init__(self) -> None:
        """Begin with a robot that moves."""
        self._since_ns: int | None = None

    def see(self, state: State, now_ns: int) -> None:
        """Take one state into account."""
        moves = (np.abs(state.joint_vel).max() > _STILL_RAD_S
                 or np.abs(state.ang_vel).max() > _STILL_GYRO_RAD_S)
        if moves:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns

    def problems(self, now_ns: int) -> list[str]:
        """Return why the robot does not lie still: a sentence, or nothing."""
        if self._since_ns is not None and now_ns - self._since_ns >= _STILL_S * NS_PER_S:
            return []
        return [f"the robot moves: for {_STILL_S} s no joint may be faster than {_STILL_RAD_S} "
                f"rad/s and no axis of the body faster than {_STILL_GYRO_RAD_S} rad/s (at rest "
                "that also shows a wrong angular_velocity_unit)"]


class YawRate:
    """Holds the angular velocity against the attitude, whenever the robot turns.

    Over any second in which yaw changes by more than 5 degrees, the integral of the yaw rate
    (Euler's kinematic equation for rotations about z, y, x) must be that change. The vendor's
    header and its programs disagree on the unit by a factor of 57.3. Time is the host's, its tick
    in ms: a machine that hears late of the frames of a turn must not take them for a quick one.

    Attributes:
        ratio: Integral over change in the newest such second, 1 where all is well; None before.
    """

    def __init__(self) -> None:
        """Begin with a robot that has not turned."""
        self.ratio: float | None = None
        self._samples: deque[tuple[float, float, float]] = deque()
        self._last: tuple[int, float] | None = None
        self._time_s = self._yaw = self._integral = 0.0

    def see(self, state: State) -> None:
        """Take one state into account, angular velocity as it is believed to be in rad/s."""
        roll, pitch, yaw = (float(angle) for angle in state.rpy)
        last, self._last = self._last, (state.tick, yaw)
        step_s = (state.tick - last[0]) % TICKS / TICKS_PER_S if last else 0.0
        if last is None or step_s > _LONGEST_STEP_S or abs(pitch) > _STEEPEST_RAD:
            self._samples.clear()
            return
        _, rate_y, rate_z = (float(rate) for rate in state.ang_vel)
        self._integral += step_s * (
            rate_y * np.sin(roll) + rate_z * np.cos(roll)) / np.cos(pitch)
        self._yaw += (yaw - last[1] + np.pi) % (2.0 * np.pi) - np.pi
        self._time_s += step_s
        if not self._samples or self._time_s - self._samples[-1][0] >= _SAMPLE_S:
            self._sample()

    def _sample(self) -> None:
        self._samples.append((self._time_s, self._yaw, self._integral))
        while self._time_s - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        _, yaw, integral = self._samples[0]
        if abs(self._yaw - yaw) > _TURN_RAD:
            self.ratio = (self._integral - integral) / (self._yaw - yaw)

    @property
    def other_unit(self) -> bool:
        """Whether the robot has turned, and only another unit explains what it told of that."""
        return self.ratio is not None and any(
            _near(self.ratio, factor) for factor in (_DEGREES, 1.0 / _DEGREES))

    def problems(self, *, unit: str, waived: bool) -> list[str]:
        """Return why the angular velocity cannot be trusted: a sentence, or nothing."""
        if self.ratio is None:
            return [] if waived else [
                "the unit of the angular velocity has not been checked: turn the robot with the "
                "vendor's remote, by 90 degrees within some seconds, or set "
                "angular_velocity_checked where this robot has passed before"]
        if _near(self.ratio, 1.0):
            return []
        other, factor = ("deg/s", _DEGREES) if unit == "rad/s" else ("rad/s", 1.0 / _DEGREES)
        remedy = (f"set angular_velocity_unit: {other}" if _near(self.ratio, factor)
                  else "no unit explains that, so that the IMU cannot be trusted")
        return [f"while the robot turned, the integral of the angular velocity, taken as {unit}, "
                f"was {self.ratio:.3g} times the change of yaw: {remedy}"]


def pose_problems(state: State) -> list[str]:
    """Return why the robot does not lie folded: a sentence each, or nothing."""
    position, margin = state.joint_pos, figures.POSITION_MARGIN_RAD
    problems = [
        f"{name} is at {angle:.2f} rad, outside its range {low:.2f}..{high:.2f}: a wrong zero of "
        "the encoder, or not this robot"
        for name, angle, low, high in _outside(
            position, figures.LOWEST_RAD - margin, figures.HIGHEST_RAD + margin)]
    problems += [
        f"the robot does not lie folded: {name} is at {angle:.2f} rad, expected {low:.2f}.."
        f"{high:.2f}"
        for name, angle, low, high in _outside(
            position, figures.FOLDED_LOWEST_RAD, figures.FOLDED_HIGHEST_RAD)]
    tilt = np.abs(state.rpy[:2]).max()
    if tilt > _LEVEL_RAD:
        problems.append(f"the robot is tilted by {tilt:.2f} rad, expected at most {_LEVEL_RAD}")
    return problems


def _outside(values: F64, low: F64, high: F64) -> list[tuple[str, float, float, float]]:
    return [(JOINT_NAMES[joint], values[joint], low[joint], high[joint])
            for joint in np.flatnonzero((values < low) | (values > high))]


def _near(ratio: float, expected: float) -> bool:
    return 1.0 / _TOLERANCE < ratio / expected < _TOLERANCE
