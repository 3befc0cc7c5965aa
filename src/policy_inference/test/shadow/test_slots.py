# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What goes into a slot comes out at the other end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from policy_inference.core.guard import Rule
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.slots import SLOTS, Slots


@pytest.fixture
def slots() -> Iterator[Slots]:
    """Slots for a state of five values and two joints."""
    made = Slots(5, 2)
    yield made
    made.close()


def test_answer_is_read_at_the_other_end_as_it_was_written(slots: Slots) -> None:
    other = Slots(5, 2, slots.fds)
    answer = ShadowAnswer(
        7,
        ShadowOutcome.COMPARED,
        1_500_000,
        tuple(rule.value for rule in Rule),
        True,
        np.array([0.1, -0.2]),
        np.array([0.3, 1e-300]),
    )
    other.write(SLOTS - 1, answer)

    found = slots.read(SLOTS - 1)

    assert found[:5] == answer[:5]
    np.testing.assert_array_equal(found.target, answer.target)
    np.testing.assert_array_equal(found.active_target, answer.active_target)
    other.write(0, ShadowAnswer(8, ShadowOutcome.NOT_FINITE, rules=("not_finite",)))
    assert slots.read(0) == ShadowAnswer(8, ShadowOutcome.NOT_FINITE, rules=("not_finite",))


def test_counters_say_how_many_slots_there_are_and_wait_only_when_asked(slots: Slots) -> None:
    other = Slots(5, 2, slots.fds)
    assert (other.given(wait=False), slots.answered(), slots.answered(0.01)) == (0, 0, 0)
    slots.give()
    slots.give()
    other.answer()

    assert other.given(wait=True) == 2
    assert other.given(wait=False) == 0
    assert slots.answered(1.0) == 1
