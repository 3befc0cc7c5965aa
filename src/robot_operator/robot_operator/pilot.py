# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Turn joystick and key input into one velocity and requests, without ROS or a clock."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robot_operator.requests import MOVING, STOPPING, OperatorRequest

Velocity = tuple[float, float, float]
"""[vx, vy, wz], m/s, m/s, rad/s, body frame (x forward, y to the left, z up)."""

STILL: Velocity = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityLimits:
    """Limits on a commanded velocity and on its rate of change, all > 0."""

    max_vx_mps: float
    max_vy_mps: float
    max_wz_radps: float
    acceleration_mps2: float
    deceleration_mps2: float
    acceleration_radps2: float
    deceleration_radps2: float

    def scaled(self, shares: Velocity) -> Velocity:
        """Return the velocity at these shares of the maximum, each in -1..1."""
        vx, vy, wz = (min(max(share, -1.0), 1.0) for share in shares)
        return vx * self.max_vx_mps, vy * self.max_vy_mps, wz * self.max_wz_radps

    def towards(self, now: Velocity, wanted: Velocity, duration_s: float) -> Velocity:
        """Return the velocity that is reached from `now` after `duration_s` on the way to `wanted`.

        Away from zero, each axis is limited by its acceleration; toward zero, by its deceleration.
        A reversal stops at zero and so takes two calls.
        """
        faster = (self.acceleration_mps2, self.acceleration_mps2, self.acceleration_radps2)
        slower = (self.deceleration_mps2, self.deceleration_mps2, self.deceleration_radps2)
        vx, vy, wz = (
            _towards(*axis, duration_s) for axis in zip(now, wanted, faster, slower, strict=True)
        )
        return vx, vy, wz


def _towards(now: float, wanted: float, faster: float, slower: float, duration_s: float) -> float:
    if now * wanted < 0.0:
        wanted = 0.0
    step = duration_s * (slower if abs(wanted) < abs(now) else faster)
    return min(max(wanted, now - step), now + step)


NO_BUTTON = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class JoystickLayout:
    """Layout of a joystick: indices into the axes and buttons of its messages."""

    axis_vx: int
    axis_vy: int
    axis_wz: int
    inverted: tuple[bool, bool, bool]
    """For each of vx, vy, wz: True if its sign is opposite to that of its axis."""
    deadband: float
    """Dead band: share of an axis's range, 0 to 1, that counts as zero."""
    button_deadman: int
    buttons: Mapping[OperatorRequest, int]
    """Button of each request; NO_BUTTON for none."""

    def problems(self) -> list[str]:
        """Return a sentence for each button that is assigned more than once."""
        names: dict[int, list[str]] = {}
        for name, index in self._named():
            names.setdefault(index, []).append(f"button_{name}")
        return [
            f"{' and '.join(twice)}: expected different buttons, found {index} for each"
            for index, twice in names.items()
            if len(twice) > 1
        ]

    def missing(self, axes: int, buttons: int) -> str:
        """Return what a joystick with this many axes and buttons lacks; "" if nothing."""
        lacking = [
            f"axis {axis}" for axis in (self.axis_vx, self.axis_vy, self.axis_wz) if axis >= axes
        ]
        lacking += [f"button {index} ({name})" for name, index in self._named() if index >= buttons]
        if not lacking:
            return ""
        return (
            f"expected a joystick with {', '.join(lacking)}, found one with {axes} axes and "
            f"{buttons} buttons; set the parameters axis_* and button_*"
        )

    def _named(self) -> list[tuple[str, int]]:
        pairs = [
            ("deadman", self.button_deadman),
            *((request.value, index) for request, index in self.buttons.items()),
        ]
        return [(name, index) for name, index in pairs if index != NO_BUTTON]


