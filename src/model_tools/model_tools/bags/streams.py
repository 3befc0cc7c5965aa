# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of several topics in the order of their stamps, as far as a policy looks at them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from model_tools.bags.bag import Bag
from model_tools.bags.blocks import Block, Times, stamps_ns
from model_tools.errors import ToolError
from policy_inference.core.freshness import RESTART_NS
from policy_inference.core.messages import TWIST, VectorReader

WITHOUT_HEADER = (TWIST, VectorReader.message)
_CLOCKS_AGREE_NS = 1_000_000_000


class Arrival(NamedTuple):
    """A message, and the time from which on it counts."""

    time_ns: int
    name: str
    """Of the input."""
    data: bytes


def in_time(bag: Bag, topics: Mapping[str, str], period_ns: int) -> Iterator[Arrival]:
    """Yield of each input the messages that are the newest ones at a tick, by header stamp.

    Ticks are at multiples of the period. What has no header or no stamp goes by its time in the
    log; a stamp that is repeated or earlier is not new.

    Args:
        bag: The recording.
        topics: Topics by name of the input.
        period_ns: Of the ticks.

    Raises:
        ToolError: The recording is broken, stamps begin anew, or are of another clock than the
            log by which messages without stamps are put among them.
    """
    by_log = [topic for topic in topics.values() if bag.topics[topic].type in WITHOUT_HEADER]
    with bag.blocks() as blocks_of:
        streams = [_Stream(bag, name, topic, by_log).newest(blocks_of(topic), period_ns)
                   for name, topic in topics.items()]  # fmt: skip
        yield from heapq.merge(*streams, key=itemgetter(0))


class _Stream:
    """One topic."""

    def __init__(self, bag: Bag, name: str, topic: str, by_log: Sequence[str]) -> None:
        self._bag, self._name, self._topic, self._by_log = bag, name, topic, by_log
        self._newest_ns: int | None = None

    def newest(self, blocks: Iterator[Block], period_ns: int) -> Iterator[Arrival]:
        """Yield the newest message of each period in which there is a new one."""
        held, problem, tick = None, None, 0
        for block in blocks:
            times, new, problem = self._judged(block)
            ticks = -(-times[new] // period_ns)
            last = np.flatnonzero(np.diff(ticks, append=ticks[-1:] + 1))
            for place in new[last].tolist():
                arrival = Arrival(int(times[place]), self._name, block.data(place))
                before, tick = tick, -(-arrival.time_ns // period_ns)
                if held and before != tick:
                    yield held
                held = arrival
            if problem:
                break
        if held:
            yield held
        if problem:
            raise problem

    def _judged(self, block: Block) -> tuple[Times, Times, ToolError | None]:
        """Return times of messages, the places of new ones, and what ends the stream."""
        times = self._times(block)
        if self._newest_ns is None:
            self._check_clock(int(times[0]), int(block.log_ns[0]))
            self._newest_ns = int(times[0]) - 1
        newest = np.maximum.accumulate(np.append(self._newest_ns, times))
        since, end, problem = times - newest[:-1], len(times), None
        if (anew := np.flatnonzero(since < -RESTART_NS)).size:
            end = int(anew[0])
            problem = self._bag.problem(
                self._topic, int(times[end]), "expected stamps that go on, found one "
                f"{since[end] * -1e-9:.3f} s before the last; the clock began anew: cut the "
                "recording there")
        self._newest_ns = int(newest[end])
        return times, np.flatnonzero(since[:end] > 0), problem

    def _times(self, block: Block) -> Times:
        if self._bag.topics[self._topic].type in WITHOUT_HEADER:
            return block.log_ns
        stamps = stamps_ns(block.heads)
        return np.where(stamps == 0, block.log_ns, stamps)

    def _check_clock(self, time_ns: int, log_ns: int) -> None:
        if self._by_log and abs(log_ns - time_ns) > _CLOCKS_AGREE_NS:
            raise self._bag.problem(
                self._topic, time_ns, "expected stamps on the clock of the log, by which "
                f"{', '.join(self._by_log)} is put among them, found the log at "
                f"{log_ns * 1e-9:.3f} s; record with the clock of the stamps (--use-sim-time in a "
                "simulation)")
