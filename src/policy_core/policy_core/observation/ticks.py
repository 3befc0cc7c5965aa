# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ticks of a policy on recorded or live messages, at times when every input is fresh."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.interfaces import Times
from policy_core.observation.freshness import Input
from policy_core.observation.pairing import Arrival

_FOR_EVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TickCount:
    """Tick counts for a set of messages.

    Attributes:
        present: Number of ticks at which every input is fresh.
        dropped: Number of all other ticks between the first tick at which every input is known and
            the last message.
        stale: Number of dropped ticks at which an input is too old, by input.
    """

    present: int
    dropped: int
    stale: Mapping[str, int]


def count_ticks(
    period_ns: int,
    timeouts_ns: Mapping[str, int | None],
    times_ns: Mapping[str, Iterable[Times]],
) -> TickCount:
    """Count the ticks that `Ticks` would yield.

    Args:
        period_ns: Time between two ticks.
        timeouts_ns: Maximum age of the newest message, by required input; None for no limit.
        times_ns: Increasing times of the messages, by input; must include every message that is the
            newest at some tick.
    """
    fresh = {
        name: _Fresh(times, period_ns, timeouts_ns.get(name)) for name, times in times_ns.items()
    }
    end = max(each.newest_ns for each in fresh.values()) // period_ns + 1
    runs = {name: fresh[name].runs for name in timeouts_ns if name in fresh}
    if not all(len(runs.get(name, ())) for name in timeouts_ns):
        return TickCount(present=0, dropped=0, stale={})
    first = max(int(each[0, 0]) for each in runs.values())
    runs = {name: each.clip(first, max(first, end)) for name, each in runs.items()}
    # The number of fresh inputs increases by one at the start of a run, and decreases at its end.
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
    """Runs of ticks at which an input is fresh; `runs` [runs, 2]: first tick, last tick + 1."""

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


def fresh_at(
    times_ns: Times, ticks_ns: Times, limit_ns: float, slack_ns: int = 0
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return, for each tick, the newest message's index and whether that message is fresh [ticks].

    Args:
        times_ns: Message times [messages], increasing; the first message is not later than the
            first tick.
        ticks_ns: Tick times [ticks], increasing.
        limit_ns: Age up to which the newest message is fresh.
        slack_ns: Time after a tick during which messages still belong to that tick.
    """
    newest = np.searchsorted(times_ns, ticks_ns + slack_ns, "right") - 1
    return newest, ticks_ns - times_ns[newest] <= limit_ns


class Ticks:
    """A policy's ticks: at multiples of its period, while every input is fresh.

    Attributes:
        newest: Newest message since the previous tick, by input; the consumer removes messages.
        begins: True if the current tick is the first, or follows a gap.
        dropped: Number of ticks skipped so far.
        stale: Number of skipped ticks at which an input was too old, by input.
    """

    def __init__(self, period_ns: int, timeouts_ns: Mapping[str, int | None]) -> None:
        """Begin without messages.

        Args:
            period_ns: Time between two ticks.
            timeouts_ns: Same as for `count_ticks`.
        """
        self._period_ns = period_ns
        self._inputs = {name: Input(name, timeout_ns) for name, timeout_ns in timeouts_ns.items()}
        self._next_ns: int | None = None
        self.newest: dict[str, Arrival] = {}
        self.begins = True
        self.dropped, self.stale = 0, Counter[str]()

    def times_ns(self, arrivals: Iterable[Arrival]) -> Iterator[int]:
        """Yield each tick's time; `newest` then holds the messages up to that time.

        The first tick is the first one at which every input is known; the last message ends the
        ticks.
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
            if any(entry.is_stale(now_ns) for entry in self._inputs.values()):
                # Until the next message, no input becomes fresh again, however many ticks pass.
                gap_ns = range(now_ns, end_ns, self._period_ns)
                count = len(gap_ns)
                self.dropped += count
                self.stale += Counter(
                    {
                        name: count - bisect(gap_ns, False, key=entry.is_stale)
                        for name, entry in self._inputs.items()
                    }
                )
                self.begins = True
            else:
                yield now_ns
                self.begins = False
            self._next_ns += count * self._period_ns

    def _waiting(self, now_ns: int) -> bool:
        return any(entry.age_ns(now_ns) is None for entry in self._inputs.values())
