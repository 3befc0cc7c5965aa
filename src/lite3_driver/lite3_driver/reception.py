# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which datagrams are the robot's state, and how many were something else."""

import numpy as np

from lite3_driver.checks import implausible, jump
from lite3_driver.interfaces import Settings
from lite3_driver.meters import NS_PER_S, Rate
from lite3_driver.wire import (
    IMU_BYTES,
    STATE,
    TICKS,
    TICKS_PER_S,
    Oddity,
    State,
    code_of,
    read_state,
)

_AHEAD_SHARE = 0.5
"""Of `state_timeout_s`: how far a tick may be ahead of the time that has passed. A frame with a
wrong tick within it makes the host's own frames old for that long, which ends before they would
count as lost."""
_CODES_KEPT = 8
_FROZEN_S = 0.05
"""An IMU tells something new 100 times a second at least."""


def in_si(state: State, angular_velocity_unit: str) -> State:
    """Return a state whose angular velocity is in rad/s, whatever the host sends."""
    if angular_velocity_unit == "rad/s":
        return state
    return state._replace(ang_vel=np.radians(state.ang_vel))


class Reception:
    """Believes the configured host only, and only what is newer than what it said before.

    A port of the host is kept to for as long as frames come from it. Ticks must rise (modulo
    2**32), by no more than the time that has passed and half of `state_timeout_s`. Once its frames
    have been missing for `state_timeout_s`, any port and any other tick are accepted: the host has
    been restarted. Frames whose IMU stands still, its stamp and its noise, are no news of the
    robot, whatever their tick, nor are those that no robot can send, nor those whose joints are
    where none can have got to since the frame before. UDP has no authentication: who sends from
    the host's address and port, with the next tick and legs near the true ones, is believed.

    Attributes:
        state: The newest, angular velocity in rad/s; None before the first.
        state_ns: When it came.
        counts: Of datagrams, by what they were; `missed` are ticks that never came, and
            `contact_not_finite` frames among the received whose contact forces are no numbers.
        restarted: Whether its tick fell: the host has been switched off and on.
        instead: As what the newest datagram counts, and why, where it is no state; else empty.
        other_codes: Of datagrams from the host that are no state: the first few different ones.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing."""
        self._settings = settings
        self._port = -1
        self._imu, self._imu_ns = b"", 0
        self.state: State | None = None
        self.state_ns = 0
        self.rate = Rate()
        self.counts = {"received": 0, "missed": 0, "contact_not_finite": 0, "foreign": 0, "old": 0,
                       "frozen_imu": 0, "implausible": 0,
                       **{oddity.value: 0 for oddity in Oddity}}
        self.restarted, self.instead = False, ""
        self.other_codes: list[int] = []

    def receive(self, data: bytes, source: tuple[str, int], now_ns: int) -> State | None:
        """Return the state where the datagram is one, and the robot's newest."""
        address, port = source
        fresh = self.fresh(now_ns)
        if address != self._settings.host_address:
            return self._reject("foreign")
        state = read_state(data)
        if isinstance(state, Oddity):
            self._note_code(data if state is Oddity.CODE else b"")
            return self._reject(state.value)
        if fresh and port != self._port:
            return self._reject("foreign")
        ahead = (state.tick - self.state.tick) % TICKS if self.state is not None else 1
        if ahead == 0 or (fresh and ahead >= TICKS // 2):
            return self._reject("old")
        if problem := implausible(state) or (self._leap(state, ahead, now_ns) if fresh else ""):
            return self._reject("implausible", problem)
        if self._imu_stands_still(data, now_ns):
            return self._reject("frozen_imu")
        self.restarted = ahead >= TICKS // 2
        if fresh:
            self.counts["missed"] += ahead - 1
        self.state = in_si(state, self._settings.angular_velocity_unit)
        self.state_ns, self._port, self.instead = now_ns, port, ""
        self.counts["received"] += 1
        self.counts["contact_not_finite"] += not np.isfinite(state.contact_force).all()
        self.rate.add(now_ns)
        return self.state

    def age_s(self, now_ns: int) -> float:
        """Return for how long there has been no state; infinite before the first."""
        return float("inf") if self.state is None else (now_ns - self.state_ns) / NS_PER_S

    def fresh(self, now_ns: int) -> bool:
        """Return whether the newest state may still be gone by."""
        return self.age_s(now_ns) <= self._settings.state_timeout_s

    def silence(self, now_ns: int) -> str:
        """Return that no state comes, and what comes instead."""
        settings = self._settings
        if self.state is not None:
            return (f"no state has come from {settings.host_address} for {self.age_s(now_ns):.1f} "
                    "s: " + (f"what comes counts as {self.instead}" if self.instead
                             else "is the host's motion program running?"))
        if self.other_codes:
            told = ", ".join(f"0x{code:04X}" for code in self.other_codes)
            return (f"{settings.host_address} sends no state frames (code 0x{STATE:04X}), "
                    f"only codes {told}: another firmware, which this driver does not know")
        place = f"{settings.interface_address}:{settings.state_port}"
        return (f"no state has come from {settings.host_address} to {place}: "
                + (f"what comes counts as {self.instead}" if self.instead else
                   "the address of this machine and this port belong into the host's network.toml "
                   "(docs/lite3.md)"))

    def _reject(self, what: str, why: str = "") -> State | None:
        self.counts[what] += 1
        self.instead = f"`{what}`: {why}" if why else f"`{what}`"
        return None

    def _leap(self, state: State, ahead: int, now_ns: int) -> str:
        """Return why a state cannot follow the newest one so soon: a sentence, or nothing."""
        passed_s = self.age_s(now_ns)
        if ahead / TICKS_PER_S > passed_s + _AHEAD_SHARE * self._settings.state_timeout_s:
            return f"its tick is {ahead} ahead after {1e3 * passed_s:.0f} ms"
        return "" if self.state is None else jump(self.state, state, passed_s)

    def _imu_stands_still(self, data: bytes, now_ns: int) -> bool:
        imu = data[IMU_BYTES]
        if imu != self._imu:
            self._imu, self._imu_ns = imu, now_ns
        return now_ns - self._imu_ns > _FROZEN_S * NS_PER_S

    def _note_code(self, data: bytes) -> None:
        code = code_of(data)
        known = self.other_codes
        if code is not None and code not in known and len(known) < _CODES_KEPT:
            known.append(code)
