# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When a policy ticks on what arrives, in the order of the stamps, and what is newest then."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from model_tools.files.bags.blocks import RESTART_NS, Times
from model_tools.files.bags.streams import Arrival
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.state_fields import COMMAND
from policy_inference.core.freshness import Input
from policy_inference.core.limits import StricterLimits, input_timeouts_ns, limits_in_force
from policy_inference.core.state import RobotState

_FOR_EVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TickCount:
    """How many ticks there are.

    Attributes:
        present: At which every input is fresh.
        dropped: The others, from the first at which each input is there to the last message.
        stale: How many of these each input is too old for.
    """

    present: int
    dropped: int
    stale: Mapping[str, int]


def count_ticks(contract: JointContract, times_ns: Mapping[str, Iterable[Times]]) -> TickCount:
    """Count the ticks that `Ticks` yields.

    Args:
        contract: States the period, and how long an input is fresh.
        times_ns: Rising times of each input's messages, in arrays; at least those that are newest
            at a tick.
    """
    period_ns, timeouts_ns = contract.period_ns, _timeouts_ns(contract)
    fresh = {
        name: _Fresh(times, period_ns, timeouts_ns.get(name)) for name, times in times_ns.items()
    }
    end = max(each.newest_ns for each in fresh.values()) // period_ns + 1
    runs = {name: fresh[name].runs for name in timeouts_ns if name in fresh}
    if not all(len(runs.get(name, ())) for name in timeouts_ns):
        return TickCount(present=0, dropped=0, stale={})
    first = max(int(each[0, 0]) for each in runs.values())
    runs = {name: each.clip(first, max(first, end)) for name, each in runs.items()}
    # One input more is fresh from where a run of it begins, one less from where it ends.
    at = np.concatenate([each.reshape(-1) for each in runs.values()])
    order = np.argsort(at, kind="stable")
    together = np.cumsum(np.tile([1, -1], len(at) // 2)[order])[:-1] == len(runs)
    present, total = int(np.diff(at[order])[together].sum()), max(0, end - first)
    missing = {name: total - int((each[:, 1] - each[:, 0]).sum()) for name, each in runs.items()}
    return TickCount(
        present=present,
        dropped=total - present,
        stale={name: count for name, count in missing.items() if count},
    )


class _Fresh:
    """Runs of ticks [runs, 2] at which an input is fresh: the first, and the one after the last."""

    def __init__(self, times_ns: Iterable[Times], period_ns: int, timeout_ns: int | None) -> None:
        self.newest_ns = 0
        begins, ends, end = [], [], None
        for times in filter(len, times_ns):
            ticks, self.newest_ns = -(-times // period_ns), int(times[-1])
            until = (
                np.full_like(ticks, _FOR_EVER)
                if timeout_ns is None
                else ((times + timeout_ns) // period_ns + 1)
            )
            before = np.append(ticks[0] - 1 if end is None else end, until[:-1])
            begins.append(ticks[ticks > before])
            ends.append(before[ticks > before])
            end = until[-1]
        closed = np.concatenate([*ends, [] if end is None else [end]]).astype(np.int64)[1:]
        opened = np.concatenate([*begins, []]).astype(np.int64)
        self.runs = np.stack([opened, np.maximum(opened, closed)], axis=1)


def _timeouts_ns(contract: JointContract) -> dict[str, int | None]:
    """Return for how long each input but the command is fresh."""
    limits, timeouts_ns = limits_in_force(contract, StricterLimits()), input_timeouts_ns(contract)
    return {
        name: timeouts_ns.get(name, limits.state_timeout_ns)
        for name in RobotState(contract).inputs
        if name != COMMAND
    }


class Ticks:
    """The ticks of a policy: at multiples of its period, while every input is fresh.

    Attributes:
        newest: What of each input has arrived since the tick before; who takes it removes it.
        begins: Whether the tick of now follows a gap, or is the first.
        dropped: Number of ticks left out so far.
        stale: How many of them each input was too old for.
    """

    def __init__(self, contract: JointContract) -> None:
        """Begin without messages."""
        self._period_ns = contract.period_ns
        self._inputs = {
            name: Input(name, timeout_ns) for name, timeout_ns in _timeouts_ns(contract).items()
        }
        self._next_ns: int | None = None
        self.newest: dict[str, Arrival] = {}
        self.begins = True
        self.dropped, self.stale = 0, Counter[str]()

    def times_ns(self, arrivals: Iterable[Arrival]) -> Iterator[int]:
        """Yield the times of the ticks, each when the messages of its time are in `newest`.

        From the first at which each input is there, to the last message.
        """
        time_ns = 0
        for arrival in arrivals:
            time_ns, name, _ = arrival
            if self._next_ns is not None and self._next_ns < time_ns:
                yield from self._before(time_ns)
            self.newest[name] = arrival
            if name in self._inputs:
                self._inputs[name].accept(time_ns)
                if self._next_ns is None and not self._waiting(time_ns):
                    self._next_ns = -(-time_ns // self._period_ns) * self._period_ns
        yield from self._before(time_ns + 1)

    def _before(self, end_ns: int) -> Iterator[int]:
        while self._next_ns is not None and self._next_ns < end_ns:
            count, now_ns = 1, self._next_ns
            stale = [name for name, entry in self._inputs.items() if entry.is_stale(now_ns)]
            if stale:
                # Nothing but a message ends the gap, however long it is.
                count = -((now_ns - end_ns) // self._period_ns)
                self.dropped += count
                self.stale.update(dict.fromkeys(stale, count))
                self.begins = True
            else:
                yield now_ns
                self.begins = False
            self._next_ns += count * self._period_ns

    def _waiting(self, now_ns: int) -> bool:
        return any(entry.age_ns(now_ns) is None for entry in self._inputs.values())


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
    goes by those of the messages that were published before and after it; where no input has
    stamps, by when it was published. A stamp that is repeated or earlier is not new.

    Attributes:
        late: How many messages of each input came too late.
        restarted: Input whose stamps began anew, on which the order ends; else empty.
    """

    def __init__(self, needed: Collection[str], hold_ns: int = _HOLD_NS) -> None:
        """Wait for a message of each needed input before times are given to any."""
        self._missing, self._hold_ns = set(needed), hold_ns
        self._came: list[Message] = []
        self._newest_of: dict[str, int] = {}
        self._anchor: Message | None = None
        self._newest_ns = self._given_ns = -1
        self._waiting: list[Arrival] = []
        self.late, self.restarted = Counter[str](), ""

    @property
    def missing(self) -> list[str]:
        """Needed inputs of which nothing came yet."""
        return sorted(self._missing)

    def put(self, messages: Iterable[Message]) -> None:
        """Take what came since the last time."""
        self._came += messages
        self._missing.difference_update(message.name for message in self._came)
        if self._missing:
            del self._came[:-_EARLY]
            return
        self._came.sort(key=attrgetter("published_ns"))
        anchors = [
            message for message in (self._anchor, *self._came) if message and message.stamp_ns
        ]
        # What was published after the last stamp waits for the next one.
        end = self._came.index(anchors[-1]) + 1 if anchors[1:] else 0 if anchors else None
        self._put_timed(self._came[:end], anchors)
        self._came = [] if end is None else self._came[end:]

    def _put_timed(self, messages: Sequence[Message], anchors: Sequence[Message]) -> None:
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

    def _put(self, message: Message, time_ns: int) -> None:
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
        """Yield those whose time has come; `rest`: all that are left, where no more will come."""
        if rest and self._anchor and not self._missing:
            self._put_timed(self._came, [self._anchor])
            self._came = []
        end_ns = self._newest_ns if rest else self._newest_ns - self._hold_ns
        while self._waiting and self._waiting[0].time_ns <= end_ns:
            self._given_ns = self._waiting[0].time_ns
            yield heapq.heappop(self._waiting)
