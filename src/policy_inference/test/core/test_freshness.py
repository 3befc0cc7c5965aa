# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from policy_inference.core.freshness import Input

MS = 1_000_000
TIMEOUT_NS = 40 * MS
STEADY_NS = 5_000 * MS
ROS_NS = 1_700_000_000_000 * MS


@pytest.fixture
def entry() -> Input:
    return Input("imu/data", TIMEOUT_NS)


def test_an_input_that_never_came_is_stale(entry: Input) -> None:
    assert entry.is_stale(STEADY_NS)
    assert entry.age_ns(STEADY_NS) is None
    assert entry.describe(STEADY_NS) == "imu/data: no message"


def test_a_message_without_header_ages_from_its_arrival(entry: Input) -> None:
    entry.accept(STEADY_NS)
    assert entry.age_ns(STEADY_NS + 30 * MS) == 30 * MS


def test_an_input_is_stale_beyond_its_time_out_only(entry: Input) -> None:
    entry.accept(STEADY_NS)
    assert not entry.is_stale(STEADY_NS + TIMEOUT_NS)
    assert entry.is_stale(STEADY_NS + TIMEOUT_NS + 1)


def test_an_input_without_time_out_is_never_stale() -> None:
    assert not Input("cmd_vel", None).is_stale(STEADY_NS)


def test_header_age_counts_where_clocks_agree(entry: Input) -> None:
    entry.accept(STEADY_NS, ROS_NS - 30 * MS, ROS_NS)
    assert entry.clocks_agree
    assert entry.age_ns(STEADY_NS + 5 * MS) == 35 * MS


def test_delay_that_grows_on_the_way_makes_an_input_stale_at_its_arrival(entry: Input) -> None:
    entry.accept(STEADY_NS, ROS_NS, ROS_NS)
    later = 1_000 * MS
    entry.accept(STEADY_NS + later, ROS_NS + later - 700 * MS, ROS_NS + later)
    assert entry.is_stale(STEADY_NS + later)


@pytest.mark.parametrize("offset_ns", [-3_600_000 * MS, -51 * MS, 501 * MS, 3_600_000 * MS])
def test_header_age_is_ignored_where_clocks_disagree(entry: Input, offset_ns: int) -> None:
    entry.accept(STEADY_NS, ROS_NS - offset_ns, ROS_NS)
    assert entry.clocks_agree is False
    assert entry.age_ns(STEADY_NS + 5 * MS) == 5 * MS


def test_a_header_a_little_in_the_future_is_not_younger_than_its_arrival(entry: Input) -> None:
    entry.accept(STEADY_NS, ROS_NS + 40 * MS, ROS_NS)
    assert entry.clocks_agree
    assert entry.age_ns(STEADY_NS) == 0


@pytest.mark.parametrize(("step_ns", "new"), [
    (1, True), (20 * MS, True), (0, False), (-1, False), (-1_000 * MS, False),
    (-1_000 * MS - 1, True),
])  # fmt: skip
def test_only_a_later_stamp_or_one_of_a_clock_that_began_anew_is_new(
    entry: Input, step_ns: int, new: bool
) -> None:
    assert entry.is_new(ROS_NS)
    entry.accept(STEADY_NS, ROS_NS, ROS_NS)
    assert entry.is_new(ROS_NS + step_ns) is new


def test_messages_without_header_are_always_new(entry: Input) -> None:
    entry.accept(STEADY_NS)
    assert entry.is_new(None)


def test_clocks_are_judged_anew_when_the_sender_s_clock_starts_over(entry: Input) -> None:
    entry.accept(STEADY_NS, ROS_NS, ROS_NS)
    entry.accept(STEADY_NS + MS, 17 * MS, ROS_NS + MS)
    assert entry.clocks_agree is False
    assert entry.age_ns(STEADY_NS + MS) == 0


def test_reset_forgets_ages_stamps_and_problems(entry: Input) -> None:
    entry.accept(STEADY_NS, ROS_NS, ROS_NS)
    entry.reject("expected 3 joints, found 2")
    entry.reset()
    assert entry.is_stale(STEADY_NS)
    assert entry.is_new(ROS_NS)
    assert entry.describe(STEADY_NS) == "imu/data: no message"


def test_a_rejected_message_does_not_make_the_input_younger(entry: Input) -> None:
    entry.accept(STEADY_NS)
    entry.reject("expected 3 joints, found 2")
    assert entry.is_stale(STEADY_NS + 41 * MS)
    text = entry.describe(STEADY_NS + 41 * MS)
    assert text == "imu/data: 41 ms old (expected 3 joints, found 2)"


def test_a_usable_message_clears_the_problem_of_the_one_before(entry: Input) -> None:
    entry.reject("expected 3 joints, found 2")
    entry.accept(STEADY_NS)
    assert entry.problem == ""
