# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When ticks are due. Time is the test's: nothing here waits."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

import pytest
from rosgraph_msgs.msg import Clock

from policy_inference.nodes import pacing
from policy_inference.nodes.pacing import Pacer, SimulatedPacer, Tick, TimerPacer, TriggerPacer
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
    monkeypatch.setattr(pacing, "time", clock)
    return time


def next_tick(pacer: Pacer) -> Tick:
    for _ in range(1000):
        if (tick := pacer.wait()) is not None:
            return tick
    raise AssertionError("no tick was ever due")


def tick_times_ms(pacer: Pacer, count: int) -> list[float]:
    """Return when the next ticks come, in ms since the beginning."""
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
    def test_deadlines_do_not_drift_with_the_time_that_ticks_take(self, time: Time) -> None:
        pacer = timer_pacer(time)
        times_ns = []
        for _ in range(5):
            times_ns.append(next_tick(pacer).now_ns - BEGAN_NS)
            time.advance(7 * MS)
        assert times_ns == [0, PERIOD_NS, 2 * PERIOD_NS, 3 * PERIOD_NS, 4 * PERIOD_NS]

    def test_tick_knows_when_the_next_one_is_due(self, time: Time) -> None:
        pacer = timer_pacer(time)
        assert next_tick(pacer).next_deadline_ns == BEGAN_NS + PERIOD_NS
        time.advance(PERIOD_NS + 5 * MS)
        late = next_tick(pacer)
        assert (late.now_ns, late.late_ns, late.next_deadline_ns) == (
            BEGAN_NS + PERIOD_NS + 5 * MS,
            5 * MS,
            BEGAN_NS + 2 * PERIOD_NS,
        )

    def test_late_tick_within_its_period_misses_nothing(self, time: Time) -> None:
        pacer = timer_pacer(time)
        next_tick(pacer)
        time.advance(PERIOD_NS + PERIOD_NS - 1)
        assert next_tick(pacer).missed == 0

    def test_deadlines_that_cannot_be_kept_are_counted_and_left_out(self, time: Time) -> None:
        pacer = timer_pacer(time)
        next_tick(pacer)
        time.advance(4 * PERIOD_NS + 3 * MS)
        late = next_tick(pacer)
        assert late.missed == 3
        assert next_tick(pacer).now_ns == BEGAN_NS + 5 * PERIOD_NS

    def test_time_before_the_start_is_not_missed(self, time: Time) -> None:
        pacer = TimerPacer(PERIOD_NS)
        time.advance(100 * PERIOD_NS)
        pacer.start()
        assert next_tick(pacer).missed == 0

    def test_long_period_is_waited_for_in_slices(self, time: Time) -> None:
        pacer = TimerPacer(1_000 * MS)
        pacer.start()
        next_tick(pacer)
        assert pacer.wait() is None
        assert time.now_ns - BEGAN_NS <= 50 * MS
        assert next_tick(pacer).now_ns == BEGAN_NS + 1_000 * MS

    def test_header_stamps_are_compared_with_the_wall_clock(self, time: Time) -> None:
        assert next_tick(timer_pacer(time)).ros_now_ns == BEGAN_NS + 7


class TestTrigger:
    def test_first_arrival_after_each_deadline_ticks(self, time: Time) -> None:
        pacer = trigger_pacer(time, [3 + 4 * i for i in range(50)])
        assert tick_times_ms(pacer, 4) == [3, 23, 43, 63]

    def test_arrivals_between_deadlines_do_not_tick_and_are_kept(self, time: Time) -> None:
        pacer = trigger_pacer(time, [1, 5, 9, 21])
        assert tick_times_ms(pacer, 2) == [1, 21]
        assert time.held == 3

    def test_dead_input_ticks_at_the_rate_one_period_late(self, time: Time) -> None:
        pacer = trigger_pacer(time, [])
        ticks = [next_tick(pacer) for _ in range(4)]
        assert [tick.now_ns - BEGAN_NS for tick in ticks] == [
            PERIOD_NS,
            2 * PERIOD_NS,
            3 * PERIOD_NS,
            4 * PERIOD_NS,
        ]
        assert sum(tick.missed for tick in ticks) == 0

    def test_input_that_dies_delays_no_tick_by_more_than_a_period(self, time: Time) -> None:
        times_ms = tick_times_ms(trigger_pacer(time, [2, 22, 42]), 8)
        gaps_ms = [b - a for a, b in pairwise(times_ms)]
        assert max(gaps_ms) <= 2 * PERIOD_NS / MS
        assert gaps_ms[-3:] == [PERIOD_NS / MS] * 3

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

    def test_result_has_a_whole_period_before_it_is_late(self, time: Time) -> None:
        tick = next_tick(trigger_pacer(time, [12]))
        assert tick.next_deadline_ns - tick.now_ns == PERIOD_NS


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

    def at(self, time_ms: float) -> Tick | None:
        """Show a time; return the tick that it brings."""
        self.shown.append(Clock(clock=stamp(round(time_ms * MS))))
        return self.pacer.wait()

    def times_ms(self, *times_ms: float) -> list[float]:
        """Show times; return those of the ticks."""
        ticks = [self.at(time_ms) for time_ms in times_ms]
        return [tick.now_ns / MS for tick in ticks if tick and not tick.repeated]


@pytest.fixture
def simulation() -> Simulation:
    return Simulation()


class TestSimulated:
    def test_nothing_is_due_without_a_time(self, simulation: Simulation) -> None:
        assert simulation.pacer.wait() is None

    def test_time_before_zero_ticks_nothing_and_moves_nothing(self, simulation: Simulation) -> None:
        assert simulation.times_ms(40, -1, -1e9, 60) == [40, 60]

    def test_first_time_ticks_and_every_period_after(self, simulation: Simulation) -> None:
        assert simulation.times_ms(1000, 1020, 1040, 1060) == [1000, 1020, 1040, 1060]

    def test_time_zero_ticks(self, simulation: Simulation) -> None:
        assert simulation.times_ms(0, 20) == [0, 20]

    def test_clock_that_is_faster_than_the_policy_ticks_at_the_policys_rate(
        self, simulation: Simulation
    ) -> None:
        ticks = simulation.times_ms(*range(1000, 1101, 4))
        assert ticks == [1000, 1020, 1040, 1060, 1080, 1100]

    def test_clock_that_does_not_meet_the_deadlines_keeps_the_rate(
        self, simulation: Simulation
    ) -> None:
        ticks = simulation.times_ms(*range(1000, 1200, 7))
        assert len(ticks) == 10

    def test_repeated_time_is_marked_and_moves_no_deadline(self, simulation: Simulation) -> None:
        simulation.at(1000)
        again = simulation.at(1000)
        assert again is not None
        assert (again.repeated, again.missed) == (True, 0)
        assert simulation.times_ms(1000, 1019, 1020) == [1020]

    def test_pause_brings_no_tick_and_misses_none(self, simulation: Simulation) -> None:
        simulation.at(1000)
        assert [simulation.pacer.wait() for _ in range(20)] == [None] * 20
        tick = simulation.at(1020)
        assert tick is not None
        assert (tick.missed, tick.restarted) == (0, False)

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

    def test_clock_stands_still_within_a_tick(self, simulation: Simulation) -> None:
        simulation.times_ms(1000, 1004)
        assert simulation.pacer.clock() == 1000 * MS

    def test_header_stamps_are_compared_with_simulated_time(self, simulation: Simulation) -> None:
        tick = simulation.at(1000)
        assert tick is not None
        assert tick.ros_now_ns == 1000 * MS
