# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What comes in from several topics is put into the order of its stamps."""

from __future__ import annotations

from model_tools.files.bags.ordering import Ordering, StampedMessage

from ...small_bag import MS, S

HOLD_NS = 100 * MS


def stamped(name: str, *times_ms: int) -> list[StampedMessage]:
    return [StampedMessage(name, S + ms * MS, 7 * S + ms, b"") for ms in times_ms]


def unstamped(name: str, published_after_ms: int) -> StampedMessage:
    return StampedMessage(name, 0, 7 * S + published_after_ms, b"")


def given(ordering: Ordering, *, rest: bool = False) -> list[tuple[str, int]]:
    return [(arrival.name, (arrival.time_ns - S) // MS) for arrival in ordering.ready(rest=rest)]


def test_messages_wait_until_none_from_before_can_come() -> None:
    ordering = Ordering(["a", "b"], HOLD_NS)
    ordering.put([*stamped("a", 0, 10, 20), *stamped("b", 5)])

    assert given(ordering) == []
    ordering.put(stamped("b", 15, 110))
    assert given(ordering) == [("a", 0), ("b", 5), ("a", 10)]
    assert given(ordering, rest=True) == [("b", 15), ("a", 20), ("b", 110)]


def test_nothing_is_given_before_every_needed_input_is_there() -> None:
    ordering = Ordering(["a", "b"], HOLD_NS)
    ordering.put(stamped("a", 0, 500))

    assert given(ordering) == []
    assert ordering.missing == ["b"]
    ordering.put(stamped("b", 20))
    assert given(ordering) == [("a", 0), ("b", 20)]


def test_what_comes_too_late_is_left_out_and_counted() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([*stamped("a", 0, 200), *stamped("b", 50)])
    assert given(ordering) == [("a", 0), ("b", 50)]

    ordering.put([*stamped("b", 60, 120), *stamped("c", 40)])

    assert ordering.late == {"c": 1}
    assert given(ordering, rest=True) == [("b", 60), ("b", 120), ("a", 200)]


def test_repeated_and_earlier_stamps_are_not_new() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    said = stamped("a", 0, 20, 20, 10, 30)
    ordering.put(message._replace(published_ns=i) for i, message in enumerate(said))

    assert given(ordering, rest=True) == [("a", 0), ("a", 20), ("a", 30)]
    assert not ordering.late


def test_stamps_that_begin_again_end_the_order() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put(
        [
            *stamped("a", 5000),
            StampedMessage("a", S, 13 * S, b""),
            StampedMessage("a", S + 10 * MS, 13 * S + 1, b""),
        ]
    )

    assert ordering.restarted == "a"
    assert given(ordering, rest=True) == [("a", 5000)]


def test_what_has_no_stamp_goes_by_those_published_before_and_after_it() -> None:
    """The publisher's clock may be another one, and go at another speed."""
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([*stamped("a", 10, 20), unstamped("b", 5), unstamped("b", 16), unstamped("b", 24)])

    assert given(ordering) == []
    ordering.put(stamped("a", 30))
    assert given(ordering, rest=True) == [
        ("a", 10),
        ("b", 10),
        ("b", 16),
        ("a", 20),
        ("b", 24),
        ("a", 30),
    ]


def test_where_nothing_has_stamps_the_time_of_publishing_counts() -> None:
    ordering = Ordering(["a"], HOLD_NS)
    ordering.put([unstamped("a", 20), unstamped("a", 10)])

    assert [arrival.time_ns for arrival in ordering.ready(rest=True)] == [7 * S + 10, 7 * S + 20]
