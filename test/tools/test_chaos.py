# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Seeds of tools.chaos: they repeat, they hold, and they find what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policy_core.control.controller import Controller
from policy_core.errors import RefusedError
from policy_core.guard.command import CommandFader
from policy_core.guard.limits import Limits, limits_in_force
from policy_core.sets.policy import PolicySet
from policy_inference.nodes import loading
from robot_driver import following
from robot_driver.following import Follower
from robot_driver.interfaces import WireCommand
from testkit.watching import checked
from tools.chaos.host import ChaosNode
from tools.chaos.scenario import BOTH, Options, SeedOutcome, run_seed
from tools.chaos.steps import ChaosStep, draw_steps, shrunk

ROOT = Path(__file__).resolve().parents[2]
SHORT = Options(seconds=6.0)
LOAD = ChaosStep(at_s=0.3, kind="ask", target="load")
KILLED = ChaosStep(at_s=5.0, kind="kill", target="host", for_s=1.0)


def run_unbroken(seed: int, options: Options, steps: Sequence[ChaosStep]) -> SeedOutcome:
    outcome = run_seed(seed, options, steps)
    checked.update(outcome.checked)
    assert outcome.broken is None, outcome.events
    return outcome


def broken_in(seed: int, options: Options, steps: Sequence[ChaosStep]) -> str | None:
    """Return the name of the broken invariant."""
    broken = run_seed(seed, options, steps).broken
    return broken.name if broken else None


@pytest.fixture(scope="module")
def outcome() -> SeedOutcome:
    return run_seed(3, SHORT)


def test_same_seed_gives_the_same_events(outcome: SeedOutcome) -> None:
    assert run_seed(3, SHORT).digest == outcome.digest
    assert run_seed(4, SHORT).digest != outcome.digest


IN_BOTH = replace(SHORT, core=BOTH)


def test_native_core_gives_the_same_events(outcome: SeedOutcome) -> None:
    both = run_seed(3, IN_BOTH)
    checked.update(both.checked)
    assert (both.broken, both.digest) == (None, outcome.digest)


@pytest.mark.slow
@pytest.mark.violates("cores_agree")
def test_core_that_does_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandFader, "set", lambda self, velocity, born_ns: True)
    drive = ChaosStep(at_s=8.0, kind="drive", target="up", for_s=1.0)
    broken = run_seed(3, replace(IN_BOTH, seconds=10.0), [drive]).broken
    assert broken is not None
    assert broken.name == "cores_agree"
    assert broken.time_s > 5.0  # the operator commands velocities once the robot runs


def test_robot_runs_again_after_an_estop() -> None:
    stop = ChaosStep(at_s=1.9, kind="ask", target="estop")
    outcome = run_unbroken(3, replace(SHORT, seconds=17.0), [stop])
    assert outcome.modes["RUN"] > 5.0
    assert {"estop", "take_control", "stand", "run"} <= {*outcome.granted}


def test_all_invariants_hold_under_faults() -> None:
    for seed in (5, 6):
        outcome = run_seed(seed, SHORT)
        checked.update(outcome.checked)
        assert outcome.broken is None, (seed, outcome.broken, outcome.events)


@pytest.mark.violates("loads_are_in_order")
@pytest.mark.parametrize("is_granted", [True, False])
def test_load_whose_answer_is_not_what_was_done_is_found(
    monkeypatch: pytest.MonkeyPatch, is_granted: bool
) -> None:
    switch = ChaosNode.switch_to

    def switch_to(self: ChaosNode, opened: Any, prepared: Any) -> Any:
        if is_granted:
            return ()
        switch(self, opened, prepared)
        raise RefusedError("refused")

    monkeypatch.setattr(ChaosNode, "switch_to", switch_to)
    assert broken_in(3, SHORT, [LOAD]) == "loads_are_in_order"


def test_load_during_another_one_is_refused_and_changes_nothing() -> None:
    during = replace(LOAD, at_s=LOAD.at_s + 0.05, value=1.0)
    outcome = run_unbroken(3, SHORT, [LOAD, during])
    assert outcome.checked["loads_are_in_order"] == 3  # two answers and a change
    assert outcome.granted["load"] == 1


@pytest.mark.slow
@pytest.mark.violates("switches_are_in_order")
def test_refused_switch_that_is_made_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = ChaosStep(at_s=8.0, kind="ask", target="switch", value=1.0)
    unknown = replace(switch, value=2.0)
    outcome = run_unbroken(5, replace(SHORT, seconds=10.0), [switch])
    assert outcome.granted["switch"] == 1
    ask = PolicySet.ask

    def ask_anyway(self: PolicySet, to: str) -> None:
        ask(self, "crouch")
        ask(self, to)

    monkeypatch.setattr(PolicySet, "ask", ask_anyway)
    assert broken_in(5, replace(SHORT, seconds=10.0), [unknown]) == "switches_are_in_order"