class Joystick:
    """Accepts a joystick only while it sends messages and once it has been seen released.

    A joystick that hangs, or is deflected at startup or after being lost, therefore moves nothing
    until the dead-man's switch has been seen released. Nor does a stick that is deflected when the
    switch is pressed, until it has been seen centered with the switch held.
    """

    def __init__(self, layout: JoystickLayout, timeout_ns: int, unchanged_ns: int) -> None:
        """Start without a joystick.

        Args:
            layout: Joystick axes and buttons.
            timeout_ns: Time after the last message at which the joystick counts as lost.
            unchanged_ns: Time without a change in deflection after which the joystick counts as
                frozen, since a wireless receiver repeats the last values when the joystick is out
                of range.
        """
        self._layout, self._timeout_ns, self._unchanged_ns = layout, timeout_ns, unchanged_ns
        self._heard_ns: int | None = None
        self._newest: tuple[Sequence[float], Sequence[int]] | None = None
        self._changed_ns = 0
        self._shares = STILL
        self._pressed: frozenset[OperatorRequest] | None = None
        self._held = self._released_once = self._centred = False
        self.deadman = False
        """True if the dead-man's switch is held and valid."""
        self.trouble = ""
        """Reason why the joystick must not drive, in words for a person."""
        self.unheard: frozenset[OperatorRequest] = frozenset()
        """Requests that the buttons in the last message make if the dead-man's switch is held."""

    @property
    def present(self) -> bool:
        return self._heard_ns is not None

    @property
    def shares(self) -> Velocity:
        """Requested velocity, as shares (-1..1) of the maximum; zero unless the joystick drives."""
        return self._shares if self.deadman and self._centred else STILL

    @property
    def hint(self) -> str:
        """Action that a person must take before the joystick drives; empty if none."""
        if not self.deadman:
            return (
                "release the dead-man's switch once" if self._held else "hold the dead-man's switch"
            )
        return "" if self._centred else "center the sticks first"

    def hear(
        self, axes: Sequence[float], buttons: Sequence[int], now_ns: int, *, trouble: str = ""
    ) -> list[OperatorRequest]:
        """Handle a message; return the requests of the newly pressed buttons.

        Args:
            axes: Axis values, each in -1..1.
            buttons: Button values, each 0 or 1.
            now_ns: Receipt time, on the steady clock.
            trouble: Another reason not to drive; empty if there is none.
        """
        layout = self._layout
        self._heard_ns = now_ns
        newest = tuple(axes), tuple(buttons)
        if newest != self._newest:
            self._newest, self._changed_ns = newest, now_ns
        self.trouble = trouble or layout.missing(len(axes), len(buttons)) or _odd(axes)
        pressed = frozenset(
            request
            for request, index in layout.buttons.items()
            if 0 <= index < len(buttons) and buttons[index]
        )
        # A button held since before it was visible makes no request, except for the e-stop.
        before = pressed - {OperatorRequest.ESTOP} if self._pressed is None else self._pressed
        self._pressed = pressed
        asked = pressed - before
        self.unheard = frozenset()
        if self.trouble:
            self.let_go()
            return [request for request in asked if request is OperatorRequest.ESTOP]
        held = 0 <= layout.button_deadman < len(buttons) and bool(buttons[layout.button_deadman])
        self._held = held
        self._released_once = self._released_once or not held
        self.deadman = held and self._released_once
        chosen = (axes[layout.axis_vx], axes[layout.axis_vy], axes[layout.axis_wz])
        vx, vy, wz = (
            _share(-value if inverted else value, layout.deadband)
            for value, inverted in zip(chosen, layout.inverted, strict=True)
        )
        self._shares = vx, vy, wz
        if held and self._shares != STILL and now_ns - self._changed_ns > self._unchanged_ns:
            self.trouble = (
                "its deflection has not changed for "
                f"{self._unchanged_ns / 1e9:g} s: out of range? Release the dead-man's "
                "switch (joy_unchanged_s)"
            )
            self.let_go()
        self._centred = self.deadman and (self._centred or self._shares == STILL)
        self.unheard = frozenset() if self.deadman else asked & MOVING
        return [request for request in OperatorRequest if request in asked - self.unheard]

    def centre(self) -> None:
        """Stop driving until the sticks are seen centered."""
        self._centred = False

    def let_go(self) -> None:
        """Stop driving until the dead-man's switch has been released and is held again."""
        self._released_once = self.deadman = self._centred = False

    def lost(self, now_ns: int) -> bool:
        """Return whether the joystick has just been lost; it then counts as absent."""
        if self._heard_ns is None or now_ns - self._heard_ns <= self._timeout_ns:
            return False
        self.let_go()
        self._heard_ns = self._pressed = None
        self.trouble = ""
        return True


