# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of several topics in the order of their stamps."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from model_tools.bags.bag import Bag
from policy_inference.core.freshness import Input
from policy_inference.core.messages import TWIST, VectorReader, stamp_ns

_WITHOUT_HEADER = (TWIST, VectorReader.message)
_CLOCKS_AGREE_NS = 1_000_000_000


def in_time(bag: Bag, topics: Mapping[str, str]) -> Iterator[tuple[int, str, Any]]:
    """Yield time (ns), name and message of each input, by header stamp.

    What has no header or no stamp goes by its time in the log; a stamp that is repeated or
    earlier is not new.

    Args:
        bag: The recording.
        topics: Topics by name of the input.

    Raises:
        ToolError: The recording is broken, stamps begin anew, or are of another clock than the
            log by which messages without stamps are put among them.
    """
    by_log = [topic for topic in topics.values() if bag.topics[topic].type in _WITHOUT_HEADER]
    streams = [_stream(bag, name, topic, by_log) for name, topic in topics.items()]
    return heapq.merge(*streams, key=itemgetter(0))


def _stream(
    bag: Bag, name: str, topic: str, by_log: list[str]
) -> Iterator[tuple[int, str, Any]]:
    newest = Input(name, None)
    for log_ns, message in bag.messages(topic):
        stamp = stamp_ns(message)
        time_ns = log_ns if stamp is None else stamp
        if not newest.is_new(time_ns):
            continue
        since_ns = newest.age_ns(time_ns)
        if since_ns is None and by_log and abs(log_ns - time_ns) > _CLOCKS_AGREE_NS:
            raise bag.problem(topic, time_ns, "expected stamps on the clock of the log, by which "
                              f"{', '.join(by_log)} is put among them, found the log at "
                              f"{log_ns * 1e-9:.3f} s; record with the clock of the stamps "
                              "(--use-sim-time in a simulation)")
        if since_ns is not None and since_ns < 0:
            raise bag.problem(topic, time_ns, "expected stamps that go on, found one "
                              f"{since_ns * -1e-9:.3f} s before the last; the clock began anew: "
                              "cut the recording there")
        newest.accept(time_ns, time_ns, time_ns)
        yield time_ns, name, message
