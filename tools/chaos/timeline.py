# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Virtual time: scheduled actions, the last events, and the clocks of the computers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from types import SimpleNamespace

NS_PER_S = 1_000_000_000
_EVENTS_KEPT = 20


class VirtualTimeline:
    """Executes all actions in order of virtual time, on one thread.

    Attributes:
        now_ns: Time since the start.
        events: The last events, as strings.
        ended: True once the timeline has stopped executing actions.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers, self._hash = count(), blake2b(digest_size=16)
        self.ended = False

    def at(self, time_ns: int, act: Callable[[], object]) -> None:
        """Call `act` at a time (now, if it has passed), after all actions already due then."""
        heappush(self._due, (max(time_ns, self.now_ns), next(self._numbers), act))

    def after(self, duration_ns: int, act: Callable[[], object]) -> None:
        self.at(self.now_ns + duration_ns, act)

    def every(self, period_ns: int, act: Callable[[], object]) -> None:
        """Call `act` now, and again after each period."""

        def again() -> None:
            act()
            self.after(period_ns, again)

        self.after(0, again)

    def run(self, until_ns: int, wait: Callable[[int], object] = lambda time_ns: None) -> None:
        """Execute all actions due until then; before each, call `wait` with its time."""
        due = self._due
        while due and due[0][0] <= until_ns and not self.ended:
            self.now_ns, _, act = heappop(due)
            wait(self.now_ns)
            act()
        if not self.ended:
            self.now_ns = until_ns

    def note(self, text: str) -> None:
        """Store an event, and include it in the digest."""
        event = f"{self.now_ns / NS_PER_S:10.6f} s  {text}"
        self.events.append(event)
        self._hash.update(event.encode())

    def weigh(self, data: bytes) -> None:
        """Include bytes that are not an event in the digest."""
        self._hash.update(data)

    @property
    def digest(self) -> str:
        """Digest of everything that has happened (32 hex digits)."""
        return self._hash.hexdigest()


_BOOTED_NS, _EPOCH_NS = 1_000 * NS_PER_S, 1_790_000_000 * NS_PER_S


class VirtualClock(SimpleNamespace):
    """The clocks of one computer; replaces `time` in that computer's modules.

    Attributes:
        busy_ns: How far the current computation is ahead of the timeline.
    """

    def __init__(self, timeline: VirtualTimeline, drift_ppm: int) -> None:
        """Start clocks that run faster than the timeline by `drift_ppm`."""
        super().__init__()
        self._timeline, self._ppm = timeline, drift_ppm
        self._wall_ns, self.busy_ns = _EPOCH_NS, 0

    def monotonic_ns(self) -> int:
        now_ns = self._timeline.now_ns
        return _BOOTED_NS + now_ns + now_ns * self._ppm // 1_000_000 + self.busy_ns

    def time_ns(self) -> int:
        return self.monotonic_ns() + self._wall_ns

    def set(self, by_ns: int) -> None:
        """Set the wall clock forward or back."""
        self._wall_ns += by_ns

    def when(self, steady_ns: int) -> int:
        """Return the earliest timeline time at which the steady clock has reached this value."""
        passed_ns = steady_ns - _BOOTED_NS
        return -(-passed_ns * 1_000_000 // (1_000_000 + self._ppm))
