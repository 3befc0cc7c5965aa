# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joystick and keys in, one velocity and requests out. No ROS, no clock: time is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from robot_operator.joystick import Joystick, JoystickLayout
from robot_operator.keys import STOP, Keys
from robot_operator.requests import STOPPING, OperatorRequest
from robot_operator.velocity import STILL, Velocity, VelocityLimits

_NS_PER_S = 1e9
_LONGEST_STEP_S = 0.2
"""A step that comes late does not make up for it by a jump."""
_LATE_NS = 300_000_000
"""Keys that waited for a step this late are of a moment that is over; they drive nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotSettings:
    """Limits of the velocity, layout of the joystick, and time-outs."""

    limits: VelocityLimits
    layout: JoystickLayout
    joy_timeout_s: float
    joy_unchanged_s: float
    estop_if_lost: bool
    """Whether the loss of the joystick is an e-stop, not only velocity zero."""
    key_timeout_s: float
    key_share: float


class Pilot:
    """Drives while the dead-man's switch or a key is held; zero velocity in every other case."""

    def __init__(self, settings: PilotSettings) -> None:
        self._settings = settings
        self.joystick = Joystick(
            settings.layout,
            round(settings.joy_timeout_s * _NS_PER_S),
            round(settings.joy_unchanged_s * _NS_PER_S),
        )
        self.keys = Keys(round(settings.key_timeout_s * _NS_PER_S), settings.key_share)
        self.velocity = STILL
        """Commanded at the last step."""
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
        """Go to zero velocity; joystick and keys must be let go before they drive again."""
        self.joystick.let_go()
        self.keys.let_go(now_ns)

    def lost(self, now_ns: int) -> tuple[bool, list[OperatorRequest]]:
        """Return whether the joystick has just been lost, and what that asks for."""
        lost = self.joystick.lost(now_ns)
        if not (lost and self._settings.estop_if_lost):
            return lost, []
        self.stop(now_ns)
        return True, [OperatorRequest.ESTOP]

    def step(self, now_ns: int, *, driving: bool) -> Velocity:
        """Return the velocity to command now.

        Args:
            now_ns: Steady clock, not before that of the last step.
            driving: Whether the robot follows velocities at all; if not, it is zero at once, so
                that nothing is left of it when the robot does again, and the sticks must be seen
                in the middle before they drive.
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
        """Let nothing drive on through what ends any motion."""
        if STOPPING & {*asked}:
            self.stop(now_ns)

    def _heed_lateness(self, now_ns: int) -> None:
        if self._stepped_ns is not None and now_ns - self._stepped_ns > _LATE_NS:
            self.keys.let_go(now_ns)
