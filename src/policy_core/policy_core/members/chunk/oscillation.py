# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Detect an arm that oscillates around one position, and name the likely cause.

Two causes look alike from the outside. If the gain is too high, the drive oscillates around a fixed
target. If the policy is uncertain, the targets themselves oscillate.
"""

from collections.abc import Sequence

import numpy as np

from policy_core.control_state import Stateful
from policy_core.interfaces import F64

_WINDOW_S = 3.0
_CROSSINGS = 6
"""Number of mean crossings in a window at which a joint counts as oscillating."""
_SMALLEST_RAD, _LARGEST_RAD = 0.01, 0.15
"""Amplitude range of an oscillation: less is backlash, more is deliberate motion."""
_STILL_RAD = 0.01
"""Range within which a target counts as fixed."""
_DRIVE = (
    "its target is fixed, so the drive causes it: lower its gains (Feetech servos of "
    "SO-100 and SO-101 arms: P 16, I 0, D 0; they leave the factory with P 32)"
)
_POLICY = (
    "its targets oscillate, so the policy causes it: too little training, units or "
    "statistics that differ from its training data, swapped cameras, or chunks that "
    "do not begin where the previous one ended (try a longer fade, or the mode ensemble)"
)


class Oscillation(Stateful):
    """Detects joints that oscillated in the last few seconds of RUN, and the likely cause.

    One thread adds data; another may read the problems.
    """

    PLAN = ("_ticks",)

    def __init__(self, names: Sequence[str], period_ns: int) -> None:
        """Start without data.

        Args:
            names: Joint names, in the order of all arrays.
            period_ns: Period of the policy.
        """
        self._names, self._period_s = tuple(names), period_ns * 1e-9
        self._ticks = max(2, round(_WINDOW_S / self._period_s))
        self._values = np.zeros((self._ticks, 2, len(self._names)))
        self.restart()

    def restart(self) -> None:
        """Discard all data; called at the start of each RUN."""
        self._count = 0

    def add(self, measured: F64, command: F64) -> None:
        """Add a tick's measured positions and the preceding command, both [joints], rad."""
        place = self._count % self._ticks
        self._values[place, 0], self._values[place, 1] = measured, command
        self._count += 1

    def take(self, values: F64, count: int) -> None:
        """Replace the data with the native core's [ticks, 2, joints]; `count` ticks were added."""
        self._values[:], self._count = values, count

    @property
    def problems(self) -> list[str]:
        """A description of each oscillating joint; empty until a window is full."""
        count = self._count
        if count < self._ticks:
            return []
        values = np.roll(self._values, -(count % self._ticks), axis=0)
        return [
            text
            for joint, name in enumerate(self._names)
            if (text := self._judge(name, values[:, 0, joint], values[:, 1, joint]))
        ]

    def _judge(self, name: str, measured: F64, command: F64) -> str:
        amplitude_rad = float(np.ptp(measured)) / 2.0
        crossings = _crossings(measured)
        if len(crossings) < _CROSSINGS or not _SMALLEST_RAD <= amplitude_rad <= _LARGEST_RAD:
            return ""
        still = np.ptp(command) <= _STILL_RAD
        if not still and len(_crossings(command)) < _CROSSINGS:
            return ""
        half_turns = len(crossings) - 1
        frequency_hz = half_turns / (2.0 * (crossings[-1] - crossings[0]) * self._period_s)
        middle_rad = round(float(measured.mean()), 2) + 0.0  # never "-0.00"
        return (
            f"{name} oscillates about {middle_rad:.2f} rad by {amplitude_rad:.3f} rad at "
            f"{frequency_hz:.1f} Hz; {_DRIVE if still else _POLICY}"
        )


def _crossings(values: F64) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Return the indices at which the values cross their mean.

    Values within half the smallest amplitude of the mean are ignored.
    """
    away = values - values.mean()
    places = np.flatnonzero(np.abs(away) > _SMALLEST_RAD / 2.0)
    found: np.ndarray[tuple[int], np.dtype[np.intp]]
    found = places[1:][np.diff(np.sign(away[places])) != 0]
    return found
