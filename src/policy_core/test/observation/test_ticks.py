# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ticks of a recording, and the count of them, which agrees."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from policy_core.observation.pairing import Arrival
from policy_core.observation.ticks import Ticks, count_ticks

PERIOD_NS = 10
TIMES = st.lists(st.integers(1, 300), max_size=12, unique=True).map(sorted)
TIMEOUTS = st.one_of(st.none(), st.integers(0, 45))


@given(
    streams=st.lists(st.tuples(TIMES, TIMEOUTS), min_size=1, max_size=3), pieces=st.integers(1, 3)
)
@example(streams=[([1], 0), ([1, 21], 9)], pieces=1)
def test_ticks_are_counted_as_they_are_yielded(
    streams: list[tuple[list[int], int | None]], pieces: int
) -> None:
    times = {f"input {place}": each for place, (each, _) in enumerate(streams)}
    timeouts = {f"input {place}": timeout for place, (_, timeout) in enumerate(streams)}
    arrivals = sorted(Arrival(each, name, None) for name in times for each in times[name])

    ticks, yielded = Ticks(PERIOD_NS, timeouts), list[int]()
    for now_ns in ticks.times_ns(arrivals):
        assert now_ns % PERIOD_NS == 0
        before_ns = yielded[-1] if yielded else 0
        assert ticks.newest == {
            each.name: each for each in arrivals if before_ns < each.time_ns <= now_ns
        }
        assert ticks.begins == (not yielded or now_ns > before_ns + PERIOD_NS)
        for name, timeout in timeouts.items():
            ages = [now_ns - each for each in times[name] if each <= now_ns]
            assert min(ages) <= (np.inf if timeout is None else timeout)
        ticks.newest.clear()
        yielded.append(now_ns)
    counted = count_ticks(
        PERIOD_NS,
        timeouts,
        {name: np.array_split(np.array(each, np.int64), pieces) for name, each in times.items()},
    )

    assert counted.present == len(yielded)
    assert counted.dropped == ticks.dropped
    assert counted.stale == ticks.stale
