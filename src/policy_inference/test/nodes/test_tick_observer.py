# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Several observers of the ticks of one node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from policy_core.interfaces import JointTargets
from policy_inference.nodes.pacing import DueTick
from policy_inference.nodes.tick_observer import Prepared, TickObservers


class Noted(Prepared):
    """Notes what is done with it."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self._calls = name, calls

    def start(self) -> None:
        self._calls.append(f"{self.name} starts")

    def abandon(self) -> None:
        self._calls.append(f"{self.name} abandons")


class Observer:
    """Keeps what it is called with."""

    left_behind = False

    def __init__(self, name: str, calls: list[str], problem: str = "") -> None:
        self.name, self._calls, self.problem = name, calls, problem

    def diagnostics(self) -> Mapping[str, str]:
        return {f"{self.name}.calls": str(len(self._calls))}

    def prepared(self, policy: str) -> Prepared:
        if policy == f"breaks {self.name}":
            raise ValueError(policy)
        return Noted(self.name, self._calls)

    def follow(self, policy: str, prepared: Noted) -> Callable[[], object]:
        assert prepared.name == self.name
        self._calls.append(f"{self.name} follows {policy}")
        return lambda: self._calls.append(f"{self.name} ends")

    def start(self) -> None:
        self._calls.append(f"{self.name} start")

    def record(
        self, tick: DueTick, duration_ns: int, sent: JointTargets | None, sequence: int | None
    ) -> None:
        self._calls.append(f"{self.name} record {duration_ns}")

    def watch(self) -> None:
        self._calls.append(f"{self.name} watch")

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
def both(calls: list[str]) -> TickObservers:
    return TickObservers(Observer("a", calls, "slow"), Observer("b", calls, "late"))


def test_each_is_reported_in_turn(both: TickObservers, calls: list[str]) -> None:
    both.start()
    both.watch()
    both.log()
    both.stop()
    both.close()
    each = ("start", "watch", "log", "stop", "close")
    assert calls == [f"{name} {call}" for call in each for name in "ab"]
    assert both.problem == "slow; late"
    assert [*both.diagnostics()] == ["a.calls", "b.calls"]
    assert not both.left_behind


def test_all_follow_another_policy_with_what_each_has_prepared(
    both: TickObservers, calls: list[str]
) -> None:
    prepared = both.prepared("next")
    prepared.start()
    end = both.follow("next", prepared)
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
