# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accepts datagrams as the robot's state or rejects them, and counts the rejected ones."""

import numpy as np

from lite3_driver.figures import FIGURES, Lite3Settings
from lite3_driver.wire import (
    IMU_BYTES,
    STATE,
    TICKS,
    TICKS_PER_S,
    Lite3State,
    Oddity,
    read_code,
    read_state,
)
from robot_driver.reception import Source, StateBounds, StateReception

# IMUs of such robots measure up to 2000 deg/s and 16 g. The limit allows deg/s because the host's
# unit is unknown until the robot is turned. Yaw may count whole turns: no document specifies it.
_BOUNDS = StateBounds(
    FIGURES,
    [
        ("angular velocity", float(np.degrees(50.0))),
        ("acceleration", 20.0 * 9.81),
        ("angle", 100.0 * 2.0 * np.pi),
    ],
)
_AHEAD_SHARE = 0.5
"""Fraction of `state_timeout_s` by which a tick may be ahead of the elapsed time. A wrong tick
within this limit makes the host's next frames look old for at most that time, too short for the
state to count as lost.
"""
_CODES_KEPT = 8


def in_si(state: Lite3State, settings: Lite3Settings) -> Lite3State:
    """Return a state with its angular velocity in rad/s, converted from deg/s if necessary."""
    if settings.angular_velocity_unit == "rad/s":
        return state
    return state._replace(ang_vel=np.radians(state.ang_vel))


class Lite3Reception(StateReception[Lite3State]):
    """Accepts only frames from the configured host that are newer than the last accepted frame.

    While frames arrive from one port, frames from other ports are rejected. Ticks must increase
    (modulo 2**32), by no more than the elapsed time plus half of `state_timeout_s`. After
    `state_timeout_s` without frames, any port and any tick are accepted, because the host may have
    restarted. A frame is rejected if neither its IMU stamp nor its IMU values change, if its values
    are impossible, or if its joints are too far from the last frame's. UDP has no authentication:
    frames that a program sends from the host's address and port, with the next tick and plausible
    joints, are accepted.

    In `counts`, `missed` is the number of ticks that never arrived, and `contact_not_finite` the
    number of accepted frames with non-finite contact forces. `restarted` is True if the tick has
    gone backward.

    Attributes:
        other_codes: The first few distinct codes of datagrams from the host that are not states.
    """

    def __init__(self, settings: Lite3Settings) -> None:
        own = ["missed", "contact_not_finite", "foreign", "old", "frozen_imu", "implausible"]
        super().__init__(settings, [*own, *(oddity.value for oddity in Oddity)])
        self._settings = settings
        self._port = -1
        self.other_codes: list[int] = []

    def receive(self, data: bytes, source: Source, now_ns: int) -> Lite3State | None:
        address, port = source
        fresh = self.fresh(now_ns)
        if address != self._settings.host_address:
            return self.reject("foreign")
        state = read_state(data)
        if isinstance(state, Oddity):
            self._note_code(data if state is Oddity.CODE else b"")
            return self.reject(state.value)
        if fresh and port != self._port:
            return self.reject("foreign")
        ahead = (state.tick - self.state.tick) % TICKS if self.state is not None else 1
        if ahead == 0 or (fresh and ahead >= TICKS // 2):
            return self.reject("old")
        problem = _BOUNDS.implausible(state, state.ang_vel, state.lin_acc, state.rpy)
        if problem := problem or (self._leap(state, ahead, now_ns) if fresh else ""):
            return self.reject("implausible", problem)
        if self.imu_stands_still(data[IMU_BYTES], now_ns):
            return self.reject("frozen_imu")
        self.restarted = ahead >= TICKS // 2
        if fresh:
            self.counts["missed"] += ahead - 1
        self._port = port
        self.counts["contact_not_finite"] += not np.isfinite(state.contact_force).all()
        return self.accept(in_si(state, self._settings), now_ns)

    def silence(self, now_ns: int) -> str:
        settings = self._settings
        if self.state is not None:
            return (
                f"no state received from {settings.host_address} for {self.age_s(now_ns):.1f} s: "
                + (self.rejection or "is the host's motion program running?")
            )
        if self.other_codes:
            codes = ", ".join(f"0x{code:04X}" for code in self.other_codes)
            return (
                f"{settings.host_address} sends no state frames (code 0x{STATE:04X}), "
                f"only codes {codes}: a different firmware, which this driver does not support"
            )
        place = f"{settings.interface_address}:{settings.state_port}"
        return f"no state received from {settings.host_address} on {place}: " + (
            self.rejection
            or "enter this machine's address and this port in the host's network.toml "
            "(docs/lite3.md)"
        )

    def _leap(self, state: Lite3State, ahead: int, now_ns: int) -> str:
        """Return why a state cannot follow so soon after the last one, or an empty string."""
        passed_s = self.age_s(now_ns)
        if ahead / TICKS_PER_S > passed_s + _AHEAD_SHARE * self._settings.state_timeout_s:
            return (
                f"the tick counter jumped by {ahead} in {1e3 * passed_s:.0f} ms, expected at most "
                f"{TICKS_PER_S * (passed_s + _AHEAD_SHARE * self._settings.state_timeout_s):.0f}"
            )
        if self.state is None:
            return ""
        return _BOUNDS.jump(self.state.joint_pos, state.joint_pos, passed_s)

    def _note_code(self, data: bytes) -> None:
        code = read_code(data)
        known = self.other_codes
        if code is not None and code not in known and len(known) < _CODES_KEPT:
            known.append(code)
