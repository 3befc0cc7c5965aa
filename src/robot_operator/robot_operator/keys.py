# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of a terminal: a held one drives, a pressed one asks for something."""

from collections import deque

from robot_operator.requests import MOVING, OperatorRequest
from robot_operator.velocity import STILL, Velocity

ASKING = {
    "t": OperatorRequest.TAKE_CONTROL,
    "s": OperatorRequest.STAND,
    "w": OperatorRequest.RUN,
    "o": OperatorRequest.TAKE_OVER,
    "p": OperatorRequest.HAND_BACK,
    "d": OperatorRequest.DAMP,
    "g": OperatorRequest.RELEASE_CONTROL,
    "c": OperatorRequest.RESET,
    "e": OperatorRequest.ESTOP,
    "escape": OperatorRequest.ESTOP,
}
"""By name of the key, whatever Caps Lock says. What is MOVING needs CONFIRM as well."""
STOP = "space"
CONFIRM = "enter"
_DRIVING = {
    "up": (0, 1.0),
    "down": (0, -1.0),
    "comma": (1, 1.0),
    "full_stop": (1, -1.0),
    "left": (2, 1.0),
    "right": (2, -1.0),
}
"""Axis (vx, vy, wz) and direction by name of the key."""
_SHARES = {"plus": 0.1, "minus": -0.1}
_SMALLEST_SHARE = 0.1
_CONFIRM_AFTER_NS, _CONFIRM_WITHIN_NS = 100_000_000, 5_000_000_000
"""Two keys that come together were pasted, or have waited somewhere; an old one is forgotten."""
_BURST, _BURST_NS = 10, 100_000_000
"""No keyboard repeats a key so fast: these have waited, as where a network stood still."""


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
        self._barred_until_ns: int | None = None
        self._driven_ns: deque[int] = deque(maxlen=_BURST)
        self._wish: tuple[OperatorRequest, int] | None = None

    def press(self, key: str, now_ns: int) -> OperatorRequest | None:
        """Take a key, once or as its repetition; return what it asks for, if anything.

        Args:
            key: Name: a letter, `up`, `space`, `enter`, `escape`, `plus`, `full_stop`, ...
            now_ns: Steady clock.
        """
        if key in _DRIVING:
            self._drive(*_DRIVING[key], now_ns)
        elif key in _SHARES:
            self.share = min(max(self.share + _SHARES[key], _SMALLEST_SHARE), 1.0)
        wish, self._wish = self._wish, None
        if key == CONFIRM and wish and wish[1] + _CONFIRM_AFTER_NS <= now_ns:
            return wish[0] if now_ns <= wish[1] + _CONFIRM_WITHIN_NS else None
        asked = ASKING.get(key.lower())
        if asked is None or asked not in MOVING:
            return asked
        self._wish = asked, now_ns
        return None

    def wish(self, now_ns: int) -> OperatorRequest | None:
        """Return what will be asked for if the next key is CONFIRM."""
        request, pressed_ns = self._wish or (None, 0)
        return request if now_ns <= pressed_ns + _CONFIRM_WITHIN_NS else None

    def barred(self, now_ns: int) -> bool:
        """Return whether the keys that drive do not count until they were let go."""
        return self._barred_until_ns is not None and now_ns <= self._barred_until_ns

    def shares(self, now_ns: int) -> Velocity:
        """Return the velocity that the held keys ask for, as shares (-1..1) of the largest."""
        vx, vy, wz = (self._share(axis, now_ns) for axis in range(len(STILL)))
        return vx, vy, wz

    def let_go(self, now_ns: int) -> None:
        """Count every key as released; none drives before all were silent for the timeout."""
        self._held.clear()
        self._wish = None
        self._barred_until_ns = now_ns + self._timeout_ns

    def _drive(self, axis: int, direction: float, now_ns: int) -> None:
        burst = len(self._driven_ns) == _BURST and now_ns - self._driven_ns[0] < _BURST_NS
        self._driven_ns.append(now_ns)
        if burst or self.barred(now_ns):
            self.let_go(now_ns)
        else:
            self._held[axis] = direction, now_ns

    def _share(self, axis: int, now_ns: int) -> float:
        direction, pressed_ns = self._held.get(axis, (0.0, now_ns))
        return direction * self.share if now_ns - pressed_ns <= self._timeout_ns else 0.0


def keys_of(request: OperatorRequest) -> str:
    """Return the keys that ask for something, for a person."""
    key = next(key for key, asked in ASKING.items() if asked is request)
    return f"{key}, Enter" if request in MOVING else key
