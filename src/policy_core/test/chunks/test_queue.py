# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy_core.interfaces import F64
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.queue import (
    AsynchronousQueue,
    ChunkQueue,
    EnsembleQueue,
    RealTimeQueue,
    SynchronousQueue,
)
from policy_core.members.chunk.worker import ChunkAnswer, InlineWorker, Request

HELD = np.array([9.0, 9.0])


def chunk(start: float, steps: int = 10, slope: float = 1.0) -> F64:
    """Return a chunk of two joints: start + slope k in step k, for both."""
    return np.repeat((start + slope * np.arange(steps))[:, np.newaxis], 2, axis=1)


def asynchronous(
    *,
    steps: int = 10,
    refill: float = 0.5,
    fade: int = 0,
    grippers: tuple[int, ...] = (),
    realign: bool = False,
) -> AsynchronousQueue:
    return AsynchronousQueue(steps, refill, fade, grippers, realign=realign)


def test_synchronous_executes_the_first_steps_whenever_they_come() -> None:
    queue = SynchronousQueue(3)
    assert queue.wants_chunk(0)
    queue.add(chunk(0.0), 0, 7, HELD)
    executed = []
    for tick in (7, 8, 100):
        assert not queue.wants_chunk(tick)
        target = queue.target(tick)
        assert target is not None
        executed.append(target[0])
        queue.advance(tick)
    assert executed == [0.0, 1.0, 2.0]
    assert queue.wants_chunk(101)
    assert queue.target(101) is None


def test_synchronous_keeps_a_step_that_was_not_executed() -> None:
    queue = SynchronousQueue(3)
    queue.add(chunk(5.0), 0, 0, HELD)
    first, again = queue.target(0), queue.target(1)
    assert first is not None
    assert np.array_equal(first, again if again is not None else ())


@pytest.mark.parametrize(("threshold", "wanted_from"), [(0.5, 6), (0.2, 9), (0.0, 10), (1.0, 1)])
def test_asynchronous_asks_once_less_than_the_share_is_left(
    threshold: float, wanted_from: int
) -> None:
    queue = asynchronous(refill=threshold)
    assert queue.wants_chunk(0)
    queue.add(chunk(0.0), 0, 0, HELD)
    assert [tick for tick in range(12) if queue.wants_chunk(tick)] == list(range(wanted_from, 12))


Plan = Callable[[int], F64]


def plan_after(old: Plan | None, said: F64, first: int, now: int, shift: F64, fade: int) -> Plan:
    """Return what is executed in each tick once a chunk has come that fades the old plan out."""

    def plan(tick: int) -> F64:
        tick = min(tick, first + len(said) - 1)
        step = said[tick - first]
        target: F64 = step + shift
        if old is not None and tick - now < fade:
            share = (tick - now + 1) / (fade + 1)
            target = share * target + (1.0 - share) * old(tick)
        return np.array([target[0], step[1]])

    return plan


VALUES = st.integers(-100, 100)
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 14), VALUES, st.integers(-3, 3)),
    min_size=1,
    max_size=8,
)


@given(arrivals=ARRIVALS, steps=st.integers(1, 10), fade=st.integers(0, 5), realign=st.booleans())
@example(arrivals=[(0, 20, 0, 0), (0, 20, 3, 0), (0, 4, 7, 0)], steps=4, fade=3, realign=False)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_chunks_come_each_tick_has_the_step_that_is_due_faded_in(
    arrivals: list[tuple[int, int, int, int]], steps: int, fade: int, realign: bool
) -> None:
    """Chunks come late by some ticks, and stay for some; the second joint is a gripper."""
    queue = asynchronous(steps=steps, fade=fade, grippers=(1,), realign=realign)
    plan: Plan | None = None
    now, end, last = 0, 0, HELD
    for late, ticks, start, slope in arrivals:
        given_chunk = chunk(float(start), slope=float(slope))
        queue.add(given_chunk, now - late, now, last)
        assert np.array_equal(given_chunk, chunk(float(start), slope=float(slope)))
        said = given_chunk[:steps]
        if late < len(said):
            shift = (last - said[late]) * realign
            plan, end = plan_after(plan, said, now - late, now, shift, fade), now - late + len(said)
        for tick in range(now, now + ticks):
            target = queue.target(tick)
            assert queue.left(tick) == max(0, end - tick)
            assert (target is None) == (tick >= end)
            if target is not None:
                assert plan is not None
                np.testing.assert_allclose(target, plan(tick), atol=1e-9)
                last = target
        now += ticks


