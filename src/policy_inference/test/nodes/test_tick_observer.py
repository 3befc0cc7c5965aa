# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Several observers of the ticks of one node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_inference.nodes.tick_observer import Prepared, TickObserver, TickObservers
from testkit.kernel.robots import Robot


class Observer(TickObserver):
    def __init__(self, name: str, calls: list[str], problem: str = "") -> None:
        self.name, self._calls, self._problem = name, calls, problem
        self.verdict: RunVerdict | None = None

    @property
    def problem(self) -> str:
        return self._problem

    def diagnostics(self) -> Mapping[str, str]:
        return {f"{self.name}.calls": str(len(self._calls))}

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

    def start(self) -> None:
        self._calls.append(f"{self.name} start")

    def observe(self, tick: Tick) -> RunVerdict | None:
        self._calls.append(f"{self.name} observe {tick.now_ns}")
        return self.verdict

    def observe_failure(self, tick: Tick) -> None:
        self._calls.append(f"{self.name} observe_failure")

    def log(self) -> None:
        self._calls.append(f"{self.name} log")

    def stop(self) -> None:
        self._calls.append(f"{self.name} stop")

    def close(self) -> None:
        self._calls.append(f"{self.name} close")


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def parts(calls: list[str]) -> tuple[Observer, Observer]:
    return Observer("a", calls, "slow"), Observer("b", calls, "late")


@pytest.fixture
def both(parts: tuple[Observer, Observer]) -> TickObservers:
    return TickObservers(*parts)


def test_each_is_reported_in_turn(both: TickObservers, calls: list[str]) -> None:
    both.start()
    both.observe_failure(Robot().controller.latest_tick)
    both.log()
    both.stop()
    both.close()
    each = ("start", "observe_failure", "log", "stop", "close")
    assert calls == [f"{name} {call}" for call in each for name in "ab"]
    assert both.problem == "slow; late"
    assert [*both.diagnostics()] == ["a.calls", "b.calls"]
    assert not both.left_behind


def test_all_follow_another_policy_with_what_each_has_prepared(
    both: TickObservers, calls: list[str]
) -> None:
    prepared = both.prepared("next")
    prepared.start()
    end = both.adopt("next", prepared)
    assert [call.split() for call in calls] == [
        ["a", "starts"],
        ["b", "starts"],
        ["a", "follows", "next"],
        ["b", "follows", "next"],
    ]
    end()
    assert calls[4:] == ["a ends", "b ends"]


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
    assert calls == ["a observe 0", "b observe 0"] * 3
