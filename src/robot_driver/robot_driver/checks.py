# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Start checks for several kinds of robots; each robot's interface selects those that it needs."""

from collections import deque

import numpy as np

from robot_driver.interfaces import F64, NS_PER_S, DriveFigures

TICKS, TICKS_PER_S = 1 << 32, 1000
"""Modulus and rate of a robot's tick counter."""
_STILL_RAD_S = 0.3
_STILL_GYRO_RAD_S = 0.2
_STILL_S = 0.5
_TURN_RAD = np.radians(5.0)
_WINDOW_S = 1.0
_SAMPLE_S = 0.02
_LONGEST_STEP_S = 0.1
_STEEPEST_RAD = np.radians(60.0)
_TOLERANCE = 1.25
_DEGREES = 180.0 / np.pi


def range_problems(joint_pos: F64, figures: DriveFigures) -> list[str]:
    """Return a sentence for each joint whose position [n], in rad, is outside its range."""
    margin = figures.position_margin_rad
    found = outside(joint_pos, figures.lowest_rad - margin, figures.highest_rad + margin)
    return [
        f"{figures.joint_names[joint]} is at {angle:.2f} rad, outside its range "
        f"{low:.2f}..{high:.2f}: the encoder's zero is wrong, or this is a different robot"
        for joint, angle, low, high in found
    ]


def outside(values: F64, low: F64, high: F64) -> list[tuple[int, float, float, float]]:
    """Return the index, the value and both bounds of each value [n] outside its bounds."""
    found = np.flatnonzero((values < low) | (values > high))
    return [(int(i), float(values[i]), float(low[i]), float(high[i])) for i in found]


class Stillness:
    """Measures how long neither the joints nor the body has moved."""

    def __init__(self) -> None:
        self._since_ns: int | None = None

    def see(self, joint_vel: F64, ang_vel: F64, now_ns: int) -> None:
        """Update with a state: joint velocities [n] and body angular velocity [3], rad/s."""
        moves = np.abs(joint_vel).max() > _STILL_RAD_S or np.abs(ang_vel).max() > _STILL_GYRO_RAD_S
        if moves:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns

    def problems(self, now_ns: int) -> list[str]:
        """Return a sentence stating that the robot is moving; empty if it is at rest."""
        if self._since_ns is not None and now_ns - self._since_ns >= _STILL_S * NS_PER_S:
            return []
        return [
            f"the robot is moving: for {_STILL_S} s no joint may be faster than {_STILL_RAD_S} "
            f"rad/s and no axis of the body faster than {_STILL_GYRO_RAD_S} rad/s (if the robot "
            "is at rest, angular_velocity_unit is wrong)"
        ]


class YawRateCheck:
    """Checks the unit of the angular velocity by comparing it with the attitude as the robot turns.

    Over each second in which yaw changes by more than 5 degrees, the integral of the yaw rate
    (Euler's kinematic equation for rotations about z, y, x) must equal that change; a wrong unit
    gives a factor of 57.3. Time is the robot's tick in ms, so frames that arrive late in a burst do
    not look like a fast turn.

    Attributes:
        ratio: Integral divided by the change, over the newest such second; ideally 1. None before
            the first.
    """

    def __init__(self) -> None:
        self.ratio: float | None = None
        self._samples: deque[tuple[float, float, float]] = deque()
        self._last: tuple[int, float] | None = None
        self._time_s = self._yaw = self._integral = 0.0

    def see(self, tick: int, rpy: F64, ang_vel: F64) -> None:
        """Update with a state.

        Args:
            tick: The robot's tick, ms, modulo TICKS.
            rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
            ang_vel: Angular velocity in the body frame [3], assumed to be in rad/s.
        """
        roll, pitch, yaw = (float(angle) for angle in rpy)
        last, self._last = self._last, (tick, yaw)
        step_s = (tick - last[0]) % TICKS / TICKS_PER_S if last else 0.0
        if last is None or step_s > _LONGEST_STEP_S or abs(pitch) > _STEEPEST_RAD:
            self._samples.clear()
            return
        _, rate_y, rate_z = (float(rate) for rate in ang_vel)
        self._integral += step_s * (rate_y * np.sin(roll) + rate_z * np.cos(roll)) / np.cos(pitch)
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
        """True if the robot has turned, and its IMU data show a different unit."""
        return self.ratio is not None and any(
            _near(self.ratio, factor) for factor in (_DEGREES, 1.0 / _DEGREES)
        )

    def problems(self, *, unit: str, waived: bool) -> list[str]:
        """Return the reasons not to trust the angular velocity, as sentences.

        Args:
            unit: The unit that is configured.
            waived: True to accept a robot that has not turned yet.
        """
        if self.ratio is None:
            return (
                []
                if waived
                else [
                    "the unit of the angular velocity has not been checked: turn the robot by 90 "
                    "degrees within a few seconds with the vendor's remote, or set "
                    "angular_velocity_checked if this robot has passed the check before"
                ]
            )
        if _near(self.ratio, 1.0):
            return []
        other, factor = ("deg/s", _DEGREES) if unit == "rad/s" else ("rad/s", 1.0 / _DEGREES)
        remedy = (
            f"set angular_velocity_unit: {other}"
            if _near(self.ratio, factor)
            else "no unit explains that, so the IMU cannot be trusted"
        )
        return [
            f"while the robot turned, the integral of the angular velocity, taken as {unit}, "
            f"was {self.ratio:.3g} times the change in yaw: {remedy}"
        ]


def _near(ratio: float, expected: float) -> bool:
    return 1.0 / _TOLERANCE < ratio / expected < _TOLERANCE
