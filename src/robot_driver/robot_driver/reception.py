# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reception of the robot's state: the newest state, its age and rate, and rejected datagrams."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from robot_driver.interfaces import F64, NS_PER_S, DriveFigures, DriverSettings, DriveState

StateT = TypeVar("StateT", bound=DriveState)
Source = tuple[str, int]
"""Source of a datagram: address and port, or the name of a channel and a number."""

# Bounds that no robot can exceed: stops yield by less, and even an overloaded drive is slower and
# weaker.
_BEYOND_RANGE_RAD = 0.5
_BEYOND_RATED_SPEED, _BEYOND_RATED_TORQUE = 2.0, 3.0
_FROZEN_S = 0.05
"""An IMU whose values do not change for this long has failed; a working IMU has noise."""
_NOISE_RAD = 0.1
"""Jump between two positions that is always allowed, for encoder noise and frames in a burst."""


class Rate:
    """Measures the rate of an event over the last second."""

    def __init__(self) -> None:
        self._times_ns: deque[int] = deque()

    def add(self, now_ns: int) -> None:
        self._times_ns.append(now_ns)
        self._forget(now_ns)

    def value_hz(self, now_ns: int) -> float:
        """Return the number of events in the last second."""
        self._forget(now_ns)
        return float(len(self._times_ns))

    def _forget(self, now_ns: int) -> None:
        while self._times_ns and self._times_ns[0] <= now_ns - NS_PER_S:
            self._times_ns.popleft()


class StateReception(ABC, Generic[StateT]):
    """Keeps the newest valid state. A robot's subclass decides which datagrams are valid.

    Attributes:
        state: Newest state, in SI units; None before the first state.
        state_ns: Receipt time of the state, on the steady clock.
        rate: Rate of valid states.
        counts: Number of datagrams by kind.
        restarted: True if the robot was restarted before it sent the newest state.
        instead: Kind and error of the newest datagram, if it is not a state; otherwise "".
    """

    def __init__(self, settings: DriverSettings, counts: Sequence[str]) -> None:
        """Start with no state; `counts` lists the kinds of datagrams other than `received`."""
        self._timeout_s = settings.state_timeout_s
        self.state: StateT | None = None
        self.state_ns = 0
        self.rate = Rate()
        self.counts = {"received": 0, **dict.fromkeys(counts, 0)}
        self.restarted, self.instead = False, ""
        self._imu, self._imu_ns = b"", 0

    @abstractmethod
    def receive(self, data: bytes, source: Source, now_ns: int) -> StateT | None:
        """Return the state in a datagram, if it is valid and the robot's newest; otherwise None."""

    @abstractmethod
    def silence(self, now_ns: int) -> str:
        """Return a message about missing states: what arrives instead, and the remedy."""

    @property
    def rejection(self) -> str:
        """Error in the newest datagram, for `silence`; "" if it is a state, or none arrived."""
        return f"its frames are rejected as {self.instead}" if self.instead else ""

    def age_s(self, now_ns: int) -> float:
        """Return the age of the newest state, s; infinite before the first state."""
        return float("inf") if self.state is None else (now_ns - self.state_ns) / NS_PER_S

    def fresh(self, now_ns: int) -> bool:
        """Return True if the newest state is recent enough to use."""
        return self.age_s(now_ns) <= self._timeout_s

    def accept(self, state: StateT, now_ns: int) -> StateT:
        """Keep a state as the newest, and return it."""
        self.state, self.state_ns, self.instead = state, now_ns, ""
        self.counts["received"] += 1
        self.rate.add(now_ns)
        return state

    def imu_stands_still(self, imu: bytes, now_ns: int) -> bool:
        """Return True if the IMU's data, noise included, has not changed for more than 50 ms."""
        if imu != self._imu:
            self._imu, self._imu_ns = imu, now_ns
        return now_ns - self._imu_ns > _FROZEN_S * NS_PER_S

    def reject(self, what: str, why: str = "") -> StateT | None:
        """Count a datagram that is not a state, and return None."""
        self.counts[what] += 1
        self.instead = f"`{what}`: {why}" if why else f"`{what}`"
        return None


class StateBounds:
    """Bounds on the state of a robot, and on how fast its joints can move."""

    def __init__(
        self,
        figures: DriveFigures,
        vectors: Sequence[tuple[str, float]] = (),
    ) -> None:
        """Compute the bounds from a robot's data.

        Args:
            figures: The robot's drive figures.
            vectors: Name of each additional vector [3], and the maximum magnitude of its elements,
                in the unit in which it is sent.
        """
        self._figures = figures
        names = figures.joint_names
        self._high = np.concatenate(
            [
                figures.highest_rad + _BEYOND_RANGE_RAD,
                figures.fastest_rad_s * _BEYOND_RATED_SPEED,
                figures.largest_torque_nm * _BEYOND_RATED_TORQUE,
                *(np.full(3, largest) for _, largest in vectors),
            ]
        )
        self._low = -self._high
        self._low[: len(names)] = figures.lowest_rad - _BEYOND_RANGE_RAD
        self._labels = [
            f"the {what} of {name}" for what in ("position", "velocity", "torque") for name in names
        ]
        self._labels += [f"the {axis}-axis {what}" for what, _ in vectors for axis in "xyz"]

    def implausible(self, state: DriveState, *vectors: F64) -> str:
        """Return why this state and these vectors [3] are impossible; "" if they are possible."""
        values = np.concatenate([state.joint_pos, state.joint_vel, state.joint_effort, *vectors])
        beyond = ~((values >= self._low) & (values <= self._high))  # also true for NaN
        if not beyond.any():
            return ""
        first = int(beyond.argmax())
        return (
            f"{self._labels[first]} is {values[first]:.4g}, expected "
            f"{self._low[first]:.4g}..{self._high[first]:.4g}"
        )

    def jump(self, before: F64, position: F64, passed_s: float) -> str:
        """Return why a joint cannot have reached its position [n], rad, in this time, or ""."""
        moved = np.abs(position - before)
        if moved.max() <= _NOISE_RAD:
            return ""
        furthest = _NOISE_RAD + _BEYOND_RATED_SPEED * self._figures.fastest_rad_s * passed_s
        beyond = moved > furthest
        if not beyond.any():
            return ""
        first = int(beyond.argmax())
        return (
            f"the position of {self._figures.joint_names[first]} jumps by {moved[first]:.3g} rad "
            f"in {1e3 * passed_s:.0f} ms, expected at most {furthest[first]:.3g}"
        )
