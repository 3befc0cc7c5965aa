# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The times of a recording's messages, and whether they are all of one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        offset_ns: How much later at least they were logged: on one clock, the shortest delay.
    """

    topic: str
    times_ns: Times
    count: int
    offset_ns: int


def hear(bag: Bag, topics: Mapping[str, str], extract: Extract) -> dict[str, Heard]:
    """Return when the messages of each input were.

    Args:
        bag: The recording.
        topics: Topics by input.
        extract: What of it is read.

    Raises:
        ToolError: The recording is broken, has no messages of an input there, or stamps begin
            anew.
    """
    times: dict[str, list[Times]] = {name: [] for name in topics}
    offsets: dict[str, list[int]] = {name: [] for name in topics}
    counts = dict.fromkeys(topics, 0)

    def look(name: str, block: Block, found: Times, new: Times) -> None:
        times[name].append(found[new])
        offsets[name].append(int((block.log_ns - found).min()))
        counts[name] += len(found)

    with newest_times_ns(bag, topics, 1, look, extract) as streams:
        for stream in streams.values():
            for _ in stream:
                pass
    missing = [topics[name] for name, parts in times.items() if not parts]
    if missing:
        raise ToolError(f"{bag.path}: expected messages of {', '.join(missing)} during the "
                        "episode, found none")
    return {name: Heard(topic=topics[name], times_ns=np.concatenate(parts), count=counts[name],
                        offset_ns=min(offsets[name])) for name, parts in times.items()}


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