@pytest.mark.slow
@pytest.mark.violates("expired_is_not_followed")
def test_driver_that_follows_expired_commands_is_found_and_its_schedule_shrunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never_expires(self: Follower, _: int) -> WireCommand | None:
        return self.newest if self.latch is None else None

    monkeypatch.setattr(Follower, "valid", never_expires)
    monkeypatch.setattr(Follower, "unexpired", lambda self, _: self.newest)
    steps = [
        ChaosStep(at_s=1.0, kind="clock", target="host", value=0.1),
        ChaosStep(at_s=2.0, kind="drive", target="up", for_s=1.0),
        KILLED,
    ]

    def breaks(some: Sequence[ChaosStep]) -> bool:
        return broken_in(3, SHORT, some) == "expired_is_not_followed"

    assert shrunk(steps, breaks) == (KILLED,)


@pytest.mark.slow
@pytest.mark.violates("velocity_in_range")
def test_command_outside_the_range_of_the_policy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    steer = ChaosStep(at_s=8.0, kind="steer", for_s=0.5, value=3.0)
    run_unbroken(3, replace(SHORT, seconds=9.0), [steer])
    made = CommandFader.__init__

    def make(self: CommandFader, out: Any, trained: Any, *args: Any) -> None:
        made(self, out, None, *args)

    monkeypatch.setattr(CommandFader, "__init__", make)
    assert broken_in(3, replace(SHORT, seconds=9.0), [steer]) == "velocity_in_range"


@pytest.mark.violates("limits_not_looser")
def test_longer_timeout_than_that_of_the_contract_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def loosened(*args: Any) -> Limits:
        limits = limits_in_force(*args)
        return replace(limits, state_timeout_ns=2 * limits.state_timeout_ns)

    monkeypatch.setattr(loading, "limits_in_force", loosened)
    assert broken_in(3, SHORT, []) == "limits_not_looser"


@pytest.mark.violates("checked_before_following")
def test_driver_that_does_not_check_whether_its_robot_obeys_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_FIRST_S", 0.1)
    assert broken_in(3, SHORT, []) == "checked_before_following"


@pytest.mark.violates("no_joint_is_limp")
def test_driver_that_lets_a_joint_go_limp_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    limp = ChaosStep(at_s=8.0, kind="rogue", target="limp")
    run_unbroken(3, replace(SHORT, seconds=9.0), [limp])
    monkeypatch.setattr(following, "_LEAST_GAINS", 0.0)
    assert broken_in(3, replace(SHORT, seconds=9.0), [limp]) == "no_joint_is_limp"


@pytest.mark.violates("newest_is_followed")
def test_driver_that_damps_a_joint_with_little_damping_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slack = ChaosStep(at_s=8.0, kind="rogue", target="slack")
    monkeypatch.setattr(following, "_LEAST_GAINS", 1.0)
    assert broken_in(3, replace(SHORT, seconds=9.0), [slack]) == "newest_is_followed"


@pytest.mark.violates("following_ends_for_cause")
def test_driver_that_stops_following_without_cause_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    valid = Follower.valid

    def tires(self: Follower, now_ns: int) -> WireCommand | None:
        if self.counts["command_received"] == 400:
            self.hold("tired")
        return valid(self, now_ns)

    monkeypatch.setattr(Follower, "valid", tires)
    assert broken_in(3, replace(SHORT, seconds=9.0), []) == "following_ends_for_cause"


def test_policy_that_is_killed_leaves_a_robot_that_damps() -> None:
    outcome = run_unbroken(3, SHORT, [KILLED])
    assert any("DAMPING" in event for event in outcome.events)


def test_driver_gives_back_a_deaf_robot_whose_states_are_far_apart() -> None:
    slow = ChaosStep(at_s=2.5, kind="slow", target="robot-driver", for_s=1.5, value=0.09)
    deaf = ChaosStep(at_s=2.8, kind="robot", target="deaf:command", for_s=4.0)
    outcome = run_unbroken(3, SHORT, [slow, deaf])
    assert any("ignores commands" in event for event in outcome.events)


def test_steps_are_those_of_the_seed() -> None:
    assert draw_steps(5, 60.0) == draw_steps(5, 60.0)
    assert len({len(draw_steps(seed, 60.0)) for seed in range(20)}) > 5


@pytest.mark.acceptance
def test_digest_is_that_of_another_process() -> None:
    def run(hash_seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tools.chaos", "--seeds", "0:2", "--seconds", "15"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.rpartition("digest ")[2]

    assert run("1") == run("2")


@pytest.mark.acceptance
@pytest.mark.parametrize("core", ["python", "native"])
def test_many_seeds_hold(core: str) -> None:
    for seed in range(100):
        outcome = run_seed(seed, Options(seconds=60.0, core=core))
        assert outcome.broken is None, (seed, outcome.broken, outcome.events)


@pytest.mark.violates("nothing_raises")
def test_error_in_a_nodes_code_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Controller) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Controller, "reset", fail)
    outcome = run_seed(3, SHORT, [ChaosStep(at_s=2.0, kind="ask", target="reset")])
    assert outcome.broken is not None
    assert outcome.broken.name == "nothing_raises"
    assert outcome.events
