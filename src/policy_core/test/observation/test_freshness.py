# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_core.observation.freshness import Input
from testkit.numbers import numbers_in
from testkit.wording import check_wording

MS = 1_000_000
TIMEOUT_NS = 40 * MS
STEADY_NS = 5_000 * MS
ROS_NS = 1_700_000_000_000 * MS


@pytest.fixture
def imu_input() -> Input:
    return Input("imu/data", TIMEOUT_NS)


def test_an_input_that_never_came_is_stale(imu_input: Input) -> None:
    assert imu_input.is_stale(STEADY_NS)
    assert imu_input.age_ns(STEADY_NS) is None
    check_wording(imu_input.describe(STEADY_NS))


def test_a_message_without_header_ages_from_its_arrival(imu_input: Input) -> None:
    imu_input.reject("expected 3 joints, found 2")
    imu_input.accept(STEADY_NS)
    assert imu_input.age_ns(STEADY_NS + 30 * MS) == 30 * MS
    assert imu_input.is_new(None, STEADY_NS)
    assert imu_input.problem == ""


def test_an_input_is_stale_beyond_its_time_out_only(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS)
    assert not imu_input.is_stale(STEADY_NS + TIMEOUT_NS)
    assert imu_input.is_stale(STEADY_NS + TIMEOUT_NS + 1)
    assert not Input("cmd_vel", None).is_stale(STEADY_NS)


@pytest.mark.parametrize("step_ns", [0, -MS], ids=["repeat", "run backward"])
def test_reason_names_stamps_that_do_not_increase(imu_input: Input, step_ns: int) -> None:
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    before = imu_input.describe(STEADY_NS)
    for count in range(1, 4):
        # A clock that was set back shows the time that passes; these stamps do not.
        now_ns = STEADY_NS + count * 20 * MS
        assert not imu_input.is_new(ROS_NS + count * step_ns, now_ns)
    text = imu_input.describe(now_ns)
    check_wording(text)
    assert 3 in numbers_in(text)
    imu_input.accept(now_ns, ROS_NS + 60 * MS, ROS_NS + 60 * MS)
    assert imu_input.describe(now_ns) == before


def test_header_age_counts_where_clocks_agree(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS, ROS_NS - 30 * MS, ROS_NS)
    assert imu_input.age_ns(STEADY_NS + 5 * MS) == 35 * MS


@pytest.mark.parametrize("delay_ns", [300 * MS, 700 * MS])
def test_delay_that_grows_on_the_way_makes_an_input_stale_at_its_arrival(
    imu_input: Input, delay_ns: int
) -> None:
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    for since in range(1_000 * MS, 3_000 * MS, 20 * MS):
        now_ns, stamp_ns = STEADY_NS + since, ROS_NS + since - delay_ns
        assert imu_input.is_new(stamp_ns, now_ns)
        imu_input.accept(now_ns, stamp_ns, ROS_NS + since)
        assert imu_input.is_stale(now_ns)


def test_a_stream_that_is_late_from_its_first_message_on_is_stale(imu_input: Input) -> None:
    for since in range(0, 2_000 * MS, 20 * MS):
        imu_input.accept(STEADY_NS + since, ROS_NS + since - 300 * MS, ROS_NS + since)
        assert imu_input.is_stale(STEADY_NS + since)


@pytest.mark.parametrize("offset_ns", [-3_600_000 * MS, -51 * MS, 501 * MS, 3_600_000 * MS])
def test_header_age_is_ignored_where_clocks_disagree(imu_input: Input, offset_ns: int) -> None:
    imu_input.accept(STEADY_NS, ROS_NS - offset_ns, ROS_NS)
    assert imu_input.age_ns(STEADY_NS + 5 * MS) == 5 * MS


def test_delay_that_grows_is_seen_where_clocks_disagree_too(imu_input: Input) -> None:
    offset_ns = 3_600_000 * MS
    imu_input.accept(STEADY_NS, ROS_NS - offset_ns, ROS_NS)
    later = 1_000 * MS
    imu_input.accept(STEADY_NS + later, ROS_NS + later - 300 * MS - offset_ns, ROS_NS + later)
    assert imu_input.is_stale(STEADY_NS + later)


def test_a_header_a_little_in_the_future_is_not_younger_than_its_arrival(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS, ROS_NS + 40 * MS, ROS_NS)
    assert imu_input.age_ns(STEADY_NS) == 0