def _share(value: float, deadband: float) -> float:
    """Return the share (-1..1) for an axis value; zero within the dead band."""
    outside = max(abs(value) - deadband, 0.0) / (1.0 - deadband)
    return math.copysign(min(outside, 1.0), value)


def _odd(axes: Sequence[float]) -> str:
    if all(map(math.isfinite, axes)):
        return ""
    return "the joystick's axes: expected finite numbers, found NaN or infinity"


ASKING = {
    "t": OperatorRequest.TAKE_CONTROL,
    "s": OperatorRequest.STAND,
    "w": OperatorRequest.RUN,
    "right_square_bracket": OperatorRequest.MORE_AUTHORITY,
    "left_square_bracket": OperatorRequest.LESS_AUTHORITY,
    "o": OperatorRequest.TAKE_OVER,
    "p": OperatorRequest.HAND_BACK,
    "d": OperatorRequest.DAMP,
    "g": OperatorRequest.RELEASE_CONTROL,
    "c": OperatorRequest.RESET,
    "e": OperatorRequest.ESTOP,
    "escape": OperatorRequest.ESTOP,
}
"""Requests by key name, regardless of Caps Lock. Those in MOVING also need CONFIRM."""
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
"""Axis (index into vx, vy, wz) and direction, by key name."""
_SHARES = {"plus": 0.1, "minus": -0.1}
_SMALLEST_SHARE = 0.1
_CONFIRM_AFTER_NS, _CONFIRM_WITHIN_NS = 100_000_000, 5_000_000_000
"""Minimum and maximum time from a key to CONFIRM; keys closer together were pasted or queued."""
_BURST, _BURST_NS = 10, 100_000_000
"""Number of keys and time of a burst that is faster than any keyboard repeats; such keys were
queued, e.g. by the network.
"""


class Keys:
    """Keys typed in a terminal.

    A terminal does not report key releases, so a key that stops repeating counts as released.
    """

    def __init__(self, timeout_ns: int, share: float) -> None:
        """Start with no key held.

        Args:
            timeout_ns: Time without repetition after which a key counts as released.
            share: Velocity per key as a share of the maximum, 0.1..1; `+` and `-` change it.
        """
        self._timeout_ns = timeout_ns
        self.share = share
        self._held: dict[int, tuple[float, int]] = {}
        self._barred_until_ns: int | None = None
        self._driven_ns: deque[int] = deque(maxlen=_BURST)
        self._wish: tuple[OperatorRequest, int] | None = None

    def press(self, key: str, now_ns: int) -> OperatorRequest | None:
        """Handle a key press or repetition; return the key's request, if any.

        Args:
            key: Name: a letter, `up`, `space`, `enter`, `escape`, `plus`, `full_stop`, ...
            now_ns: Current time on the steady clock.
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
        """Return the request that would be made if the next key were CONFIRM."""
        request, pressed_ns = self._wish or (None, 0)
        return request if now_ns <= pressed_ns + _CONFIRM_WITHIN_NS else None

    def barred(self, now_ns: int) -> bool:
        """Return whether driving keys are ignored until they are released."""
        return self._barred_until_ns is not None and now_ns <= self._barred_until_ns

    def shares(self, now_ns: int) -> Velocity:
        """Return the velocity from the held keys, as shares (-1..1) of the maximum."""
        vx, vy, wz = (self._share(axis, now_ns) for axis in range(len(STILL)))
        return vx, vy, wz

    def let_go(self, now_ns: int) -> None:
        """Count all keys as released; none drives until all have been silent for the timeout."""
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


def read_keys(request: OperatorRequest) -> str:
    """Return the keys for requests, as text for a person."""
    key = next(key for key, asked in ASKING.items() if asked is request)
    return f"{key}, Enter" if request in MOVING else key


_NS_PER_S = 1e9
_LONGEST_STEP_S = 0.2
"""Maximum duration of a step, so that the velocity does not jump after a late one."""
_LATE_NS = 300_000_000
"""If a step is this late, the keys that waited for it are obsolete and drive nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotSettings:
    """Velocity limits, joystick layout, and timeouts."""

    limits: VelocityLimits
    layout: JoystickLayout
    joy_timeout_s: float
    joy_unchanged_s: float
    estop_if_lost: bool
    """True if losing the joystick triggers an e-stop rather than just zero velocity."""
    key_timeout_s: float
    key_share: float


