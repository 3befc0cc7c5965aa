# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of which little is left proves nothing, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_tools.prove.replaying.replay import replay
from model_tools.prove.replaying.replay_report import replay_report, verdict
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.guard.limits import StricterLimits
from testkit.wording import check_wording

from .small_flights import SmallFlight, remade, rewritten
from .small_policies import SEEING, alike, counts_of, differing, reworded, seeing


def later(command: Any) -> Any:
    command.stamp.nanosec += 1
    return command


@pytest.mark.parametrize(
    ("topic", "change", "commands"),
    [
        ("joint_command", lambda _: None, (0, 81)),
        ("joint_command", later, (0, 81)),
        ("joint_states", lambda _: None, (81, 0)),
        ("policy_tick", lambda tick: None if tick.tick % 2 else tick, (3, 38)),
        ("policy_tick", lambda tick: None if 58 <= tick.tick < 78 else tick, (58, 3)),
    ],
    ids=["no commands", "other stamps", "no sensors", "every second tick", "10 of 30 ticks"],
)
def test_too_little_of_a_recording_is_not_proven(
    flown: Path, topic: str, change: Callable[[Any], Any], commands: tuple[int, int]
) -> None:
    found = replay(remade(flown, topic, change), None, "", {})
    assert not found
    assert not differing(found)
    assert replay_report(found).document["replayed"]["same"] is False
    assert counts_of(found)["command"] == commands
    check_wording(verdict(found))


@pytest.mark.parametrize("later_ns", [1, 30_000_000])
def test_a_command_belongs_to_the_tick_of_its_stamp_wherever_it_was_logged(
    flown: Path, later_ns: int
) -> None:
    found = alike(rewritten(flown, lambda _, m: m, later_ns={"joint_command": later_ns}))
    assert counts_of(found)["command"] == (81, 0)


def test_without_any_tick_of_a_run_no_report_says_that_the_policy_did_not_run(
    tmp_path: Path, tiny_policy: JointBundle
) -> None:
    flight = SmallFlight(tiny_policy, state_every=1000)
    flight.stand_and_run(10)
    flight.controller.damp()
    flight.go_on(30)
    path = flight.save(tmp_path / "flown")
    found = replay(
        remade(path, "policy_tick", lambda tick: None if tick.mode == 3 else tick),
        None,
        "",
        {},
    )
    assert not found
    check_wording(verdict(found))


def test_a_velocity_command_of_long_ago_may_be_missing_and_is_reported(tmp_path: Path) -> None:
    flight = SmallFlight(seeing(tmp_path / "tiny", SEEING["command"]))
    flight.tick(velocity=(0.5, 0.0, -3.0))
    flight.stand_and_run(30)
    check_wording(verdict(alike(flight.save(tmp_path / "flown", flight.ticks - 20))))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_timeout_ns", "9000000000"),
        ("max_tilt_rad", "9.9"),
        ("max_tilt_rad", "nan"),
        ("max_tilt_rad", None),
    ],
)
def test_limits_that_the_contract_does_not_allow_are_reported(
    tmp_path: Path, key: str, value: str | None
) -> None:
    folder = seeing(tmp_path / "tiny").path
    reworded(folder, "on_fault: damp", "on_fault: damp, max_tilt_rad: 0.5")
    flight = SmallFlight(load_bundle(folder, kind=JointBundle))
    flight.stand_and_run(10)

    def loosen(info: Any) -> Any:
        (entry,) = (entry for entry in info.settings if entry.key == f"limits.{key}")
        if value is None:
            info.settings.remove(entry)
        else:
            entry.value = value
        return info

    found = replay(remade(flight.save(tmp_path / "flown"), "flight_info", loosen), None, "", {})
    assert not found
    check_wording(verdict(found))


def test_limits_that_an_operator_has_tightened_are_reported_and_fine(
    tmp_path: Path, tiny_policy: JointBundle
) -> None:
    flight = SmallFlight(tiny_policy, StricterLimits(effort_scale=0.5))
    flight.stand_and_run(10)
    found = alike(flight.save(tmp_path / "flown"))
    assert found.tightened
    check_wording(*found.tightened)