@pytest.mark.parametrize(
    ("step_ns", "new"),
    [
        (1, True),
        (20 * MS, True),
        (0, False),
        (-1, False),
        (-1_000 * MS, False),
        (-1_000_000 * MS, False),
    ],
)
def test_only_a_later_stamp_is_new_at_once(imu_input: Input, step_ns: int, new: bool) -> None:
    assert imu_input.is_new(ROS_NS, STEADY_NS)
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    assert imu_input.is_new(ROS_NS + step_ns, STEADY_NS + 20 * MS) is new


class Sender:
    """A live stream of 50 Hz whose messages take 2 ms, seen by ticks of 50 Hz."""

    def __init__(self, entry: Input) -> None:
        self.entry, self.now_ns = entry, STEADY_NS
        self.sender_ns = self.ours_ns = ROS_NS
        self.notes = list[str]()

    def tick(self, *, stamp_ns: int | None = None) -> bool:
        """Let a period pass and a message come; return whether the input is fresh then."""
        for clock in ("now_ns", "sender_ns", "ours_ns"):
            setattr(self, clock, getattr(self, clock) + 20 * MS)
        self.receive(self.sender_ns - 2 * MS if stamp_ns is None else stamp_ns)
        return not self.entry.is_stale(self.now_ns)

    def receive(self, stamp_ns: int) -> None:
        if self.entry.is_new(stamp_ns, self.now_ns):
            self.entry.accept(self.now_ns, stamp_ns, self.ours_ns)
        if self.entry.clock_step not in ("", *self.notes):
            self.notes.append(self.entry.clock_step)


BOTH = ("sender_ns", "ours_ns")
CLOCKS = st.sampled_from([BOTH, BOTH[:1], BOTH[1:], ()])
# Of a clock that is set back by a period, a stamp comes twice: that is no step but a repetition.
STEPS_MS = st.integers(-2_000, 2_000).filter(lambda step_ms: abs(step_ms) > 20)
STEPS = st.tuples(CLOCKS, STEPS_MS, st.integers(60, 130))


