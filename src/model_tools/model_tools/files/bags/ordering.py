# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sort live messages from several topics by their stamps."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from model_tools.files.bags.blocks import RESTART_NS
from policy_core.observation.pairing import Arrival

_HOLD_NS = 2_000_000_000
"""Maximum delay of a message behind others with the same stamp, on the stamps' clock: 0.2 s of real
time if a recording is played back at ten times its original speed.
"""
_EARLY = 10_000
"""Maximum number of messages held while a needed input has not sent any."""


class StampedMessage(NamedTuple):
    """A received message.

    Attributes:
        name: Name of the input.
        stamp_ns: Header stamp; 0 if the message has none.
        published_ns: Publication time on the publisher's system clock.
        data: Bytes of the message.
    """

    name: str
    stamp_ns: int
    published_ns: int
    data: bytes


class Ordering:
    """Yields messages in time order, each as soon as no earlier message can still arrive.

    The ratio of stamp time to wall time does not matter. Messages without stamps take their times
    from messages published just before and after; if no input has stamps, publication times are
    used. A repeated or earlier stamp is not a new message.

    Attributes:
        late: Number of messages, by input, that arrived too late to be yielded in order.
        restarted: Input whose stamps jumped back (clock reset), which ends the ordering; otherwise
            empty.
    """

    def __init__(self, needed: Collection[str], hold_ns: int = _HOLD_NS) -> None:
        """Hold all messages back until each needed input has a message."""
        self._missing, self._hold_ns = set(needed), hold_ns
        self._came: list[StampedMessage] = []
        self._newest_of: dict[str, int] = {}
        self._anchor: StampedMessage | None = None
        self._newest_ns = self._given_ns = -1
        self._waiting: list[Arrival] = []
        self.late, self.restarted = Counter[str](), ""

    @property
    def missing(self) -> list[str]:
        """Required inputs that have no message yet."""
        return sorted(self._missing)

    def put(self, messages: Iterable[StampedMessage]) -> None:
        """Add the messages received since the last call."""
        self._came += messages
        self._missing.difference_update(message.name for message in self._came)
        if self._missing:
            del self._came[:-_EARLY]
            return
        self._came.sort(key=attrgetter("published_ns"))
        anchors = [
            message for message in (self._anchor, *self._came) if message and message.stamp_ns
        ]
        # Messages published after the last stamp wait for the next one.
        end = self._came.index(anchors[-1]) + 1 if anchors[1:] else 0 if anchors else None
        self._put_timed(self._came[:end], anchors)
        self._came = [] if end is None else self._came[end:]

    def _put_timed(
        self, messages: Sequence[StampedMessage], anchors: Sequence[StampedMessage]
    ) -> None:
        if not anchors:
            for message in messages:
                self._put(message, message.published_ns)
            return
        self._anchor, first = anchors[-1], anchors[0]
        published, stamps = np.array(
            [
                [message.published_ns - first.published_ns, message.stamp_ns - first.stamp_ns]
                for message in anchors
            ],
            np.float64,
        ).T
        for message in messages:
            since = np.interp(message.published_ns - first.published_ns, published, stamps)
            self._put(message, message.stamp_ns or first.stamp_ns + int(since))

    def _put(self, message: StampedMessage, time_ns: int) -> None:
        since_ns = time_ns - self._newest_of.get(message.name, time_ns - 1)
        if since_ns < -RESTART_NS:
            self.restarted = self.restarted or message.name
        if self.restarted or since_ns <= 0:
            return
        self._newest_of[message.name] = time_ns
        if time_ns <= self._given_ns:
            self.late[message.name] += 1
            return
        self._newest_ns = max(self._newest_ns, time_ns)
        heapq.heappush(self._waiting, Arrival(time_ns, message.name, message.data))

    def ready(self, *, rest: bool = False) -> Iterator[Arrival]:
        """Yield the messages that are due; with `rest`, used at the end, all remaining messages."""
        if rest and self._anchor and not self._missing:
            self._put_timed(self._came, [self._anchor])
            self._came = []
        end_ns = self._newest_ns if rest else self._newest_ns - self._hold_ns
        while self._waiting and self._waiting[0].time_ns <= end_ns:
            self._given_ns = self._waiting[0].time_ns
            yield heapq.heappop(self._waiting)
