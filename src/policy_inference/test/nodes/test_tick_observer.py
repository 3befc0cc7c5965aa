# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Several observers of the ticks of one node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_inference.nodes.tick_observer import Prepared, TickObserver, TickObservers
from testkit.kernel.robots import Robot


class Observer(TickObserver):
    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self._calls = name, calls
        self.verdict: RunVerdict | None = None

    def prepared(self, policy: str) -> Prepared[str]:
        if policy == f"breaks {self.name}":
            raise ValueError(policy)
        return Prepared(
            part=self.name,
            start=lambda: self._calls.append(f"{self.name} starts"),
            abandon=lambda: self._calls.append(f"{self.name} abandons"),
        )

    def adopt(self, policy: str, prepared: Prepared[str]) -> Callable[[], object]:
        assert prepared.part == self.name
        self._calls.append(f"{self.name} follows {policy}")
        return lambda: self._calls.append(f"{self.name} ends")

    def observe(self, tick: Tick) -> RunVerdict | None:
        self._calls.append(f"{self.name} observes")
        return self.verdict


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def parts(calls: list[str]) -> tuple[Observer, Observer]:
    return Observer("a", calls), Observer("b", calls)


@pytest.fixture
def both(parts: tuple[Observer, Observer]) -> TickObservers:
    return TickObservers(*parts)


def test_all_follow_another_policy_with_what_each_has_prepared(
    both: TickObservers, calls: list[str]
) -> None:
    prepared = both.prepared("next")
    prepared.start()
    both.adopt("next", prepared)()
    assert calls == [
        *("a starts", "b starts", "a follows next", "b follows next", "a ends", "b ends")
    ]


def test_what_one_has_prepared_is_abandoned_where_another_cannot(
    both: TickObservers, calls: list[str]
) -> None:
    with pytest.raises(ValueError, match="breaks b"):
        both.prepared("breaks b")
    assert calls == ["a abandons"]


def test_each_sees_a_tick_and_the_first_verdict_counts(
    both: TickObservers, parts: tuple[Observer, Observer], calls: list[str]
) -> None:
    tick = Robot().controller.latest_tick
    assert both.observe(tick) is None
    parts[1].verdict = RunVerdict(EndStep.DAMP, "enough")
    assert both.observe(tick) is parts[1].verdict
    parts[0].verdict = RunVerdict(EndStep.FAULT, "a gate")
    assert both.observe(tick) is parts[0].verdict
    assert calls == ["a observes", "b observes"] * 3
