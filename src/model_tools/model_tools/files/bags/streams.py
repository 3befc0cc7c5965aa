# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Merge messages from several topics by stamp, keeping only the newest at each tick."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.blocks import (
    LAST_NS,
    RESTART_NS,
    Block,
    stamps_ns,
)
from policy_core.interfaces import Times
from policy_core.observation.pairing import Arrival, newest_at_ticks

_CLOCKS_AGREE_NS = 1_000_000_000
Look = Callable[[str, Block, Times, Times], None]
HasValues = Callable[[bytes], bool]
"""Callable that returns whether a message has values; messages without values do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Part of a recording to read, and inputs that use log time; the caller checks the clocks.

    Attributes:
        begins_ns: Log time of the first message to read, by input.
        end_ns: Log time before which messages are read.
        received: Stamped inputs for which log time is used instead.
    """

    begins_ns: Mapping[str, int] = field(default_factory=dict)
    end_ns: int = LAST_NS
    received: Collection[str] = ()


def in_time(
    bag: Bag,
    topics: Mapping[str, str],
    period_ns: int,
    first_ns: int = 0,
    extract: Extract | None = None,
    filters: Mapping[str, HasValues] | None = None,
) -> Iterator[Arrival]:
    """Yield, for each input, the messages that are the newest at some tick, by header stamp.

    Log time is used for messages without a header or stamp; a repeated or earlier stamp is not a
    new message.

    Args:
        bag: The recording.
        topics: Topics by input name.
        period_ns: Time between two ticks.
        first_ns: Time of any tick; all other ticks are a whole number of periods away from it.
        extract: Part of the recording to read; all of it if None.
        filters: Filters by input, which decide which of the newest messages count; for inputs
            without a filter, all count.
    """
    with _opened(bag, topics, period_ns, first_ns, extract, filters) as streams:
        yield from heapq.merge(*(stream.arrivals() for stream in streams))


@contextmanager
def newest_times_ns(
    bag: Bag,
    topics: Mapping[str, str],
    period_ns: int,
    look: Look,
    extract: Extract | None = None,
    filters: Mapping[str, HasValues] | None = None,
) -> Iterator[dict[str, Iterator[Times]]]:
    """Yield a mapping from input to the times (ns) of the messages that `in_time` would yield.

    The times come in arrays. At the boundary between two arrays, one tick may have two messages.

    Args:
        bag: The recording.
        topics: Topics by input name.
        period_ns: Time between two ticks.
        look: Called with each input, each block of its messages, their times, and the indices of
            the new messages.
        extract: Part of the recording to read; all of it if None.
        filters: Same as for `in_time`.
    """
    with _opened(bag, topics, period_ns, 0, extract, filters) as streams:
        yield {
            stream.name: (times[places] for _, times, places in stream.newest(look))
            for stream in streams
        }


@contextmanager
def _opened(
    bag: Bag,
    topics: Mapping[str, str],
    period_ns: int,
    first_ns: int,
    extract: Extract | None,
    filters: Mapping[str, HasValues] | None,
) -> Iterator[list[_TopicStream]]:
    read, filters = extract or Extract(), filters or {}
    by_log = [topic for topic in topics.values() if not (extract or bag.is_stamped(topic))]
    with bag.blocks() as blocks_of:
        yield [
            _TopicStream(
                name,
                blocks_of(topic, read.begins_ns.get(name, 0), read.end_ns),
                period_ns,
                first_ns % period_ns,
                _Clock(bag, topic, name not in read.received, by_log),
                filters.get(name),
            )
            for name, topic in topics.items()
        ]


class _TopicStream:
    """One input; its messages can be read once, with `newest` or `arrivals`."""

    def __init__(
        self,
        name: str,
        blocks: Iterator[Block],
        period_ns: int,
        phase_ns: int,
        clock: _Clock,
        has_values: HasValues | None,
    ) -> None:
        self.name, self._has_values = name, has_values
        self._blocks, self._clock = blocks, clock
        self._period_ns, self._phase_ns = period_ns, phase_ns

    def arrivals(self) -> Iterator[Arrival]:
        """Yield the newest message of each period that has a new one."""
        held: Arrival | None = None
        for block, times, places in self.newest():
            for place, time_ns in zip(places.tolist(), times[places].tolist(), strict=True):
                # If the period continues in the next block, its newest message is there.
                if held and self._tick(held.time_ns) < self._tick(time_ns):
                    yield held
                held = Arrival(time_ns, self.name, block.data(place))
        if held:
            yield held

    def newest(self, look: Look | None = None) -> Iterator[tuple[Block, Times, Times]]:
        """Yield blocks, the times of their messages, and the indices of each period's newest."""
        for block in self._blocks:
            times, new, problem = self._clock.judge(block)
            if look is not None:
                look(self.name, block, times, new)
            places = new[newest_at_ticks(times[new], self._period_ns, self._phase_ns)]
            if self._has_values is not None:
                having = [self._has_values(block.data(place)) for place in places.tolist()]
                places = places[np.array(having, dtype=bool)]
            yield block, times, places
            if problem:
                raise problem

    def _tick(self, times: Any) -> Any:
        return -((self._phase_ns - times) // self._period_ns)


class _Clock:
    """Times of one topic's messages: stamps, or log times for messages without stamps."""

    def __init__(self, bag: Bag, topic: str, stamped: bool, by_log: Sequence[str]) -> None:
        self._bag, self._topic, self._by_log = bag, topic, by_log
        self._stamped = stamped and bag.is_stamped(topic)
        self._newest_ns: int | None = None

    def judge(self, block: Block) -> tuple[Times, Times, ToolError | None]:
        """Return message times, indices of new messages, and the error that ends the stream."""
        times = self._times(block)
        if self._newest_ns is None:
            self._check_clock(int(times[0]), int(block.log_ns[0]))
            self._newest_ns = int(times[0]) - 1
        newest = np.maximum.accumulate(np.append(self._newest_ns, times))
        since, end, problem = times - newest[:-1], len(times), None
        if (resets := np.flatnonzero(since < -RESTART_NS)).size:
            end = int(resets[0])
            problem = self._bag.problem(
                self._topic,
                int(times[end]),
                f"expected increasing stamps, found a stamp {since[end] * -1e-9:.3f} s earlier "
                "than the previous one; the clock was reset: cut the recording there",
            )
        self._newest_ns = int(newest[end])
        return times, np.flatnonzero(since[:end] > 0), problem

    def _times(self, block: Block) -> Times:
        if not self._stamped:
            return block.log_ns
        stamps = stamps_ns(block.heads)
        return np.where(stamps == 0, block.log_ns, stamps)

    def _check_clock(self, time_ns: int, log_ns: int) -> None:
        if self._by_log and abs(log_ns - time_ns) > _CLOCKS_AGREE_NS:
            raise self._bag.problem(
                self._topic,
                time_ns,
                "expected stamps and log times from one clock "
                f"({', '.join(self._by_log)} is ordered by log time), found a log time of "
                f"{log_ns * 1e-9:.3f} s; record with the stamps' clock (--use-sim-time in a "
                "simulation)",
            )
