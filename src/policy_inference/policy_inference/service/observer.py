# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the loop reports: events to an observer, and counts.

The counts are plain integers, since each request pays for them: a histogram of prometheus_client,
with its locks, takes 1.3 us for a value instead of 0.3.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from policy_inference.service.connection import Connection
from policy_inference.service.protocol import ServiceError

# A scale, read along the line.
# fmt: off
LATENCY_BOUNDS_S = (50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3,
                    10e-3, 20e-3, 50e-3, 100e-3)
"""Upper ends of the histogram's buckets; a last one has none."""
# fmt: on
ROWS_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
_LATENCY_BOUNDS_NS = tuple(round(bound * 1e9) for bound in LATENCY_BOUNDS_S)


class Observer:
    """Does nothing; subclasses do more, on the loop's thread, so that their work delays answers."""

    def connected(self, connection: Connection) -> None:
        """A client has connected."""

    def disconnected(self, connection: Connection, reason: str) -> None:
        """A client has left, or was disconnected."""

    def refused(self, name: str, reason: str) -> None:
        """A client was not let in."""

    def failed(self, connection: Connection, error: ServiceError) -> None:
        """A request got no answer, or broke the rules; `disconnected` follows where it closes."""

    def cannot_accept(self, where: str, reason: str) -> None:
        """No client can come in for a moment."""

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
        self.accepted[protocol] += 1
        self.connected[protocol] += 1

    def closed(self, protocol: str) -> None:
        self.connected[protocol] -= 1
