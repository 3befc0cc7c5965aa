# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When ticks are due. Time is the test's: nothing here waits."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

import pytest
from rosgraph_msgs.msg import Clock

from policy_inference.nodes import control_loop
from policy_inference.nodes.control_loop import (
    DueTick,
    Pacer,
    SimulatedPacer,
    TimerPacer,
    TriggerPacer,
)
from testkit.ros_time import stamp

pytestmark = pytest.mark.ros
MS = 1_000_000
PERIOD_NS = 20 * MS
BEGAN_NS = 1_000 * MS


class Time:
    """A steady clock that moves only during a sleep or a wait, and what arrives meanwhile."""

    def __init__(self) -> None:
        self.now_ns = BEGAN_NS
        self.arrivals_ns: list[int] = []
        self.queued = self.held = 0
        self.inputs = [self]

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns + 7

    def sleep(self, duration_s: float) -> None:
        self.advance(round(duration_s * 1e9))

    def advance(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        while self.arrivals_ns and self.arrivals_ns[0] <= self.now_ns:
            self.queued += 1
            del self.arrivals_ns[0]

    def hold(self) -> None:
        """Empty the queue, as the trigger's subscription does."""
        self.held += self.queued
        self.queued = 0

    def wait(self, timeout_ns: int) -> list["Time"]:
        """Wait for an arrival, as its wait set does."""
        if not self.queued:
            ends_ns = self.now_ns + max(0, timeout_ns)
            next_ns = self.arrivals_ns[0] if self.arrivals_ns else ends_ns
            self.advance(min(next_ns, ends_ns) - self.now_ns)
        return [self] if self.queued else []


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    clock = SimpleNamespace(monotonic_ns=time.monotonic_ns, time_ns=time.time_ns, sleep=time.sleep)
    monkeypatch.setattr(control_loop, "time", clock)
    return time


def next_tick(pacer: Pacer) -> DueTick:
    for _ in range(1000):
        if (tick := pacer.wait()) is not None:
            return tick
    raise AssertionError("no tick was ever due")


def tick_times_ms(pacer: Pacer, count: int) -> list[float]:
    return [(next_tick(pacer).now_ns - BEGAN_NS) / MS for _ in range(count)]


def timer_pacer(time: Time) -> TimerPacer:
    pacer = TimerPacer(PERIOD_NS)
    pacer.start()
    return pacer


def trigger_pacer(time: Time, arrivals_ms: Sequence[float]) -> TriggerPacer:
    time.arrivals_ns = [BEGAN_NS + round(ms * MS) for ms in arrivals_ms]
    pacer = TriggerPacer(PERIOD_NS, time, time)  # type: ignore[arg-type]  # acts as both
    pacer.start()
    return pacer


class TestTimer:
    @pytest.mark.parametrize(
        ("takes_ns", "late_ns", "missed"),
        [
            (7 * MS, 0, 0),
            (PERIOD_NS + 5 * MS, 5 * MS, 0),
            (2 * PERIOD_NS - 1, PERIOD_NS - 1, 0),
            (4 * PERIOD_NS + 3 * MS, 3 * PERIOD_NS + 3 * MS, 3),
        ],
    )
    def test_deadlines_do_not_drift_and_those_that_cannot_be_kept_are_counted(
        self, time: Time, takes_ns: int, late_ns: int, missed: int
    ) -> None:
        pacer = timer_pacer(time)
        first = next_tick(pacer)
        assert (first.now_ns, first.ros_now_ns) == (BEGAN_NS, BEGAN_NS + 7)
        assert first.next_deadline_ns == BEGAN_NS + PERIOD_NS
        time.advance(takes_ns)
        due_ns = BEGAN_NS + PERIOD_NS
        late, after = next_tick(pacer), next_tick(pacer)
        assert (late.now_ns, late.late_ns, late.missed) == (due_ns + late_ns, late_ns, missed)
        assert late.next_deadline_ns == after.now_ns == due_ns + (1 + missed) * PERIOD_NS


class TestTrigger:
    def test_first_arrival_after_each_deadline_ticks_and_others_are_kept(self, time: Time) -> None:
        pacer = trigger_pacer(time, [3 + 4 * i for i in range(50)])
        ticks = [next_tick(pacer) for _ in range(4)]
        assert [(tick.now_ns - BEGAN_NS) / MS for tick in ticks] == [3, 23, 43, 63]
        assert time.held == 15
        # The result has a whole period before it is late.
        assert {tick.next_deadline_ns - tick.now_ns for tick in ticks} == {PERIOD_NS}

    @pytest.mark.parametrize("arrivals_ms", [[], [2, 22, 42]])
    def test_dead_input_delays_no_tick_by_more_than_a_period(
        self, time: Time, arrivals_ms: list[float]
    ) -> None:
        pacer = trigger_pacer(time, arrivals_ms)
        ticks = [next_tick(pacer) for _ in range(8)]
        times_ns = [BEGAN_NS, *(tick.now_ns for tick in ticks)]
        gaps_ns = [b - a for a, b in pairwise(times_ns)]
        assert max(gaps_ns) <= 2 * PERIOD_NS
        assert gaps_ns[-3:] == [PERIOD_NS] * 3
        assert sum(tick.missed for tick in ticks) == 0

    def test_input_that_comes_back_is_followed_again(self, time: Time) -> None:
        pacer = trigger_pacer(time, [107, 112, 117, 127])
        times_ms = tick_times_ms(pacer, 7)
        assert 107 in times_ms
        assert 127 in times_ms

    @pytest.mark.parametrize("phase_ms", [1, 9, 10, 11, 19])
    def test_input_at_the_policys_rate_ticks_at_each_arrival(
        self, time: Time, phase_ms: int
    ) -> None:
        jitter_ms = [0.0, 0.8, -0.8, 0.3, -0.5, 0.8, -0.8, 0.1]
        arrivals_ms = [phase_ms + 20 * i + jitter_ms[i % 8] for i in range(200)]
        times_ms = tick_times_ms(trigger_pacer(time, arrivals_ms), 100)
        assert times_ms == pytest.approx(arrivals_ms[:100])

    def test_each_deadline_is_either_ticked_or_counted_as_missed(self, time: Time) -> None:
        pacer = trigger_pacer(time, [1 + 2 * i for i in range(200)])
        ticks = [next_tick(pacer)]
        time.advance(5 * PERIOD_NS)
        while time.now_ns < BEGAN_NS + 10 * PERIOD_NS:
            ticks.append(next_tick(pacer))
        assert sum(1 + tick.missed for tick in ticks) == 11
        assert sum(tick.missed for tick in ticks) == 3


class Simulation:
    """/clock: what was published and not taken yet."""

    def __init__(self) -> None:
        self.shown: list[Clock] = []
        self.pacer = SimulatedPacer(PERIOD_NS, self, self)  # type: ignore[arg-type]  # acts as both
        self.pacer.start()

    def wait(self, timeout_ns: int) -> bool:
        return bool(self.shown)

    def take(self) -> Clock | None:
        return self.shown.pop() if self.shown else None

    def at(self, time_ms: float) -> DueTick | None:
        """Show a time; return the tick that it brings."""
        self.shown.append(Clock(clock=stamp(round(time_ms * MS))))
        return self.pacer.wait()

    def times_ms(self, *times_ms: float) -> list[float]:
        ticks = [self.at(time_ms) for time_ms in times_ms]
        return [tick.now_ns / MS for tick in ticks if tick and not tick.repeated]


@pytest.fixture
def simulation() -> Simulation:
    return Simulation()


class TestSimulated:
    @pytest.mark.parametrize(
        ("shown_ms", "ticks_ms"),
        [
            ([], []),
            ([0, 20], [0, 20]),
            ([40, -1, -1e9, 60], [40, 60]),
            ([*range(1000, 1101, 4)], [1000, 1020, 1040, 1060, 1080, 1100]),
            ([*range(1000, 1070, 7)], [1000, 1021, 1042, 1063]),
        ],
    )
    def test_first_time_after_each_deadline_ticks(
        self, simulation: Simulation, shown_ms: list[float], ticks_ms: list[float]
    ) -> None:
        assert simulation.times_ms(*shown_ms) == ticks_ms
        assert simulation.pacer.wait() is None

    def test_time_of_a_tick_is_the_simulated_one_until_the_next(
        self, simulation: Simulation
    ) -> None:
        tick = simulation.at(1000)
        assert tick is not None
        assert tick.ros_now_ns == 1000 * MS
        simulation.at(1004)
        assert simulation.pacer.clock() == 1000 * MS

    def test_repeated_time_is_marked_and_moves_no_deadline(self, simulation: Simulation) -> None:
        simulation.at(1000)
        again = simulation.at(1000)
        assert again is not None
        assert (again.repeated, again.missed) == (True, 0)
        assert simulation.times_ms(1000, 1019, 1020) == [1020]

    def test_time_that_jumps_ahead_is_counted_as_missed(self, simulation: Simulation) -> None:
        simulation.at(1000)
        tick = simulation.at(1100)
        assert tick is not None
        assert tick.missed == 4

    def test_time_that_runs_backwards_begins_again(self, simulation: Simulation) -> None:
        simulation.at(5000)
        tick = simulation.at(100)
        assert tick is not None
        assert (tick.restarted, tick.missed, tick.now_ns) == (True, 0, 100 * MS)
        assert simulation.times_ms(110, 120) == [120]

    def test_a_new_start_neither_misses_the_time_between_nor_forgets_it(
        self, simulation: Simulation
    ) -> None:
        simulation.at(1000)
        simulation.pacer.start()
        assert simulation.pacer.clock() == 1000 * MS
        later = simulation.at(9000)
        assert later is not None
        assert (later.missed, later.restarted) == (0, False)
        simulation.pacer.start()
        earlier = simulation.at(2000)
        assert earlier is not None
        assert earlier.restarted
