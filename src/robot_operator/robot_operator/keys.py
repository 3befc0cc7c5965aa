# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of a terminal: a held one drives, a pressed one asks for something."""

from robot_operator.requests import Request
from robot_operator.velocity import STILL, Velocity

ASKING = {
    "T": Request.TAKE_CONTROL, "S": Request.STAND, "W": Request.RUN, "d": Request.DAMP,
    "g": Request.RELEASE_CONTROL, "c": Request.RESET, "e": Request.ESTOP, "escape": Request.ESTOP,
}  # fmt: skip
"""By name of the key. What lets a robot move that lay still needs the shift key."""
STOP = "space"
_DRIVING = {
    "up": (0, 1.0), "down": (0, -1.0), "comma": (1, 1.0), "full_stop": (1, -1.0),
    "left": (2, 1.0), "right": (2, -1.0),
}  # fmt: skip
"""Axis (vx, vy, wz) and direction by name of the key."""
_SHARES = {"plus": 0.1, "minus": -0.1}
_SMALLEST_SHARE = 0.1


class Keys:
    """A terminal does not tell when a key is released: one that is silent for a while is."""

    def __init__(self, timeout_ns: int, share: float) -> None:
        """Begin with no key held.

        Args:
            timeout_ns: A key that has not come for so long is released.
            share: Of the largest velocity, what a key asks for, in 0.1..1; `+` and `-` change it.
        """
        self._timeout_ns = timeout_ns
        self.share = share
        self._held: dict[int, tuple[float, int]] = {}

    def press(self, key: str, now_ns: int) -> Request | None:
        """Take a key, once or as its repetition; return what it asks for, if anything.

        Args:
            key: Name: a letter as it is, `up`, `space`, `escape`, `plus`, `full_stop`, ...
            now_ns: Steady clock.
        """
        if key in _DRIVING:
            axis, direction = _DRIVING[key]
            self._held[axis] = direction, now_ns
        elif key in _SHARES:
            self.share = min(max(self.share + _SHARES[key], _SMALLEST_SHARE), 1.0)
        return ASKING.get(key)

    def shares(self, now_ns: int) -> Velocity:
        """Return the velocity that the held keys ask for, as shares (-1..1) of the largest."""
        vx, vy, wz = (self._share(axis, now_ns) for axis in range(len(STILL)))
        return vx, vy, wz

    def let_go(self) -> None:
        """Count every key as released."""
        self._held.clear()

    def _share(self, axis: int, now_ns: int) -> float:
        direction, pressed_ns = self._held.get(axis, (0.0, now_ns))
        return direction * self.share if now_ns - pressed_ns <= self._timeout_ns else 0.0


def key_of(request: Request) -> str:
    """Return the key that asks for something."""
    return next(key for key, asked in ASKING.items() if asked is request)
