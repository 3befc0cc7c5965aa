# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages that come in from several topics, put into the order of their stamps."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from model_tools.bags.streams import Arrival
from policy_inference.core.freshness import RESTART_NS, Input

_HOLD_NS = 2_000_000_000
"""So much later than others of their time messages may come, on the clock of the stamps: 0.2 s
while a recording is played ten times as fast as it was made."""
_EARLY = 10_000
"""Messages that wait for an input that is missing."""


class Message(NamedTuple):
    """A message as it came.

    Attributes:
        name: Of the input.
        stamp_ns: That of its header; 0 where it has none.
        published_ns: When it was published, on the publisher's system clock.
        data: Its bytes.
    """

    name: str
    stamp_ns: int
    published_ns: int
    data: bytes


class Ordering:
    """Gives messages in the order of their times, as soon as none from before can come any more.

    How fast the stamps advance against the clock on the wall does not matter. What has no stamp
    goes by the newest one that was published before it; where no input has stamps, by when it was
    published. A stamp that is repeated or earlier is not new.

    Attributes:
        late: How many messages of each input came too late.
        restarted: Input whose stamps began anew, on which the order ends; else empty.
    """

    def __init__(self, needed: Collection[str], hold_ns: int = _HOLD_NS) -> None:
        """Wait for a message of each needed input before times are given to any."""
        self._missing, self._hold_ns = set(needed), hold_ns
        self._early: list[Message] = []
        self._inputs: dict[str, Input] = {}
        self._newest_stamp_ns: int | None = None
        self._newest_ns = self._given_ns = -1
        self._waiting: list[Arrival] = []
        self.late, self.restarted = Counter[str](), ""

    @property
    def missing(self) -> list[str]:
        """Needed inputs of which nothing came yet."""
        return sorted(self._missing)

    def put(self, messages: Iterable[Message]) -> None:
        """Take what came since the last time."""
        self._early += messages
        self._missing.difference_update(message.name for message in self._early)
        if self._missing:
            del self._early[:-_EARLY]
        if self._missing or self.restarted:
            return
        if self._newest_stamp_ns is None:
            self._newest_stamp_ns = min((message.stamp_ns for message in self._early
                                         if message.stamp_ns), default=None)
        for message in sorted(self._early, key=attrgetter("published_ns")):
            self._put(message)
        self._early = []

    def _put(self, message: Message) -> None:
        name, stamp_ns, published_ns, data = message
        time_ns = stamp_ns or self._newest_stamp_ns or published_ns
        entry = self._inputs.setdefault(name, Input(name, None))
        since_ns = entry.age_ns(time_ns)
        if not stamp_ns and since_ns is not None:
            # Several may be published between two stamps.
            time_ns += max(0, 1 - since_ns)
        if self.restarted or not entry.is_new(time_ns):
            return
        if since_ns is not None and since_ns < -RESTART_NS:
            self.restarted = name
            return
        entry.accept(time_ns, time_ns, time_ns)
        if stamp_ns:
            self._newest_stamp_ns = max(self._newest_stamp_ns or 0, stamp_ns)
        if time_ns <= self._given_ns:
            self.late[name] += 1
            return
        self._newest_ns = max(self._newest_ns, time_ns)
        heapq.heappush(self._waiting, Arrival(time_ns, name, data))

    def ready(self, *, rest: bool = False) -> Iterator[Arrival]:
        """Yield those whose time has come; `rest`: all that are left, where no more will come."""
        end_ns = self._newest_ns if rest else self._newest_ns - self._hold_ns
        while self._waiting and self._waiting[0].time_ns <= end_ns:
            self._given_ns = self._waiting[0].time_ns
            yield heapq.heappop(self._waiting)
