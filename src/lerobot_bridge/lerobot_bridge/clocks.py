# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The times of a recording's messages, and whether they are all of one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.bags.bag import Bag
from model_tools.bags.blocks import Block, Times
from model_tools.bags.streams import Extract, newest_times_ns
from model_tools.errors import ToolError

_AGREE_NS = 500_000_000
"""Messages are logged so much later at most than others of the same stamp."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """Messages of a topic.

    Attributes:
        topic: Full name.
        times_ns: [messages] rising; those that are repeated or come late are left out.
        count: How many there are in all.
        logged_ns: When the first and the last of them were.
        offset_ns: How much later at least they were logged: on one clock, the shortest delay.
        back: Stamps that are earlier than the one before them in the log.
        back_ns: By how much at the most.
        back_at_ns: The first of them.
    """

    topic: str
    times_ns: Times
    count: int
    logged_ns: tuple[int, int]
    offset_ns: int
    back: int = 0
    back_ns: int = 0
    back_at_ns: int = 0

    @property
    def rate_hz(self) -> float:
        """Messages per second."""
        first, last = self.logged_ns
        return (self.count - 1) / max((last - first) * 1e-9, 1e-9)


class _Noted:
    """What is noted of an input, block by block."""

    def __init__(self) -> None:
        self._times: list[Times] = []
        self._offsets: list[int] = []
        self._logged: list[int] = []
        self._backs: list[Times] = []
        self._steps: list[Times] = []
        self._last: Times | None = None
        self._count = 0

    def look(self, block: Block, found: Times, new: Times) -> None:
        self._times.append(found[new])
        self._offsets.append(int((block.log_ns - found).min()))
        self._logged += [int(block.log_ns[0]), int(block.log_ns[-1])]
        self._count += len(found)
        steps = np.diff(found, prepend=found[:1] if self._last is None else self._last)
        self._backs.append(found[steps < 0])
        self._steps.append(steps[steps < 0])
        self._last = found[-1:]

    def heard(self, topic: str) -> Heard | None:
        """Return what was heard; None where there was nothing."""
        if not self._times:
            return None
        backs, steps = np.concatenate(self._backs), np.concatenate(self._steps)
        return Heard(
            topic=topic, times_ns=np.concatenate(self._times), count=self._count,
            logged_ns=(self._logged[0], self._logged[-1]), offset_ns=min(self._offsets),
            back=len(backs), back_ns=-int(steps.min(initial=0)),
            back_at_ns=int(backs[0]) if len(backs) else 0,
        )


def hear(
    bag: Bag, topics: Mapping[str, str], extract: Extract,
    look: Callable[[str, Block, Times], None] = lambda name, block, times: None,
) -> dict[str, Heard]:  # fmt: skip
    """Return when the messages of each input were.

    Args:
        bag: The recording.
        topics: Topics by input.
        extract: What of it is read.
        look: Gets each input, block of its messages, and their times.

    Raises:
        ToolError: The recording is broken, has no messages of an input there, or stamps begin
            anew.
    """
    noted = {name: _Noted() for name in topics}

    def note(name: str, block: Block, found: Times, new: Times) -> None:
        noted[name].look(block, found, new)
        look(name, block, found)

    with newest_times_ns(bag, topics, 1, note, extract) as streams:
        for stream in streams.values():
            for _ in stream:
                pass
    heard = {name: each.heard(topics[name]) for name, each in noted.items()}
    missing = [topics[name] for name, each in heard.items() if each is None]
    if missing:
        raise ToolError(f"{bag.path}: expected messages of {', '.join(missing)} during the "
                        "episode, found none")
    return {name: each for name, each in heard.items() if each is not None}


def refuse_stamps_back(path: Path, heard: Sequence[Heard]) -> None:
    """Check that the stamps of each topic go on, in the order of the log.

    Args:
        path: Of the recording.
        heard: Its topics.

    Raises:
        ToolError: They do not; says of each topic how often, since when, and what to do.
    """
    wrong = {each.topic: each for each in heard if each.back}
    if wrong:
        raise ToolError("\n  ".join(
            f"{path}: {each.topic} at {each.back_at_ns * 1e-9:.3f} s: expected stamps that go on, "
            f"found {each.back} of {each.count} before that of the message before, by up to "
            f"{each.back_ns * 1e-9:.3f} s: most likely two publishers are on the topic (`ros2 "
            "topic info --verbose` names them), as two robots of one ROS_DOMAIN_ID are; record "
            "one of them, or, where only its clock was set, write `stamp: received` in the mapping"
            for each in wrong.values()))


def refuse_several_clocks(path: Path, heard: Sequence[Heard], *, with_log: bool) -> None:
    """Check that the messages of all topics are stamped by one clock.

    Args:
        path: Of the recording.
        heard: Its topics; one that said a thing once, maybe long before, tells nothing.
        with_log: Whether the log must be on that clock as well.

    Raises:
        ToolError: They are not; names two of them and how far they are apart.
    """
    clocks = {each.topic: each.offset_ns for each in heard if each.count > 1}
    if with_log:
        clocks["the log"] = 0
    if not clocks:
        return
    # What agrees with the log is right; else the first topic.
    right = min(clocks, key=lambda topic: abs(clocks[topic]) > _AGREE_NS)
    wrong = max(clocks, key=lambda topic: abs(clocks[topic] - clocks[right]))
    apart_s = (clocks[wrong] - clocks[right]) * 1e-9
    if abs(apart_s) <= _AGREE_NS * 1e-9:
        return
    where = "behind" if apart_s > 0 else "ahead of"
    raise ToolError(f"{path}: {wrong}: expected stamps on the clock of {right}, found them "
                    f"{abs(apart_s):.3f} s {where} it; write `stamp: received` where the mapping "
                    f"names {wrong}, or record with one clock")
