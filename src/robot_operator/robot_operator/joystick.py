# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joystick: a dead-man's switch, three axes, buttons that ask for something."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robot_operator.requests import MOVING, OperatorRequest
from robot_operator.velocity import STILL, Velocity

NO_BUTTON = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class JoystickLayout:
    """Where things are on the joystick: indices into the axes and buttons of its messages."""

    axis_vx: int
    axis_vy: int
    axis_wz: int
    inverted: tuple[bool, bool, bool]
    """Whether vx, vy, wz are the axis' negative."""
    deadband: float
    """Share of an axis, in 0..1, that counts as its middle."""
    button_deadman: int
    buttons: Mapping[OperatorRequest, int]
    """Of each request; NO_BUTTON where it has none."""

    def problems(self) -> list[str]:
        """Return which buttons have two meanings, a sentence each."""
        names: dict[int, list[str]] = {}
        for name, index in self._named():
            names.setdefault(index, []).append(f"button_{name}")
        return [
            f"{' and '.join(twice)}: expected buttons of their own, found {index} for each"
            for index, twice in names.items()
            if len(twice) > 1
        ]

    def missing(self, axes: int, buttons: int) -> str:
        """Return what a joystick with so many axes and buttons lacks; empty if nothing."""
        lacking = [
            f"axis {axis}" for axis in (self.axis_vx, self.axis_vy, self.axis_wz) if axis >= axes
        ]
        lacking += [f"button {index} ({name})" for name, index in self._named() if index >= buttons]
        if not lacking:
            return ""
        return (
            f"the joystick has {axes} axes and {buttons} buttons, expected also "
            f"{', '.join(lacking)}; set the parameters axis_* and button_*"
        )

    def _named(self) -> list[tuple[str, int]]:
        pairs = [
            ("deadman", self.button_deadman),
            *((request.value, index) for request, index in self.buttons.items()),
        ]
        return [(name, index) for name, index in pairs if index != NO_BUTTON]


class Joystick:
    """Believes a joystick only while it speaks, and moves nothing before it was let go once.

    A stick that hangs, or one that is pushed when this begins or after the joystick was away,
    therefore moves nothing: the dead-man's switch must be seen released first. Nor does one that
    is pushed when the switch is pressed: with the switch held it must be seen in the middle first.
    """

    def __init__(self, layout: JoystickLayout, timeout_ns: int, unchanged_ns: int) -> None:
        """Begin without a joystick.

        Args:
            layout: Where things are on it.
            timeout_ns: So long after its last message it is lost.
            unchanged_ns: Pushed in the very same way for so long, it counts as frozen: the receiver
                of one that is out of reach repeats what it heard last.
        """
        self._layout, self._timeout_ns, self._unchanged_ns = layout, timeout_ns, unchanged_ns
        self._heard_ns: int | None = None
        self._newest: tuple[Sequence[float], Sequence[int]] | None = None
        self._changed_ns = 0
        self._shares = STILL
        self._pressed: frozenset[OperatorRequest] | None = None
        self._held = self._released_once = self._centred = False
        self.deadman = False
        """Whether the dead-man's switch is held, and counts."""
        self.trouble = ""
        """Why the joystick may not drive, for a person."""
        self.unheard: frozenset[OperatorRequest] = frozenset()
        """What the last message's buttons would have asked for with the dead-man's switch held."""

    @property
    def present(self) -> bool:
        return self._heard_ns is not None

    @property
    def shares(self) -> Velocity:
        """The velocity it asks for, as shares (-1..1) of the largest; zero unless it drives."""
        return self._shares if self.deadman and self._centred else STILL

    @property
    def hint(self) -> str:
        """What a person has to do before it drives; empty while it may."""
        if not self.deadman:
            return (
                "release the dead-man's switch once" if self._held else "hold the dead-man's switch"
            )
        return "" if self._centred else "sticks to the middle first"

    def hear(
        self, axes: Sequence[float], buttons: Sequence[int], now_ns: int, *, trouble: str = ""
    ) -> list[OperatorRequest]:
        """Take a message; return what its buttons ask for, each once when it is pressed.

        Args:
            axes: Each in -1..1.
            buttons: 0 or 1 each.
            now_ns: Time of receipt, steady clock.
            trouble: Another reason not to be driven by it; empty where there is none.
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
        # Held since before it could be seen, a button is no request; but for the e-stop.
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
                "it has been pushed in the very same way for "
                f"{self._unchanged_ns / 1e9:g} s: out of reach? Release the dead-man's "
                "switch (joy_unchanged_s)"
            )
            self.let_go()
        self._centred = self.deadman and (self._centred or self._shares == STILL)
        self.unheard = frozenset() if self.deadman else asked & MOVING
        return [request for request in OperatorRequest if request in asked - self.unheard]

    def centre(self) -> None:
        """Drive no longer, until the sticks are seen in the middle."""
        self._centred = False

    def let_go(self) -> None:
        """Drive no longer, until the dead-man's switch was released and is held again."""
        self._released_once = self.deadman = self._centred = False

    def lost(self, now_ns: int) -> bool:
        """Return whether the joystick has just been lost; from then on it is absent."""
        if self._heard_ns is None or now_ns - self._heard_ns <= self._timeout_ns:
            return False
        self.let_go()
        self._heard_ns = self._pressed = None
        self.trouble = ""
        return True


def _share(value: float, deadband: float) -> float:
    """Return a share that begins with zero at the end of the dead band."""
    outside = max(abs(value) - deadband, 0.0) / (1.0 - deadband)
    return math.copysign(min(outside, 1.0), value)


def _odd(axes: Sequence[float]) -> str:
    if all(map(math.isfinite, axes)):
        return ""
    return "the joystick's axes: expected finite numbers, found NaN or infinite ones"