class Pilot:
    """Drives while the dead-man's switch or a key is held; otherwise the velocity is zero."""

    def __init__(self, settings: PilotSettings) -> None:
        self._settings = settings
        self.joystick = Joystick(
            settings.layout,
            round(settings.joy_timeout_s * _NS_PER_S),
            round(settings.joy_unchanged_s * _NS_PER_S),
        )
        self.keys = Keys(round(settings.key_timeout_s * _NS_PER_S), settings.key_share)
        self.velocity = STILL
        """Velocity commanded at the last step."""
        self._stepped_ns: int | None = None

    def hear_joystick(
        self, axes: Sequence[float], buttons: Sequence[int], now_ns: int, *, trouble: str = ""
    ) -> list[OperatorRequest]:
        asked = self.joystick.hear(axes, buttons, now_ns, trouble=trouble)
        self._heed(asked, now_ns)
        return asked

    def press(self, key: str, now_ns: int) -> list[OperatorRequest]:
        self._heed_lateness(now_ns)
        if key == STOP:
            self.stop(now_ns)
        asked = self.keys.press(key, now_ns)
        self._heed([asked] if asked else [], now_ns)
        return [asked] if asked else []

    def stop(self, now_ns: int) -> None:
        """Go to zero velocity; joystick and keys drive again only after being released."""
        self.joystick.let_go()
        self.keys.let_go(now_ns)

    def lost(self, now_ns: int) -> tuple[bool, list[OperatorRequest]]:
        """Return whether the joystick has just been lost, and the resulting request."""
        lost = self.joystick.lost(now_ns)
        if not (lost and self._settings.estop_if_lost):
            return lost, []
        self.stop(now_ns)
        return True, [OperatorRequest.ESTOP]

    def step(self, now_ns: int, *, driving: bool) -> Velocity:
        """Return the velocity to command now.

        Args:
            now_ns: Current time on the steady clock, not before the last step's time.
            driving: True if the robot follows velocities at all. If False, the velocity drops to
                zero at once and later starts from zero, and the sticks must be seen centered before
                they drive.
        """
        self._heed_lateness(now_ns)
        before_ns = now_ns if self._stepped_ns is None else self._stepped_ns
        self._stepped_ns = now_ns
        if not driving:
            self.joystick.centre()
            self.velocity = STILL
            return STILL
        by_stick = self.joystick.deadman
        shares = self.joystick.shares if by_stick else self.keys.shares(now_ns)
        duration_s = min((now_ns - before_ns) / _NS_PER_S, _LONGEST_STEP_S)
        limits = self._settings.limits
        self.velocity = limits.towards(self.velocity, limits.scaled(shares), duration_s)
        return self.velocity

    def _heed(self, asked: Sequence[OperatorRequest], now_ns: int) -> None:
        """Make sure that no input keeps driving after a request that ends motion."""
        if STOPPING & {*asked}:
            self.stop(now_ns)

    def _heed_lateness(self, now_ns: int) -> None:
        if self._stepped_ns is not None and now_ns - self._stepped_ns > _LATE_NS:
            self.keys.let_go(now_ns)
