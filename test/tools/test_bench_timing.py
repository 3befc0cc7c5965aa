# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How the bench times calls that are compared."""

from bench.timing import in_turns_us


def test_compared_calls_take_turns_so_that_noise_meets_both() -> None:
    called = list[str]()
    took_us = in_turns_us(
        3,
        0.0,
        [lambda: called.append("ours"), lambda: called.append("theirs")],
        before=lambda: called.append("before"),
    )
    assert called == ["before", "ours", "before", "theirs"] * 3
    assert [len(each) for each in took_us] == [3, 3]
