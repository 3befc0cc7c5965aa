# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which datagrams are the robot's state, and how many were something else."""

import numpy as np

from lite3_driver.interfaces import Settings
from lite3_driver.meters import NS_PER_S, Rate
from lite3_driver.wire import Oddity, State, code_of, read_state

_TICKS = 1 << 32
_CODES_KEPT = 8


def in_si(state: State, angular_velocity_unit: str) -> State:
    """Return a state whose angular velocity is in rad/s, whatever the host sends."""
    if angular_velocity_unit == "rad/s":
        return state
    return state._replace(ang_vel=np.radians(state.ang_vel))


class Reception:
    """Believes the configured host only, and only what is newer than what it said before.

    A port of the host is kept to for as long as frames come from it, and ticks must rise (modulo
    2**32); once its frames have been missing for `state_timeout_s`, any port and any tick will do:
    the host has been restarted.

    Attributes:
        state: The newest, angular velocity in rad/s; None before the first.
        state_ns: When it came.
        counts: Of datagrams, by what they were; `missed` are ticks that never came.
        other_codes: Of datagrams from the host that are no state: the first few different ones.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing."""
        self._settings = settings
        self._port = -1
        self.state: State | None = None
        self.state_ns = 0
        self.rate = Rate()
        self.counts = {"received": 0, "missed": 0, "foreign": 0, "old": 0,
                       **{oddity.value: 0 for oddity in Oddity}}
        self.other_codes: list[int] = []

    def receive(self, data: bytes, source: tuple[str, int], now_ns: int) -> State | None:
        """Return the state where the datagram is one, and the robot's newest."""
        address, port = source
        fresh = self.fresh(now_ns)
        if address != self._settings.host_address:
            self.counts["foreign"] += 1
            return None
        state = read_state(data)
        if isinstance(state, Oddity):
            self._note_code(data if state is Oddity.CODE else b"")
            self.counts[state.value] += 1
            return None
        if fresh and port != self._port:
            self.counts["foreign"] += 1
            return None
        if fresh and self.state is not None:
            ahead = (state.tick - self.state.tick) % _TICKS
            if not 0 < ahead < _TICKS // 2:
                self.counts["old"] += 1
                return None
            self.counts["missed"] += ahead - 1
        self.state = in_si(state, self._settings.angular_velocity_unit)
        self.state_ns, self._port = now_ns, port
        self.counts["received"] += 1
        self.rate.add(now_ns)
        return self.state

    def age_s(self, now_ns: int) -> float:
        """Return for how long there has been no state; infinite before the first."""
        return float("inf") if self.state is None else (now_ns - self.state_ns) / NS_PER_S

    def fresh(self, now_ns: int) -> bool:
        """Return whether the newest state may still be gone by."""
        return self.age_s(now_ns) <= self._settings.state_timeout_s

    def _note_code(self, data: bytes) -> None:
        code = code_of(data)
        known = self.other_codes
        if code is not None and code not in known and len(known) < _CODES_KEPT:
            known.append(code)