@given(ticks_before=st.integers(1, 10), steps=st.lists(STEPS, max_size=5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_step_of_a_clock_and_no_stamp_ahead_makes_a_live_stream_stale(
    ticks_before: int, steps: Sequence[tuple[Sequence[str], int, int]]
) -> None:
    sender = Sender(Input("imu/data", TIMEOUT_NS))
    assert all(sender.tick() for _ in range(ticks_before))
    for clocks, step_ms, ticks in steps:
        sender.notes.clear()
        for clock in clocks:
            setattr(sender, clock, getattr(sender, clock) + step_ms * MS)
        if not clocks and step_ms > 0:
            assert sender.tick(stamp_ns=sender.sender_ns + step_ms * MS)
        assert all(sender.tick() for _ in range(ticks))
        assert sender.notes or not clocks


@pytest.mark.parametrize("gap_ms", [30, 500])
def test_one_step_after_the_other_leaves_a_live_stream_fresh(imu_input: Input, gap_ms: int) -> None:
    sender = Sender(imu_input)
    assert sender.tick()
    for clock, step_ms in (
        ("sender_ns", -300),
        ("ours_ns", 900),
        ("sender_ns", 1_200),
        ("ours_ns", -700),
    ):
        setattr(sender, clock, getattr(sender, clock) + step_ms * MS)
        assert all(sender.tick() for _ in range(max(2, gap_ms // 20)))


@pytest.mark.parametrize(
    ("offset_ms", "ppm"), [(0, 500), (0, -500), (900, -83_333), (-400, 83_333), (-900, 83_333)]
)
def test_a_sender_whose_clock_is_slewed_stays_fresh(
    imu_input: Input, offset_ms: int, ppm: int
) -> None:
    sender = Sender(imu_input)
    assert sender.tick()
    sender.sender_ns += offset_ms * MS
    assert sender.tick()
    for _ in range(1_000):
        sender.sender_ns += 20 * ppm  # ns in 20 ms
        if offset_ms and (sender.sender_ns - sender.ours_ns) * offset_ms <= 0:
            break
        assert sender.tick()


def test_delay_after_a_step_is_seen_still(imu_input: Input) -> None:
    for clock, step_ms in (
        ("sender_ns", -300),
        ("sender_ns", 900),
        ("ours_ns", -300),
        ("ours_ns", 300),
    ):
        imu_input.reset()
        sender = Sender(imu_input)
        assert all(sender.tick() for _ in range(5))
        setattr(sender, clock, getattr(sender, clock) + step_ms * MS)
        assert all(sender.tick() for _ in range(5))
        sender.now_ns, sender.ours_ns = sender.now_ns + 300 * MS, sender.ours_ns + 300 * MS
        assert not any(sender.tick() for _ in range(10)), (clock, step_ms)


def test_a_sender_that_repeats_its_last_message_grows_stale(imu_input: Input) -> None:
    sender = Sender(imu_input)
    assert sender.tick()
    last_ns = sender.sender_ns - 2 * MS
    assert [sender.tick(stamp_ns=last_ns) for _ in range(4)] == [True, False, False, False]


def test_a_sender_that_repeats_its_last_messages_in_turn_grows_stale(imu_input: Input) -> None:
    sender = Sender(imu_input)
    stamps_ns = [sender.sender_ns + i * 20 * MS for i in range(1, 6)]
    seen = [sender.tick(stamp_ns=stamps_ns[i % 5]) for i in range(25)]
    # Once, that is what a restart looks like.
    assert not any(seen[12:])


def test_an_old_message_that_comes_again_is_not_new(imu_input: Input) -> None:
    sender = Sender(imu_input)
    for _ in range(20):
        assert sender.tick()
        assert not imu_input.is_new(sender.sender_ns - 42 * MS, sender.now_ns)
    old_ns = sender.sender_ns - 500 * MS
    for each in range(1, 5):  # a restart would show the time that passes
        assert not imu_input.is_new(old_ns, sender.now_ns + each * 20 * MS)
    assert sender.notes == []


def test_clocks_are_judged_again_when_the_sender_s_clock_starts_over(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    assert not imu_input.is_new(16 * MS, STEADY_NS)
    assert imu_input.is_new(17 * MS, STEADY_NS + MS)
    imu_input.accept(STEADY_NS + MS, 17 * MS, ROS_NS + MS)
    assert imu_input.age_ns(STEADY_NS + MS) == 0


def test_reset_forgets_ages_stamps_and_problems(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    imu_input.reject("expected 3 joints, found 2")
    imu_input.reset()
    assert imu_input.is_stale(STEADY_NS)
    assert imu_input.is_new(ROS_NS, STEADY_NS)
    check_wording(imu_input.describe(STEADY_NS))


def test_a_rejected_message_does_not_make_the_input_younger(imu_input: Input) -> None:
    imu_input.accept(STEADY_NS)
    imu_input.reject("expected 3 joints, found 2")
    assert imu_input.is_stale(STEADY_NS + 41 * MS)
    text = imu_input.describe(STEADY_NS + 41 * MS)
    check_wording(text)
    assert numbers_in(text)[:2] == [41, 40]


def test_each_message_of_a_stream_that_starts_over_is_new_also_while_they_are_refused(
    imu_input: Input,
) -> None:
    imu_input.accept(STEADY_NS, ROS_NS, ROS_NS)
    stamps_ns = [1_000 * MS + 20 * MS * i for i in range(10)]
    times_ns = [STEADY_NS + 1_000 * MS + 20 * MS * i for i in range(10)]
    new = []
    for stamp_ns, now_ns in zip(stamps_ns, times_ns, strict=True):
        new.append(imu_input.is_new(stamp_ns, now_ns))
        imu_input.reject("not believed yet")
    assert new == [False] + [True] * 9
    later_ns = times_ns[-1] + 20 * MS
    assert imu_input.is_new(stamps_ns[-1] + 20 * MS, later_ns)
    imu_input.accept(later_ns, stamps_ns[-1] + 20 * MS, ROS_NS + later_ns - STEADY_NS)
    assert imu_input.age_ns(later_ns) == 0
    assert not imu_input.is_new(stamps_ns[-1], later_ns + 20 * MS)


def test_a_constant_delay_counts_in_the_time_of_measurement_and_fades_from_the_age(
    imu_input: Input,
) -> None:
    """Of clocks that drift apart the age must not grow; images belong to when they were taken."""
    for step in range(0, 200_000, 100):
        now_ns, stamp_ns = STEADY_NS + step * MS, ROS_NS + (step - 100) * MS
        assert imu_input.is_new(stamp_ns, now_ns)
        imu_input.accept(now_ns, stamp_ns, ROS_NS + step * MS)
        assert imu_input.measured_ns == now_ns - 100 * MS
    assert imu_input.age_ns(now_ns) == 0


def test_without_a_stamp_that_agrees_the_time_of_measurement_is_that_of_the_age(
    imu_input: Input,
) -> None:
    imu_input.accept(STEADY_NS)
    assert imu_input.measured_ns == STEADY_NS
    for step, late in ((20, 0), (40, 7)):
        imu_input.accept(STEADY_NS + (step + late) * MS, step * MS, ROS_NS + (step + late) * MS)
        age_ns = imu_input.age_ns(STEADY_NS + (step + late) * MS)
        assert age_ns is not None
        assert imu_input.measured_ns == STEADY_NS + (step + late) * MS - age_ns
    assert age_ns == pytest.approx(7 * MS, abs=MS)
