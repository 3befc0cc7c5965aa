# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of a recording, found by the stamps of their ticks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

_APART_NS = 1_000_000_000
"""How far the log's times of a tick and of its command may be apart."""


class CommandLog:
    """Reads commands beside the ticks; keeps those of about their time only."""

    def __init__(self, messages: Iterator[tuple[int, Any]]) -> None:
        """Begin; `messages` yields time in the log (ns) and command, by time."""
        self._messages = messages
        self._next = next(messages, None)
        self._by_stamp: dict[int, list[Any]] = {}
        self._kept = deque[tuple[int, int]]()

    def at(self, log_ns: int, stamp_ns: int) -> list[Any]:
        """Return the commands with this stamp, each once.

        Args:
            log_ns: Time of the tick in the log; never less than in the call before.
            stamp_ns: Stamp of the tick.
        """
        while self._next is not None and self._next[0] <= log_ns + _APART_NS:
            its_ns, message = self._next
            stamp = time_ns(message.stamp)
            self._by_stamp.setdefault(stamp, []).append(message)
            self._kept.append((its_ns, stamp))
            self._next = next(self._messages, None)
        while self._kept and self._kept[0][0] < log_ns - _APART_NS:
            self._by_stamp.pop(self._kept.popleft()[1], None)
        return self._by_stamp.pop(stamp_ns, [])


def time_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
