# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the times of a recording's messages, and checks that one clock stamped all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.blocks import Block
from model_tools.files.bags.streams import Extract, newest_times_ns
from policy_core.interfaces import Times

AGREE_NS = 500_000_000
"""Maximum difference in logging delay between topics stamped by one clock."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopicTimes:
    """The times of a topic's messages.

    Attributes:
        topic: Full name.
        times_ns: Increasing times [messages]; repeated and late messages are left out.
        count: Number of the topic's messages during the episode.
        new: Number of those messages whose times are in `times_ns`; they are its last entries.
        logged_ns: Log times of the first and last message; 0 if there are none.
        offset_ns: Smallest difference between log time and stamp: the shortest delay, if the same
            clock provided both.
        back: Number of stamps in the episode that are earlier than the stamp before them in the
            log.
        back_ns: Largest backward step.
        back_at_ns: First stamp that is earlier than the previous one.
    """

    topic: str
    times_ns: Times
    count: int
    new: int
    logged_ns: tuple[int, int]
    offset_ns: int
    back: int = 0
    back_ns: int = 0
    back_at_ns: int = 0

    @property
    def rate_hz(self) -> float:
        first, last = self.logged_ns
        return max(self.count - 1, 0) / max((last - first) * 1e-9, 1e-9)


class _TimesReader:
    def __init__(self, begin_ns: int) -> None:
        self._begin_ns = begin_ns
        self._times: list[Times] = []
        self._offsets: list[int] = []
        self._logged: list[Times] = []
        self._backs: list[Times] = []
        self._steps: list[Times] = []
        self._last: Times | None = None
        self._new = 0

    def look(self, block: Block, found: Times, new: Times) -> None:
        during = block.log_ns >= self._begin_ns
        self._times.append(found[new])
        self._new += int(during[new].sum())
        self._offsets.append(int((block.log_ns - found).min()))
        self._logged.append(block.log_ns[during])
        steps = np.diff(found, prepend=found[:1] if self._last is None else self._last)
        back = (steps < 0) & during
        self._backs.append(found[back])
        self._steps.append(steps[back])
        self._last = found[-1:]

    def heard(self, topic: str) -> TopicTimes | None:
        """Return the times; None if there are no messages."""
        if not self._times:
            return None
        logged, backs, steps = map(np.concatenate, (self._logged, self._backs, self._steps))
        return TopicTimes(
            topic=topic,
            times_ns=np.concatenate(self._times),
            count=len(logged),
            new=self._new,
            logged_ns=(int(logged[0]), int(logged[-1])) if len(logged) else (0, 0),
            offset_ns=min(self._offsets),
            back=len(backs),
            back_ns=-int(steps.min(initial=0)),
            back_at_ns=int(backs[0]) if len(backs) else 0,
        )


def read_topic_times(
    bag: Bag,
    topics: Mapping[str, str],
    extract: Extract,
    begin_ns: int,
) -> dict[str, TopicTimes]:
    """Return the message times of each input.

    Args:
        bag: The recording.
        topics: The topic of each input, by the input's name.
        extract: The part of the recording to read.
        begin_ns: Log time at which the episode begins; earlier messages may also be read.
    """
    noted = {name: _TimesReader(begin_ns) for name in topics}

    def note(name: str, block: Block, found: Times, new: Times) -> None:
        noted[name].look(block, found, new)

    with newest_times_ns(bag, topics, 1, note, extract) as streams:
        for stream in streams.values():
            for _ in stream:
                pass
    heard = {name: each.heard(topics[name]) for name, each in noted.items()}
    missing = [topics[name] for name, each in heard.items() if each is None]
    if missing:
        raise ToolError(
            f"{bag.path}: expected messages on {', '.join(missing)} during the episode, found none"
        )
    return {name: each for name, each in heard.items() if each is not None}


def stamps_back(path: Path, heard: Sequence[TopicTimes]) -> list[str]:
    """Return a problem for each topic whose stamps step backward in log order.

    Args:
        path: The recording.
        heard: Times of the recording's topics.
    """
    wrong = {each.topic: each for each in heard if each.back}
    return [
        f"{path}: {each.topic} at {each.back_at_ns * 1e-9:.3f} s: expected increasing stamps, "
        f"found {each.back} of {each.count} stamps earlier than the previous one, by up to "
        f"{each.back_ns * 1e-9:.3f} s: most likely two publishers are on the topic (`ros2 topic "
        "info --verbose` names them), such as two robots with one ROS_DOMAIN_ID; record one of "
        "them, or, if only a clock was set, write `stamp: received` in the mapping"
        for each in wrong.values()
    ]


def several_clocks(path: Path, heard: Sequence[TopicTimes], *, with_log: bool) -> list[str]:
    """Return the worst problem that topics stamped by different clocks cause; empty if none.

    Args:
        path: The recording.
        heard: Times of the recording's topics. A topic with a single message does not reveal its
            clock, since that message may be old.
        with_log: True if the log must use the same clock.
    """
    clocks = {**_offsets_ns(heard), **({"the log times": 0} if with_log else {})}
    if not clocks:
        return []
    right = _right(clocks)
    wrong = max(clocks, key=lambda topic: abs(clocks[topic] - clocks[right]))
    apart_s = (clocks[wrong] - clocks[right]) * 1e-9
    if abs(apart_s) <= AGREE_NS * 1e-9:
        return []
    where = "behind" if apart_s > 0 else "ahead"
    return [
        f"{path}: {wrong}: expected stamps from the same clock as {right}, found stamps "
        f"{abs(apart_s):.3f} s {where}; set `stamp: received` for {wrong} in the mapping, or "
        "record again with synchronized clocks"
    ]


def skewed_clocks(heard: Sequence[TopicTimes], longest_ns: int, period_ns: int) -> Iterator[str]:
    """Yield a warning for each topic whose stamps differ too much from those of the others.

    Args:
        heard: Times of the recording's topics.
        longest_ns: Maximum difference without a warning.
        period_ns: Time between two frames.
    """
    clocks = _offsets_ns(heard)
    for topic, offset_ns in clocks.items():
        right = _right(clocks)
        apart_ns = offset_ns - clocks[right]
        if abs(apart_ns) > longest_ns:
            yield (
                f"{topic} has stamps {abs(apart_ns) * 1e-9:.3f} s "
                f"({abs(apart_ns) / period_ns:.1f} frames) "
                f"{'behind' if apart_ns > 0 else 'ahead of'} those of {right}, judging by their "
                "arrival times; unless this is transport delay, frames combine data from different "
                "times: synchronize the clocks (NTP, PTP), or write `stamp: received` for "
                f"{topic}"
            )


def _offsets_ns(heard: Sequence[TopicTimes]) -> dict[str, int]:
    return {each.topic: each.offset_ns for each in heard if max(each.count, len(each.times_ns)) > 1}


def _right(clocks: Mapping[str, int]) -> str:
    """Return the topic whose clock agrees best with the log; if none agrees, the first topic."""
    return min(clocks, key=lambda topic: min(abs(clocks[topic]), AGREE_NS + 1))
