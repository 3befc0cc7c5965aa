# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the loop reports: events to an observer, log lines with a bound, and counts.

The counts are plain integers, since each request pays for them: a histogram of prometheus_client,
with its locks, takes 1.3 us for a value instead of 0.3.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter

from policy_inference.service.connection import Connection
from policy_inference.service.protocol import ServiceError

_log = logging.getLogger(__name__)
_WINDOW_S = 10.0
_LINES = 20
"""So many lines of a kind are written in each window; of the others only the number."""
# A scale, read along the line.
# fmt: off
LATENCY_BOUNDS_S = (50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3,
                    10e-3, 20e-3, 50e-3, 100e-3)
"""Upper ends of the histogram's buckets; a last one has none."""
# fmt: on
ROWS_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
_LATENCY_BOUNDS_NS = tuple(round(bound * 1e9) for bound in LATENCY_BOUNDS_S)


class Observer:
    """Writes one line in the log per event, none per request; subclasses do more.

    The loop's thread calls it, so that its work delays answers.
    """

    def connected(self, connection: Connection) -> None:
        """A client has connected."""
        _log.info("%s: connected, %s protocol", connection.name, connection.protocol)

    def disconnected(self, connection: Connection, reason: str) -> None:
        """A client has left, or was disconnected."""
        _log.info("%s: disconnected: %s", connection.name, reason)

    def refused(self, name: str, reason: str) -> None:
        """A client was not let in."""
        _log.warning("%s: refused: %s", name, reason)

    def failed(self, connection: Connection, error: ServiceError) -> None:
        """A request got no answer, or broke the rules; `disconnected` follows where it closes."""

    def cannot_accept(self, where: str, reason: str) -> None:
        """No client can come in for a moment."""
        _log.error("%s: cannot accept clients: %s; tries again", where, reason)

    def inferred(self, rows: int, duration_ns: int) -> None:
        """The model has computed the answers to so many robots."""

    def answered(self, connection: Connection, duration_ns: int) -> None:
        """A request was answered; the time since the pass of the loop that read it began."""

    def passed(self, now_ns: int) -> None:
        """A pass of the loop is over, all answers are sent; one comes at least once per second."""


class Histogram:
    """Counts of values by bucket, not cumulated, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        """Count from zero.

        Args:
            bounds: Upper ends of the buckets, which belong to them.
        """
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0

    def add(self, value: int) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts:
    """Written by the loop's thread alone, read by any: each number is right, if not all at once.

    Attributes:
        latency_ns: From the last byte of a request to its answer, by protocol.
        rows: Robots per inference.
        errors: By name.
        slow: Whether inferences are slow at present.
        connected: Clients at present, by protocol.
        accepted: Clients so far, by protocol.
    """

    def __init__(self, protocols: tuple[str, ...]) -> None:
        """Count from zero.

        Args:
            protocols: Names of all there are, such as raw.
        """
        self.latency_ns = {name: Histogram(_LATENCY_BOUNDS_NS) for name in protocols}
        self.rows = Histogram(ROWS_BOUNDS)
        self.slow = False
        self.errors = Counter[str]()
        self.connected = dict.fromkeys(protocols, 0)
        self.accepted = dict.fromkeys(protocols, 0)

    def failed(self, error: str) -> None:
        """Count a request or a connection that ended with an error."""
        self.errors[error] += 1

    def opened(self, protocol: str) -> None:
        """Count a client that connected."""
        self.accepted[protocol] += 1
        self.connected[protocol] += 1

    def closed(self, protocol: str) -> None:
        """Count a client that left."""
        self.connected[protocol] -= 1


class EventLog:
    """Writes a line per event that a client causes; of a kind that comes too often, the number.

    It belongs to one thread, which calls `flush` now and then.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._windows: dict[str, _Window] = {}

    def add(self, kind: str, text: str, now_s: float, level: int = logging.WARNING) -> None:
        """Write an event, or count it.

        Args:
            kind: Sort of the event: a text of this program, never one that a client sent.
            text: The line.
            now_s: Steady clock, s.
            level: Of the line.
        """
        self.flush(now_s)
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(now_s + _WINDOW_S, level)
        window.count += 1
        if window.count <= _LINES:
            self._log.log(level, "%s", text)
        else:
            window.level = max(window.level, level)

    def flush(self, now_s: float) -> None:
        """Say how many events were counted only, where their window is over."""
        for kind in [kind for kind, window in self._windows.items() if now_s >= window.ends_s]:
            window = self._windows.pop(kind)
            if (more := window.count - _LINES) > 0:
                self._log.log(window.level, "%s: and %d more in %g s", kind, more, _WINDOW_S)


class _Window:
    __slots__ = ("count", "ends_s", "level")

    def __init__(self, ends_s: float, level: int) -> None:
        self.count, self.ends_s, self.level = 0, ends_s, level
