# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is done beside the control thread: right after a tick, or where none comes."""

import queue
import threading
import time
from collections.abc import Iterator

import pytest

from policy_inference.nodes.control_loop import BetweenTicks, ControlLoop, DueTick, Pacer

pytestmark = pytest.mark.ros
DEADLINE_S = 20.0
PERIOD_S = 0.002
MS = 1_000_000
TICK = DueTick(now_ns=0, next_deadline_ns=0, ros_now_ns=0, missed=0)


class OnDemand(Pacer):
    """A pacer whose ticks are the test's."""

    def __init__(self) -> None:
        super().__init__(0)
        self.due = queue.SimpleQueue[DueTick | None]()

    def start(self) -> None:
        pass

    def wait(self) -> DueTick | None:
        return self.due.get()

    def clock(self) -> int:
        return 0


class Bench:
    """A loop whose ticks end when the test says so, and what was done beside it."""

    def __init__(self) -> None:
        self.pacer, self.begun, self.ends = OnDemand(), threading.Semaphore(0), threading.Event()
        self.at_work = False
        self.worked = queue.SimpleQueue[tuple[int, bool]]()
        self.loop = ControlLoop(self.pacer, self.tick, self.fail)
        self.failures: list[BaseException] = []
        self.reports = BetweenTicks(self.loop, PERIOD_S / 2.0, PERIOD_S, self.work)

    def tick(self, _: DueTick) -> None:
        self.at_work = True
        self.begun.release()
        self.ends.wait(DEADLINE_S)
        self.at_work = False

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)

    def work(self) -> None:
        self.worked.put((self.loop.ticks, self.at_work))

    def close(self) -> None:
        assert self.reports.stop(DEADLINE_S)
        self.ends.set()
        self.pacer.due.put(None)
        self.loop.stop(DEADLINE_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_work_follows_the_end_of_each_tick(bench: Bench) -> None:
    bench.ends.set()
    bench.loop.start()
    bench.reports.start()
    for _ in range(20):
        bench.pacer.due.put(TICK)
        _, within_a_tick = bench.worked.get(timeout=DEADLINE_S)
        assert not within_a_tick
    assert not bench.failures


def test_work_goes_on_where_no_tick_comes(bench: Bench) -> None:
    bench.loop.start()
    bench.reports.start()
    assert [bench.worked.get(timeout=DEADLINE_S)[0] for _ in range(3)] == [0, 0, 0]


def test_work_goes_on_while_a_tick_hangs(bench: Bench) -> None:
    bench.loop.start()
    bench.pacer.due.put(TICK)
    assert bench.begun.acquire(timeout=DEADLINE_S)
    bench.reports.start()
    assert bench.worked.get(timeout=DEADLINE_S) == (1, True)


def test_garbage_is_collected_between_the_ticks(bench: Bench) -> None:
    collected = threading.Semaphore(0)

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            collected.release()

    bench.loop.start()
    Cycle()
    bench.reports.start()
    assert collected.acquire(timeout=DEADLINE_S)


def test_lateness_is_what_the_machine_kept_a_tick_waiting(bench: Bench) -> None:
    bench.loop.start()
    bench.ends.set()
    for late_ms, since_end_ms in ((1, 50), (35, 50), (12, 2)):
        now_ns = time.monotonic_ns() + since_end_ms * MS
        bench.pacer.due.put(TICK._replace(now_ns=now_ns, late_ns=late_ms * MS))
        assert bench.begun.acquire(timeout=DEADLINE_S)
    assert bench.loop.late_s == pytest.approx(0.035)
    # The tick before took until now: what is late is not the machine's.
    later_ns = time.monotonic_ns() + 3_000 * MS
    bench.pacer.due.put(TICK._replace(now_ns=later_ns, late_ns=0))
    assert bench.begun.acquire(timeout=DEADLINE_S)
    assert bench.loop.late_s == 0.0


def test_the_end_of_the_loop_ends_the_wait_for_its_next_tick() -> None:
    bench = Bench()
    bench.loop.start()
    awaited = threading.Thread(target=bench.loop.await_tick, args=(1e6,))
    awaited.start()
    bench.pacer.due.put(None)
    assert bench.loop.stop(DEADLINE_S)
    awaited.join(DEADLINE_S)
    assert not awaited.is_alive()