def test_the_ensemble_weighs_the_oldest_chunk_most() -> None:
    queue = EnsembleQueue(4, 0.5)
    for tick, start in enumerate((10.0, 20.0, 40.0)):
        queue.add(chunk(start, 4, 0.0), tick, tick, HELD)
    weights = np.exp(-0.5 * np.arange(3))
    target = queue.target(2)
    assert target is not None
    np.testing.assert_allclose(target, np.dot(weights, [10, 20, 40]) / weights.sum())


def test_the_ensemble_takes_each_chunks_step_for_this_tick() -> None:
    queue = EnsembleQueue(4, 0.0)
    queue.add(chunk(0.0, 4), 0, 0, HELD)
    queue.add(chunk(100.0, 4), 2, 2, HELD)
    target = queue.target(3)
    assert target is not None
    assert target.tolist() == [(3 + 101) / 2] * 2


@pytest.mark.parametrize("coefficient", [-100.0, 100.0])
def test_no_coefficient_makes_the_ensemble_anything_but_a_mean(coefficient: float) -> None:
    queue = EnsembleQueue(40, coefficient)
    for tick in range(40):
        queue.add(chunk(float(tick), 40, 0.0), tick, tick, HELD)
        target = queue.target(tick)
        assert target is not None
        np.testing.assert_allclose(target, 0.0 if coefficient > 0.0 else tick, atol=1e-9)


def test_chunks_that_have_ended_leave_the_ensemble_with_their_weights() -> None:
    queue = EnsembleQueue(4, 0.5)
    queue.add(chunk(0.0, 4), 0, 0, HELD)
    queue.add(chunk(7.0, 4, 0.0), 3, 3, HELD)
    target = queue.target(5)
    assert target is not None
    assert target.tolist() == [7.0, 7.0]
    assert [queue.left(tick) for tick in (3, 6, 9)] == [4, 1, 0]
    assert queue.target(7) is None


@pytest.mark.parametrize(
    "queue",
    [SynchronousQueue(5), asynchronous(), EnsembleQueue(10, 0.01)],
    ids=lambda queue: type(queue).__name__,
)
def test_a_reset_forgets_all_chunks(
    queue: SynchronousQueue | AsynchronousQueue | EnsembleQueue,
) -> None:
    queue.add(chunk(0.0), 0, 0, HELD)
    queue.reset()
    assert queue.target(0) is None
    assert queue.left(0) == 0
    assert queue.wants_chunk(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SynchronousQueue(4),
        lambda: asynchronous(fade=0),
        lambda: asynchronous(fade=3),
        lambda: RealTimeQueue(10, 0.5),
    ],
)
def test_memory_is_how_many_ticks_depend_on_earlier_chunks(make: Callable[[], ChunkQueue]) -> None:
    def followed(queue: ChunkQueue, earlier: float) -> F64:
        queue.add(chunk(earlier, slope=0.0), 0, 0, HELD)
        for tick in range(4):
            queue.advance(tick)
        queue.add(chunk(0.0, slope=0.0), 4, 4, HELD)
        targets = []
        for tick in range(4, 8):
            targets.append(queue.target(tick))
            queue.advance(tick)
        return np.array(targets, np.float64)

    depends = (followed(make(), 20.0) != followed(make(), 30.0)).any(axis=1)
    assert depends.tolist() == [tick < make().memory for tick in range(4)]


def numbered_request(number: int, generation: int = 0) -> Request:
    sensed = Snapshot(time_ns=number, frames={}, fields={})
    return Request(sensed=sensed, generation=generation, asked_ns=number)


def test_inline_hands_over_when_the_callers_clock_says_so() -> None:
    worker = InlineWorker(
        lambda request: ChunkAnswer(np.full((1, 1), float(request.sensed.time_ns))), delay_ns=100
    )
    worker.ask(numbered_request(1000))
    assert worker.busy
    assert worker.take(1099) is None
    outcome = worker.take(1100)
    assert outcome is not None
    assert (outcome.began_ns, outcome.ended_ns) == (1000, 1100)
    assert not worker.busy
    assert worker.take(5000) is None


def test_inline_lets_the_latest_request_wait_for_the_one_before() -> None:
    worker = InlineWorker(
        lambda request: ChunkAnswer(np.full((1, 1), float(request.sensed.time_ns))), delay_ns=100
    )
    for number in (0, 10, 20):
        worker.ask(numbered_request(number))
    ended = []
    for now_ns in range(0, 400, 5):
        if (outcome := worker.take(now_ns)) is not None:
            ended.append((outcome.request.sensed.time_ns, outcome.began_ns, outcome.ended_ns))
    assert ended == [(0, 0, 100), (20, 100, 200)]
