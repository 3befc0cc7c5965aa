# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of a topic by the hundred: when they came, their stamps, and their bytes on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rosbags.highlevel import AnyReader

Times = npt.NDArray[np.int64]
Heads = npt.NDArray[np.uint8]

HEAD = 12
"""First bytes of a message: four name the encoding; where it has a header, eight are the stamp."""
_AT_ONCE = 512
RESTART_NS = 1_000_000_000
"""Stamps that go back by more than this are those of a clock that was set back."""
LAST_NS = 2**63 - 1
"""No log has a later time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Messages of one topic, in the order of the log.

    Attributes:
        log_ns: [messages] when they were logged.
        heads: [messages, 12] their first bytes.
        data: Gives the bytes of one of them.
    """

    log_ns: Times
    heads: Heads
    data: Callable[[int], bytes]


def stamps_ns(heads: Heads) -> Times:
    """Return what messages that begin with a header are stamped with [messages]; 0: with nothing.

    Args:
        heads: [messages, 12] their first bytes.
    """
    # The last bit of an encoding's number is its byte order (OMG DDS-RTPS 2.5, clause 10).
    little = (heads[:, 1] & 1).astype(bool)
    stamps = np.ascontiguousarray(heads[:, 4:])
    sec, nanosec = (
        np.where(little, *(stamps.view(f"{order}{kind}4")[:, place] for order in "<>"))
        for place, kind in enumerate("iu")
    )
    return sec.astype(np.int64) * 1_000_000_000 + nanosec


class BlocksOf(Protocol):
    """What reads messages of a topic."""

    def __call__(self, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS) -> Iterator[Block]:
        """Yield those that were logged from one time to before another, ns."""


def read_blocks(
    reader: AnyReader, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS
) -> Iterator[Block]:
    """Yield the messages of a topic of an opened recording, all of which rosbags reads."""
    chosen = [each for each in reader.connections if each.topic == topic]
    messages = reader.messages(connections=chosen, start=begin_ns, stop=end_ns)
    while found := list(islice(messages, _AT_ONCE)):
        heads = np.frombuffer(b"".join(data[:HEAD] for _, _, data in found), np.uint8)
        yield Block(log_ns=np.array([log_ns for _, log_ns, _ in found]),
                    heads=heads.reshape(-1, HEAD), data=[data for _, _, data in found].__getitem__)
